"""The users to recommend for: those of a file, or every user of the model."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple, TextIO

import numpy as np

from toolkit.arrays import Array
from toolkit.datasets import IdTable
from toolkit.errors import ConfigError, UnknownIdError
from toolkit.tables import find_column, find_delimiter, split_line

_AT_ONCE = 1 << 16
_SHOWN = 5
_COLUMN = "user"
_DELIMITERS = (",", "\t", ";", "|")
_SAMPLE_LINES = 50


class Asked(NamedTuple):
    """Users to recommend for.

    Attributes
    ----------
    rows : array of int64, shape (n,)
        Their row numbers, in the order in which they were named, each once.
    unknown : int
        Ids that were left out because the model does not know them.
    repeated : int
        Ids that were named before.
    """

    rows: Array
    unknown: int = 0
    repeated: int = 0


def every_user(users: IdTable) -> Asked:
    """Return all users of a model, in its order."""
    return Asked(np.arange(len(users)))


def read_users(path: str | Path, users: IdTable, *, unknown: Literal["error", "drop"] = "error") -> Asked:
    """Return the users that a file names, each at its first occurrence.

    The file is read in pieces; eight bytes a user are kept.

    Parameters
    ----------
    path : str or Path
        One id a line; ``.csv``, with a header that names a column ``user``, ``user_id``, ``clientId`` or
        another of `toolkit.tables.ALIASES`, or names one column; or ``.parquet``, with such columns.
    users : IdTable
        The users of the model.
    unknown : {"error", "drop"}
        What becomes of ids that the model does not know.

    Raises
    ------
    UnknownIdError
        When there are such ids and `unknown` is ``error``; the text counts them and names the first few.
    ConfigError
        When the file cannot be read as ids, or no user is left.
    """
    path = Path(path)
    seen = np.zeros(len(users), bool)
    kept: list[Array] = []
    strange: list[str] = []
    total = n_strange = 0
    for where, ids in _pieces(path, users):
        rows = users.find(ids)
        total += len(rows)
        new = np.flatnonzero(rows < 0)
        n_strange += len(new)
        strange += [f"{ids[at]!s} ({where[at]})" for at in new[: _SHOWN - len(strange)]]
        rows = rows[rows >= 0]
        # Each user of the piece at its first occurrence.
        rows = rows[np.sort(np.unique(rows, return_index=True)[1])]
        rows = rows[~seen[rows]]
        seen[rows] = True
        kept.append(rows)
    rows = np.concatenate([np.empty(0, np.int64), *kept])
    if n_strange and unknown == "error":
        more = ", …" if n_strange > len(strange) else ""
        raise UnknownIdError(
            f"{path} names {n_strange:,} of {total:,} users whom the model has never seen: "
            f"{', '.join(strange)}{more}; it knows {len(users):,}, such as "
            f"{users.examples()} (or have such users left out, counted, with "
            "--unknown drop)"
        )
    if not len(rows):
        why = f"none of its {total:,} ids is a user of the model" if total else "it holds no id"
        raise ConfigError(f"{path} names no user: {why}; give one id a line, or take --all-users")
    return Asked(rows, n_strange, total - n_strange - len(rows))


def _pieces(path: Path, users: IdTable) -> Iterator[tuple[list[str], list[int | str]]]:
    """Yield the ids of each piece of the file, and the line or row of each id."""
    try:
        if path.suffix.lower() == ".parquet":
            yield from _of_parquet(path)
            return
        with path.open(encoding="utf-8-sig", newline="") as lines:
            every = _of_csv(path, lines, users) if path.suffix.lower() == ".csv" else _of_text(lines)
            while piece := list(itertools.islice(every, _AT_ONCE)):
                yield [where for where, _ in piece], [id_ for _, id_ in piece]
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text: give one id a line, a .csv with a header, or a .parquet"
        ) from error
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror or error}") from error


def _of_text(lines: TextIO) -> Iterator[tuple[str, str]]:
    for number, line in enumerate(lines, 1):
        if text := line.strip():
            yield f"line {number}", text


def _of_csv(path: Path, lines: TextIO, users: IdTable) -> Iterator[tuple[str, str]]:
    reader = csv.reader(lines, delimiter=_delimiter(lines))
    header = [name.strip() for name in next(reader, [])]
    at = _user_column(path, header, "line 1 must name a column", "names")
    if header and users.find(header[at])[0] >= 0:
        raise ConfigError(
            f"{path}, line 1 must name the columns, but {header[at]!r} is a user: put a header such as "
            f"{_COLUMN!r} before it, or call the file .txt"
        )
    try:
        for row in reader:
            if len(row) > at and (text := row[at].strip()):
                yield f"line {reader.line_num}", text
            elif any(field.strip() for field in row):
                raise ConfigError(f"{path}, line {reader.line_num}: the user is missing; mend the line")
    except csv.Error as error:
        raise ConfigError(f"{path}, line {reader.line_num}: {error}; mend the line") from error


def _delimiter(lines: TextIO) -> str:
    """Return what separates the columns of the header; a comma where there is one column."""
    sample = [line.rstrip("\r\n") for line in itertools.islice(lines, _SAMPLE_LINES)]
    lines.seek(0)
    best = find_delimiter(sample, least=2, candidates=_DELIMITERS) if sample else ","
    return best if sample and len(split_line(sample[0], best)) > 1 else ","


def _user_column(path: Path, names: list[str], rule: str, has: str) -> int:
    """Return the position of the column of users; of a table with one column, that column."""
    at = find_column(names, "user", also=["id"])
    if at is None and len(names) > 1:
        separator = ", " if rule.startswith("line") else " "
        raise ConfigError(f"{path}{separator}{rule} {_COLUMN!r}, but {has} {', '.join(names[:8])}")
    return at or 0


def _of_parquet(path: Path) -> Iterator[tuple[list[str], list[int | str]]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(path)
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{path} cannot be read as Parquet: {error}") from error
    with file:
        names = file.schema_arrow.names
        at = _user_column(path, names, "must have a column", "has")
        name, kind = names[at], file.schema_arrow.field(at).type
        kind = kind.value_type if pa.types.is_dictionary(kind) else kind
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind) or pa.types.is_large_string(kind)):
            raise ConfigError(f"{path}: the column {name!r} must hold integers or text, but holds {kind}")
        row = 1
        for batch in file.iter_batches(_AT_ONCE, columns=[name]):
            ids = batch.column(0).to_pylist()
            if None in ids:
                raise ConfigError(f"{path}, row {row + ids.index(None)}: the user is missing; mend the file")
            yield [f"row {at}" for at in range(row, row + len(ids))], ids
            row += len(ids)
