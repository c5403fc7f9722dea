"""The form of ratings files, as the first lines of the first file show it: delimiter, header, names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import RatingsError
from toolkit.ingest.reading import times
from toolkit.ingest.reading.field_names import is_word, names_of_fields
from toolkit.ingest.reading.ratings_file import RatingsFile, first_bytes, open_raw, read_errors
from toolkit.tables import DELIMITERS, find_delimiter, is_number, lines_of, split_line

if TYPE_CHECKING:
    import pyarrow as pa

_LEAST_FIELDS = 3
_SAMPLE_LINES = 50


@dataclass(frozen=True)
class Form:
    """What the beginning of the first file shows.

    Attributes
    ----------
    file : RatingsFile
        The first file.
    delimiter : str
        What separates fields; empty for Parquet.
    header : bool
        Whether the first line names the columns.
    names : list of str
        Names of the columns, from the header or from the user; empty where nothing names them.
    rows : list of list of str
        Sampled lines as fields, the header first where there is one; empty for Parquet.
    types : mapping of int to str
        Parquet: the kinds of times, by the position of the column.
    """

    file: RatingsFile
    delimiter: str
    header: bool
    names: list[str]
    rows: list[list[str]]
    types: Mapping[int, str]

    @property
    def width(self) -> int:
        """How many fields a line has."""
        return len(self.names or self.rows[0])

    def sample(self, position: int) -> list[str]:
        """Return the fields of a column in the sampled lines, without blanks around them; at least one."""
        body = self.rows[self.header :]
        return [row[position].strip() for row in body if position < len(row)] or [""]


def text_form(
    file: RatingsFile, delimiter: str | None, *, header: bool | None, columns: Sequence[str | int] | None
) -> Form:
    """Return the form of text files.

    Parameters
    ----------
    file : RatingsFile
        The first file.
    delimiter : str, optional
        What separates fields, where the user says it.
    header : bool, optional
        Whether there is a header, where the user says it.
    columns : sequence of str or int, optional
        The user's columns. Names choose columns of a header; where there is none, they name the fields.

    Raises
    ------
    RatingsError
        When the file is no table, or its fields cannot be named like that.
    """
    lines = _first_lines(file)
    delimiter = delimiter or _delimiter(file, lines)
    rows = [split_line(line, delimiter) for line in lines]
    if len(rows[0]) < _LEAST_FIELDS:
        raise RatingsError(
            f"{file}: the first line, {lines[0][:80]!r}, has {len(rows[0])} field(s) when cut at "
            f"{delimiter!r}, too few for user, item and rating: give another --delimiter"
        )
    words = columns if columns is not None and any(map(is_word, columns)) else ()
    first = [name.strip().strip('"') for name in rows[0]]
    if header is None:
        header = any(is_word(word) and word in first for word in words) or not any(map(is_number, rows[0]))
    names = first if header else names_of_fields(file, rows, words) if words else []
    return Form(file, delimiter, header, names, rows, {})


def parquet_form(file: RatingsFile) -> Form:
    """Return the form of Parquet files, of which this is the first."""
    schema = _schema(file)
    kinds = {at: times.kind_of_type(field.type) for at, field in enumerate(schema)}
    types = {at: kind for at, kind in kinds.items() if kind}
    return Form(file, "", header=True, names=list(schema.names), rows=[], types=types)


def check_form(form: Form, files: Sequence[RatingsFile], timestamp: int | None) -> None:
    """Refuse files that are not of the form of the first.

    Parameters
    ----------
    form : Form
        What the first file shows.
    files : sequence of RatingsFile
        The other files.
    timestamp : int or None
        Position of the column of times, where it is read.

    Raises
    ------
    RatingsError
        Naming the file, and what differs.
    """
    for file in files:
        if form.file.kind == "parquet":
            _check_schema(form, file, timestamp)
        elif form.header:
            first = _first_lines(file)[0]
            if split_line(first, form.delimiter) != form.rows[0]:
                raise RatingsError(
                    f"{file}, line 1 must be the header of {form.file}, "
                    f"{form.delimiter.join(form.rows[0])!r}, but is {first!r}: ingest files of one form "
                    "together"
                )


def _check_schema(form: Form, file: RatingsFile, timestamp: int | None) -> None:
    schema = _schema(file)
    names = list(schema.names)
    if names != form.names:
        raise RatingsError(
            f"{file} must have the columns of {form.file}, {', '.join(form.names)}, but has "
            f"{', '.join(names)}: ingest files of one form together"
        )
    if timestamp is None:
        return
    # A cast would make something of any number: the seconds of one file the microseconds of another.
    arrow_type, kind = schema.field(timestamp).type, form.types[timestamp]
    if times.kind_of_type(arrow_type) != kind:
        raise RatingsError(
            f"{file}: {names[timestamp]} must hold {kind}s, as in {form.file}, but holds {arrow_type}: "
            "ingest files of one form together"
        )


def _schema(file: RatingsFile) -> pa.Schema:
    import pyarrow.parquet as pq

    with read_errors(file, "as Parquet"), open_raw(file.path) as raw:
        return pq.read_schema(raw)


def _first_lines(file: RatingsFile) -> list[str]:
    with read_errors(file, "to its end"):
        raw = first_bytes(file, _SAMPLE_LINES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RatingsError(
            f"{file} is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}; convert it, or "
            "decompress it first"
        ) from error
    lines = [line for line in lines_of(text) if line.strip()]
    if not lines:
        raise RatingsError(f"{file} is empty: a ratings file has one user, item and rating a line")
    return lines


def _delimiter(file: RatingsFile, lines: list[str]) -> str:
    best = find_delimiter(lines, least=_LEAST_FIELDS)
    # Some lines may be bad: the reader names them.
    if sum(len(split_line(line, best)) >= _LEAST_FIELDS for line in lines) * 2 >= len(lines):
        return best
    two = next((d for d in DELIMITERS if all(len(split_line(line, d)) == 2 for line in lines)), "")
    if two:
        raise RatingsError(
            f"{file}: its lines have two fields when cut at {two!r}, such as {lines[0]!r}, and a ratings "
            "file has at least three: user, item and rating"
        )
    raise RatingsError(
        f"{file}: no delimiter cuts its lines into user, item and rating; line 1 is {lines[0]!r}: "
        "give --delimiter"
    )
