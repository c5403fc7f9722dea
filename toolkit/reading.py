"""Blocks of ratings files as pandas frames for Dask, and the exact line of what cannot be read."""

from __future__ import annotations

import itertools
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import RatingsError
from toolkit.source import RatingsSource, number, open_bytes, split_line

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

BLOCK_BYTES = 32 << 20
_BOM = b"\xef\xbb\xbf"
# Stands for a delimiter of several bytes, which the CSV reader cannot cut at.
_UNIT = b"\x1f"
_LARGEST = float(np.finfo(np.float32).max)


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


def read(source: RatingsSource, block_bytes: int = BLOCK_BYTES) -> dd.DataFrame:
    """Return the ratings as a Dask dataframe with columns user, item and rating, one partition a block.

    Users and items are categories, each block with its own: int64 where every id of the block is an integer
    in its usual form, str otherwise. Ratings are float64.

    Parameters
    ----------
    source : RatingsSource
        The files and how to read them.
    block_bytes : int
        Size of a block.
    """
    import dask
    import dask.dataframe as dd

    with dask.config.set({"dataframe.convert-string": False}):
        frame: dd.DataFrame = dd.from_map(parse, blocks(source, block_bytes), source=source, meta=_empty())
    return frame


def parse(block: Block, source: RatingsSource) -> pd.DataFrame:
    """Read one block.

    Raises
    ------
    RatingsError
        Naming file, line, field and value of the first bad line.
    """
    import pandas as pd
    import pyarrow as pa

    data = _bytes_of(block)
    if source.header and block.begin == 0:
        data = data[_end_of_header(data) :]
    if not data.strip():
        return _empty()
    try:
        table = _table(data, source)
        return pd.DataFrame({"user": _ids(table, 0), "item": _ids(table, 1), "rating": _ratings(table)})
    except (ValueError, pa.ArrowException) as error:
        _explain(block, source)
        raise RatingsError(f"{block.path} cannot be read: {error}") from error


def place(block: Block, source: RatingsSource, row: int) -> str:
    """Return file and line, for people, of a row of a block, from 0."""
    at, _ = next(itertools.islice(_data_lines(block, source), row, None))
    return f"{block.path}, line {at}"


def _empty() -> pd.DataFrame:
    import pandas as pd

    none = pd.Categorical([], categories=pd.Index([], dtype="int64"))
    return pd.DataFrame({"user": none, "item": none, "rating": np.zeros(0)})


def _end_of_header(data: bytes) -> int:
    end = 0
    for line in data.splitlines(keepends=True):
        end += len(line)
        if line.strip():
            break
    return end


def _table(data: bytes, source: RatingsSource) -> Any:
    """Return user, item and rating as an Arrow table; ids are dictionary-encoded text.

    Arrow, and not pandas, because it refuses a line with another number of fields than the others, which
    pandas fills or cuts where only some columns are read.
    """
    import pyarrow as pa
    import pyarrow.csv as pacsv

    if b"\0" in data:
        raise ValueError("zero byte")
    delimiter = source.delimiter.encode()
    if len(delimiter) > 1:
        if _UNIT in data:
            raise ValueError("a control character (0x1f)")
        data = data.replace(delimiter, _UNIT)
    user, item, rating = (f"f{position}" for position in source.columns)
    word = pa.dictionary(pa.int32(), pa.string())

    def cut(data: bytes) -> Any:
        return pacsv.read_csv(
            pa.BufferReader(data),
            # Names are given so that the first line of a block is held to the number of fields, too. Several
            # blocks side by side keep the processors busy; the reader needs no threads of its own.
            read_options=pacsv.ReadOptions(
                column_names=[f"f{n}" for n in range(source.fields)],
                use_threads=False,
                block_size=min(len(data) + 1, 2 * BLOCK_BYTES),
            ),
            parse_options=pacsv.ParseOptions(
                delimiter=delimiter.decode() if len(delimiter) == 1 else _UNIT.decode(),
                quote_char='"' if len(delimiter) == 1 else False,
            ),
            convert_options=pacsv.ConvertOptions(
                include_columns=[user, item, rating],
                column_types={user: word, item: word, rating: pa.float64()},
                null_values=[""],
                strings_can_be_null=False,
            ),
        )

    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    try:
        table = cut(data)
    except pa.ArrowInvalid:
        # The reader skips empty lines, but not lines of blanks.
        kept = [line for line in data.splitlines() if line.strip()]
        if len(kept) == lines:
            raise
        table = cut(b"\n".join(kept))
    if table.num_rows not in (lines, sum(1 for line in data.splitlines() if line.strip())):
        raise ValueError("a quoted field goes over the end of its line")
    return table.unify_dictionaries()


def _ratings(table: Any) -> np.ndarray[Any, Any]:
    """Return the ratings as float64, all of which float32 can hold; a missing one reads as NaN."""
    rating: np.ndarray[Any, Any] = table.column(2).to_numpy()
    if len(rating) and not np.abs(rating).max() <= _LARGEST:
        raise ValueError("a rating is missing or not a finite number")
    return rating


def _ids(table: Any, column: int) -> pd.Categorical:
    """Return a column of ids as categories, stripped of blanks, as integers where all are."""
    import pandas as pd
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = table.column(column).combine_chunks()
    codes, words = coded.indices.to_numpy(), coded.dictionary
    stripped = pc.utf8_trim_whitespace(words)
    if not stripped.equals(words):
        merged = stripped.dictionary_encode()
        codes, words = merged.indices.to_numpy()[codes], merged.dictionary
    if pc.index(words, "").as_py() >= 0:
        raise ValueError("an id is missing")
    try:
        integers = words.cast(pa.int64())
    except pa.ArrowInvalid:
        integers = None
    # 007 is not 7, and becomes text.
    if integers is not None and integers.cast(pa.string()).equals(words):
        return pd.Categorical.from_codes(codes, categories=pd.Index(integers.to_numpy()))
    return pd.Categorical.from_codes(codes, categories=pd.Index(words.to_pylist(), dtype=object))


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
    except (OSError, EOFError, zlib.error) as error:
        raise RatingsError(
            f"{block.path} cannot be read to its end: {error}; if it was downloaded, download it again"
        ) from error


def _data_lines(block: Block, source: RatingsSource) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a block that hold ratings, with their numbers, from 1, in the file."""
    header = source.header and block.begin == 0
    for at, line in enumerate(_bytes_of(block).splitlines(), 1 + _lines_before(block)):
        if line.strip():
            if not header:
                yield at, line
            header = False


def _explain(block: Block, source: RatingsSource) -> None:
    """Go through a block line by line and raise for the first that is wrong."""
    for at, line in _data_lines(block, source):
        where = f"{block.path}, line {at}"
        if b"\0" in line:
            raise RatingsError(f"{where} holds a zero byte, so it is not text: mend or remove the line")
        try:
            text = line.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RatingsError(
                f"{where} is not UTF-8 text: {line[:80]!r}; convert the file, for example with iconv"
            ) from error
        _explain_line(where, split_line(text, source.delimiter), source)


def _explain_line(where: str, fields: list[str], source: RatingsSource) -> None:
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
    if value is None or not abs(value) <= _LARGEST:
        hint = "; if that is a header, say --header" if where.endswith("line 1") and value is None else ""
        if re.fullmatch(r"-?\d+,\d+", rating):
            hint = f"; write it with a point, {rating.replace(',', '.')}"
        raise RatingsError(f"{where}: the rating must be a finite float32 number, but is {rating!r}{hint}")


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
