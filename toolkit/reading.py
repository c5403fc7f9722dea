"""Blocks of ratings files as pandas frames for Dask, and the exact line of what cannot be read."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from toolkit.errors import RatingsError
from toolkit.source import ROLES, RatingsSource, number, open_bytes, split_line

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

IdKind = Literal["integer", "string"]
BLOCK_BYTES = 32 << 20
_BOM = b"\xef\xbb\xbf"
_BLANK = re.compile(rb"\n[ \t]*\r?\n|\A[ \t]*\r?\n|\n[ \t]+\r?\Z")
_WHOLE_NUMBER = re.compile(r"-?\d{1,19}")


class NotIntegersError(Exception):
    """An id column read as integers holds something else: it has to be read as text."""

    def __init__(self, role: str) -> None:
        super().__init__(role)
        self.role = role


@dataclass(frozen=True)
class Block:
    """A run of whole lines of one file.

    Attributes
    ----------
    path : str
        The file.
    begin, end : int
        The lines that start in bytes ``begin <= at < end``; a compressed file is one block.
    """

    path: str
    begin: int
    end: int | None


def blocks(source: RatingsSource, block_bytes: int = BLOCK_BYTES) -> list[Block]:
    """Return the blocks of all files, in input order."""
    found = []
    for path in source.paths:
        if path.endswith(".gz"):
            found.append(Block(path, 0, None))
            continue
        size = Path(path).stat().st_size
        found += [Block(path, begin, min(begin + block_bytes, size)) for begin in range(0, size, block_bytes)]
    return found


def read(source: RatingsSource, kinds: dict[str, IdKind], block_bytes: int = BLOCK_BYTES) -> dd.DataFrame:
    """Return the ratings as a Dask dataframe with columns user, item and rating, one partition a block.

    Parameters
    ----------
    source : RatingsSource
        The files and how to read them.
    kinds : dict of str to str
        For ``user`` and ``item``, whether ids are read as ``integer`` (int64) or ``string``.
    block_bytes : int
        Size of a block.
    """
    import dask
    import dask.dataframe as dd
    import pandas as pd

    types: dict[str, Any] = {
        role: "int64" if kinds[role] == "integer" else object for role in ("user", "item")
    }
    meta = pd.DataFrame(
        {**{k: pd.Series([], dtype=t) for k, t in types.items()}, "rating": pd.Series([], dtype="float64")}
    )
    with dask.config.set({"dataframe.convert-string": False}):
        frame: dd.DataFrame = dd.from_map(
            parse, blocks(source, block_bytes), source=source, kinds=kinds, meta=meta
        )
    return frame


def parse(block: Block, source: RatingsSource, kinds: dict[str, IdKind]) -> pd.DataFrame:
    """Read one block.

    Raises
    ------
    RatingsError
        Naming file, line, field and value of the first bad line.
    NotIntegersError
        When ids asked for as integers are not.
    """
    import pandas as pd

    data = _bytes_of(block)
    if source.header and block.begin == 0:
        data = data[data.find(b"\n") + 1 :] if b"\n" in data else b""
    # pandas reads a delimiter of two characters with its slow Python engine; cut at each ':' instead, every
    # second field is empty.
    step = len(source.delimiter)
    types: dict[int, Any] = {
        p * step: str if kinds.get(role) == "string" else "int64" for role, p in _roles(source)
    }
    types[source.columns[2] * step] = "float64"
    if not data.strip():
        return pd.DataFrame({"user": [], "item": [], "rating": []}).astype(
            {r: object if kinds[r] == "string" else "int64" for r in ("user", "item")} | {"rating": "float64"}
        )
    try:
        _require_even(data, source)
        frame = pd.read_csv(
            io.BytesIO(data),
            sep=source.delimiter[0],
            header=None,
            usecols=list(types),
            dtype=types,
            na_filter=False,
            engine="c",
            skip_blank_lines=True,
        )
    except (ValueError, OverflowError) as error:
        _explain(block, source, kinds)
        raise RatingsError(f"{block.path} cannot be read: {error}") from error
    frame = frame[[p * step for p in source.columns]]
    frame.columns = pd.Index(ROLES)
    rating = frame["rating"].to_numpy()
    empty = any((frame[role] == "").any() for role in ("user", "item") if kinds[role] == "string")
    if empty or not np.isfinite(rating).all():
        _explain(block, source, kinds)
    if any(kind == "integer" for kind in kinds.values()) and _may_hide_text(data, source):
        _explain(block, source, kinds)
    return frame


def _roles(source: RatingsSource) -> list[tuple[str, int]]:
    return list(zip(ROLES[:2], source.columns[:2], strict=True))


def _bytes_of(block: Block) -> bytes:
    try:
        with open_bytes(block.path) as file:
            if block.end is None:
                return file.read().removeprefix(_BOM)
            # A block owns the lines that begin in it; the first begins after the line that the block before
            # it ends.
            file.seek(max(block.begin - 1, 0))
            if block.begin:
                file.readline()
            begin = file.tell()
            if begin >= block.end:
                return b""
            data = file.read(block.end - begin)
            if not data.endswith(b"\n"):
                data += file.readline()
            return data.removeprefix(_BOM) if block.begin == 0 else data
    except (OSError, EOFError) as error:
        raise RatingsError(
            f"{block.path} cannot be read to its end: {error}; if it was downloaded, download it again"
        ) from error


def _require_even(data: bytes, source: RatingsSource) -> None:
    """Refuse a block in which a line has more or fewer fields than line 1: pandas would fill and cut."""
    if b'"' in data or _BLANK.search(data):
        # A delimiter may be quoted, or a line empty: a count of the block's delimiters tells nothing.
        even = all(len(fields) == source.fields for _, fields in _split(data, source) if fields)
    else:
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        even = data.count(source.delimiter.encode()) == lines * (source.fields - 1)
    if not even:
        raise ValueError("lines have different numbers of fields")


def _may_hide_text(data: bytes, source: RatingsSource) -> bool:
    """Tell whether an id may be written with a leading zero, sign or blank, as 007 beside 7."""
    # One character class in front keeps the search fast.
    before = re.escape(source.delimiter[-1:].encode())
    pattern = re.compile(rb"[\n" + before + rb']"?(?:[+ ]|-?0\d|-0)')
    return pattern.search(data) is not None or pattern.match(b"\n" + data[:4]) is not None


def _split(data: bytes, source: RatingsSource) -> Iterator[tuple[int, list[str]]]:
    for count, raw in enumerate(data.split(b"\n")):
        line = raw.rstrip(b"\r").decode("utf-8")
        yield count, split_line(line, source.delimiter) if line.strip() else []


def _explain(block: Block, source: RatingsSource, kinds: dict[str, IdKind]) -> None:
    """Go through a block line by line and raise for the first that is wrong."""
    data = _bytes_of(block)
    first = 1 + _lines_before(block)
    try:
        for count, fields in _split(data, source):
            if fields and not (source.header and block.begin == 0 and count == 0):
                _explain_line(f"{block.path}, line {first + count}", fields, source, kinds)
    except UnicodeDecodeError as error:
        raise RatingsError(
            f"{block.path} is not UTF-8 text near line {first + data[: error.start].count(10)}"
        ) from error


def _explain_line(where: str, fields: list[str], source: RatingsSource, kinds: dict[str, IdKind]) -> None:
    if len(fields) != source.fields:
        raise RatingsError(
            f"{where} has {len(fields)} field(s) where line 1 has {source.fields} (delimiter "
            f"{source.delimiter!r}): "
            f"{source.delimiter.join(fields)[:80]!r}; mend the line, or give --delimiter"
        )
    user, item, rating = (fields[position].strip() for position in source.columns)
    for role, text in (("user", user), ("item", item)):
        if not text:
            raise RatingsError(f"{where}: the {role} is missing; mend or remove the line")
    value = number(rating)
    if value is None or not np.isfinite(value):
        hint = "; if that is a header, say --header" if where.endswith("line 1") else ""
        raise RatingsError(f"{where}: the rating must be a finite number, but is {rating!r}{hint}")
    for role, text in (("user", user), ("item", item)):
        if kinds[role] == "integer" and not is_integer(text):
            raise NotIntegersError(role)


def is_integer(text: str) -> bool:
    """Tell whether an id is a 64-bit integer written the one usual way: no sign +, no leading zero."""
    return (
        _WHOLE_NUMBER.fullmatch(text) is not None and str(int(text)) == text and -(2**63) <= int(text) < 2**63
    )


def _lines_before(block: Block) -> int:
    if block.begin == 0:
        return 0
    count = 0
    with open_bytes(block.path) as file:
        left = block.begin
        while left > 0:
            piece = file.read(min(left, 1 << 20))
            count += piece.count(b"\n")
            left -= len(piece)
        # The line that was begun before the block belongs to the block before.
        file.seek(block.begin - 1)
        return count + (file.read(1) != b"\n")
