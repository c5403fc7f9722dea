"""The form of ratings files, as the beginning of the first file shows it: delimiter, header, names."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from toolkit.errors import RatingsError
from toolkit.ingest.reading import times
from toolkit.ingest.reading.asked import Asked
from toolkit.ingest.reading.beginnings import Beginning, beginning_of
from toolkit.ingest.reading.field_names import ROLES, is_word, names_of_fields
from toolkit.ingest.reading.line_ends import column_name
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.translation import NAMES
from toolkit.ingest.reading.typed_files import schema_of
from toolkit.tables import (
    DELIMITERS,
    delimiters_in_question,
    find_column,
    is_number,
    split_line,
    whole_number,
)

if TYPE_CHECKING:
    import pyarrow as pa

LEAST_FIELDS = 3
_SEVERAL = 12
# What pandas calls a column of row numbers.
_INDEX = ("", "Unnamed: 0", "index")


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
    quotes : bool
        Whether a field in quotes may hold the delimiter.
    folded : bool
        Whether a quoted field goes over several lines.
    decimal : str
        What stands before the decimals of a rating.
    """

    file: RatingsFile
    delimiter: str
    header: bool
    names: list[str]
    rows: list[list[str]]
    types: Mapping[int, str] = field(default_factory=dict)
    quotes: bool = True
    folded: bool = False
    decimal: str = "."

    @property
    def width(self) -> int:
        """How many fields a line has."""
        return len(self.names or self.rows[0])

    @property
    def names_columns(self) -> bool:
        """Whether the file itself names its columns: by a header, or by keys of JSON."""
        return self.header or self.file.forms[-1:] == ("json",)

    @property
    def counted(self) -> bool:
        """Whether the header only counts the columns, 0, 1, 2, …, as pandas writes columns without names."""
        return self.header and bool(self.rows) and counted_columns(self.rows[0])

    @property
    def body(self) -> list[list[str]]:
        """The sampled lines below the header that are as long as the first."""
        return [row for row in self.rows[self.header :] if len(row) == self.width]

    def sample(self, position: int) -> list[str]:
        """Return the fields of a column in the sampled lines, without blanks around them; at least one."""
        body = self.rows[self.header :]
        return [row[position].strip() for row in body if position < len(row)] or [""]


def text_form(file: RatingsFile, asked: Asked, *, least: int = LEAST_FIELDS) -> Form:
    """Return the form of text files.

    Parameters
    ----------
    file : RatingsFile
        The first file.
    asked : Asked
        What the user says. Names of columns choose columns of a header; where there is none, they name the
        fields.
    least : int
        Fewer fields than this are too few.

    Raises
    ------
    RatingsError
        When the file is no table, or its fields cannot be named like that.
    """
    delimiter, header, columns, quotes = asked.delimiter, asked.header, asked.columns, asked.quotes
    begun = beginning_of(file, quotes=quotes)
    if begun.form == "json":
        keys = begun.json_keys()
        rows = begun.json_rows(keys)
        return Form(begun.file, ",", header=False, names=keys, rows=rows, decimal=asked.decimal)
    cut = split_line if quotes else str.split
    delimiter = delimiter or begun.delimiter or _delimiter(begun, cut, columns, least)
    rows = [cut(line, delimiter) for line in begun.lines]
    if len(rows[0]) < least:
        table = next((at for at, row in enumerate(rows) if len(row) >= least), 0)
        if table and sum(len(row) >= least for row in rows) * 2 > len(rows):
            raise RatingsError(
                f"{file}: the table begins with the line {begun.lines[table][:80]!r}, below others such as "
                f"{begun.lines[0][:80]!r}: remove the lines above it"
            )
        raise RatingsError(
            f"{file}: the first line, {begun.lines[0][:80]!r}, has {len(rows[0])} field(s) when cut at "
            f"{delimiter!r}, too few for user, item and rating: give another --delimiter"
        )
    if columns is None and begun.form in NAMES:
        columns = NAMES[begun.form][: len(rows[0])]
    words = columns if columns is not None and any(map(is_word, columns)) else ()
    first = cleaned(rows[0])
    if header is None:
        named = any(is_word(word) and word in first for word in words) or not any(map(is_number, rows[0]))
        header = named or (len(rows) > 1 and _counts_columns(begun.file, rows))
    if header:
        _require_all_names(begun.file, rows)
    names = first if header else names_of_fields(begun.file, rows, words) if words else []
    return Form(
        begun.file, delimiter, header, names, rows, quotes=quotes, folded=begun.folded, decimal=asked.decimal
    )


