"""Wide tables: a line for each user, a column for each item. An empty cell is no rating."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from toolkit.arrays import Array, FloatArray
from toolkit.ingest.reading.columns import Columns, Ids, as_integers, of_column, of_integers, of_words
from toolkit.ingest.reading.line_ends import restored_ids
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.reading.wide_form import NO_RATING
from toolkit.tables import array_of, flags, is_number, numbers, of_texts

if TYPE_CHECKING:
    import pyarrow as pa


def parse(data: bytes, source: RatingsSource) -> Columns:
    """Return the ratings of lines of a wide table, none of which is bad.

    Parameters
    ----------
    data : bytes
        Whole lines, without a header.
    source : RatingsSource
        How to read them.

    Raises
    ------
    ValueError
        When some line is bad.
    """
    table = _table(data, source)
    if table.num_rows != sum(1 for line in data.splitlines() if line.strip()):
        raise ValueError("a quoted field goes over the end of its line")
    held = table.column(f"f{source.columns[0]}").combine_chunks()
    users = of_column(restored_ids(held) if source.folded else held, source.ids[0])
    cells = [_ratings(table.column(f"f{at}"), source.no_rating) for at in source.item_columns]
    ratings = np.stack(cells, axis=1) if len(users.codes) else np.zeros((0, len(cells)), np.float32)
    if np.isinf(ratings).any():
        raise ValueError("a rating is not finite")
    rows, columns = np.nonzero(~np.isnan(ratings))
    return Columns(
        users=_of_rows(users, rows),
        items=_of_names(source.items, columns, source.ids[1]),
        ratings=ratings[rows, columns],
    )


def problem_of(fields: Sequence[str], source: RatingsSource) -> tuple[str, str] | None:
    """Return the reason and the message of a mistake in the cells of a line, or None for a good line."""
    for name, at in zip(source.items, source.item_columns, strict=True):
        text = fields[at].strip()
        if not is_cell(text, source):
            rule = f"the rating of item {name[:40]} must be empty or a finite float32 number"
            return "rating not a number", f"{rule}, but is {text[:80]!r}"
    return None


def is_cell(text: str, source: RatingsSource) -> bool:
    """Tell whether a cell, without blanks around it, is a rating or none."""
    if _is_empty(text, source):
        return True
    point = text.replace(",", ".") if source.decimal == "," else text
    return is_number(point) and bool(abs(float(point)) <= np.finfo(np.float32).max)


def _is_empty(text: str, source: RatingsSource) -> bool:
    if text in NO_RATING or text == source.no_rating:
        return True
    both = source.no_rating is not None and is_number(text) and is_number(source.no_rating)
    return both and float(text) == float(source.no_rating or 0)


def items_in(fields: Sequence[str], source: RatingsSource) -> list[str]:
    """Return the items that a line has ratings of."""
    held = zip(source.items, source.item_columns, strict=True)
    return [name for name, at in held if not _is_empty(fields[at].strip(), source)]


def _table(data: bytes, source: RatingsSource) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    kinds: dict[str, pa.DataType] = {f"f{at}": pa.float32() for at in source.item_columns}
    kinds[f"f{source.columns[0]}"] = pa.dictionary(pa.int32(), pa.string())
    if len(source.delimiter) > 1:
        data, delimiter = data.replace(source.delimiter.encode(), b"\x1f"), "\x1f"
    else:
        delimiter = source.delimiter
    data = b"\n".join(line for line in data.splitlines() if line.strip())
    nothing = [*NO_RATING, *([source.no_rating] if source.no_rating else [])]
    return pacsv.read_csv(
        pa.BufferReader(data),
        read_options=pacsv.ReadOptions(
            column_names=[f"f{at}" for at in range(source.fields)],
            use_threads=False,
            block_size=min(len(data) + 1, 1 << 30),
        ),
        parse_options=pacsv.ParseOptions(delimiter=delimiter, quote_char='"' if source.quoted else False),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(kinds),
            column_types=kinds,
            null_values=nothing,
            strings_can_be_null=False,
            decimal_point=source.decimal,
        ),
    ).unify_dictionaries()


def _ratings(column: pa.ChunkedArray, no_rating: str | None) -> FloatArray:
    """Return a column of ratings, NaN where there is none."""
    array = column.combine_chunks()
    values = np.array(numbers(array))
    values[flags(array.is_null())] = np.nan
    if no_rating is not None and is_number(no_rating):
        values[values == np.float32(no_rating)] = np.nan
    return values


def _of_rows(users: Ids, rows: Array) -> Ids:
    codes = users.codes[rows]
    held = np.unique(codes)
    distinct = (
        users.distinct[held]
        if isinstance(users.distinct, np.ndarray)
        else users.distinct.take(array_of(held))
    )
    return Ids(np.searchsorted(held, codes).astype(np.int32), distinct, users.floats)


def _of_names(names: Sequence[str], columns: Array, kind: str) -> Ids:
    words = of_texts(names)
    integers = as_integers(words) if kind in {"auto", "integer"} else None
    if integers is not None:
        return of_integers(integers[columns])
    if kind == "integer":
        raise ValueError("an id is no integer")
    held = np.unique(columns)
    return of_words(np.searchsorted(held, columns).astype(np.int32), words.take(array_of(held)))