def parquet_form(file: RatingsFile) -> Form:
    """Return the form of Parquet files, of which this is the first."""
    return typed_form(file, schema_of(file), [])


def typed_form(file: RatingsFile, schema: pa.Schema, rows: list[list[str]]) -> Form:
    """Return the form of typed columns.

    Parameters
    ----------
    file : RatingsFile
        Their file, or what stands for it in errors.
    schema : pyarrow.Schema
        Names and types.
    rows : list of list of str
        Names and some rows as text, where the names only count the columns; otherwise none.
    """
    kinds = {at: times.kind_of_type(field.type) for at, field in enumerate(schema)}
    types = {at: kind for at, kind in kinds.items() if kind}
    return Form(file, "", header=True, names=list(schema.names), rows=rows, types=types)


def cleaned(fields: Sequence[str]) -> list[str]:
    """Return the fields of a header as names."""
    return [column_name(name).strip().strip('"') for name in fields]


def counted_columns(fields: Sequence[str]) -> bool:
    """Tell whether a line counts its fields, 0, 1, 2, …, perhaps behind the name of an index."""
    names = cleaned(fields)
    counted = names[names[0] in _INDEX :]
    return len(counted) >= LEAST_FIELDS and [*map(whole_number, counted)] == [
        str(at) for at in range(len(counted))
    ]


def _counts_columns(file: RatingsFile, rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first line counts the columns; refuse one that may as well be a rating."""
    first, body = cleaned(rows[0]), [row for row in rows[1:] if len(row) == len(rows[0])]
    of_users, of_items = ({row[at].strip() for row in body} for at in (0, 1))
    counted = counted_columns(first)
    known = first[0] in of_users, first[1] in of_items
    from_one = first == [str(at + 1) for at in range(len(first))] and len(body) >= _SEVERAL
    fits = (counted or from_one) and all(known) and _is_within(first, body)
    if (counted and fits) or (from_one and not fits):
        columns = "" if counted else " --columns 1,2,3"
        raise RatingsError(
            f"{file}: line 1, {','.join(first)!r:.80}, may count the columns or be a rating: say "
            f"--header{columns} or --no-header"
        )
    return counted


def _require_all_names(file: RatingsFile, rows: Sequence[Sequence[str]]) -> None:
    """Refuse a header that has a name less than all lines below it have fields."""
    n, body = len(rows[0]), rows[1:]
    if len(body) >= _SEVERAL and all(len(row) == n + 1 for row in body):
        empty = not any(row[-1].strip() for row in body)
        way_out = (
            "remove the delimiter at the end of the lines"
            if empty
            else "name the first column, too; R's write.table leaves names of rows out with row.names = FALSE"
        )
        raise RatingsError(
            f"{file}: line 1 names {n} columns, and the lines below it have {n + 1} fields: {way_out}"
        )


def _is_within(first: Sequence[str], body: Sequence[Sequence[str]]) -> bool:
    """Tell whether each number of a line is within those of its column."""
    for at, text in enumerate(first):
        values = [float(row[at]) for row in body if is_number(row[at].strip())]
        if not values or not min(values) <= float(text) <= max(values):
            return False
    return True


def _delimiter(
    begun: Beginning, cut: Callable[[str, str], list[str]], columns: Sequence[str | int] | None, least: int
) -> str:
    file, lines = begun.file, begun.lines

    def positions(first: list[str]) -> list[int]:
        """Return where user, item and rating would be in a line."""
        if columns is not None and not any(map(is_word, columns)) and len(columns) >= LEAST_FIELDS:
            return [int(column) - 1 for column in columns[:LEAST_FIELDS]]
        named = [find_column(first, role) for role in ROLES]
        return [at if at is not None else n for n, at in enumerate(named)]

    found = delimiters_in_question(lines, least=least, cut=cut, positions=positions)
    if len(found) > 1:
        one, two = found[:2]
        raise RatingsError(
            f"{file}: both {one!r} and {two!r} cut its lines into user, item and rating, such as "
            f"{lines[0][:80]!r}: say which with --delimiter"
        )
    best = found[0]
    # Some lines may be bad: the reader names them.
    if sum(len(cut(line, best)) >= least for line in lines) * 2 >= len(lines):
        return best
    two_fields = next((d for d in DELIMITERS if all(len(cut(line, d)) == 2 for line in lines)), "")
    if two_fields:
        raise RatingsError(
            f"{file}: its lines have two fields when cut at {two_fields!r}, such as {lines[0]!r}, and a "
            "ratings file has at least three: user, item and rating"
        )
    raise RatingsError(
        f"{file}: no delimiter cuts its lines into user, item and rating; line 1 is {lines[0]!r}: "
        "give --delimiter"
    )
