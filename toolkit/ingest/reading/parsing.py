"""Lines of ratings to columns, by Arrow's CSV reader: all lines, or an error that names none of them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np

from toolkit.arrays import IntArray
from toolkit.datasets import SPLITS, split_number
from toolkit.ingest.reading import times, wide
from toolkit.ingest.reading.blocks import BOM, count_lines
from toolkit.ingest.reading.columns import Columns, of_column
from toolkit.ingest.reading.line_ends import restored_ids
from toolkit.ingest.reading.source import RatingsSource
from toolkit.tables import numbers, split_line

if TYPE_CHECKING:
    import pyarrow as pa

# Control characters. The CSV reader cannot cut at a delimiter of several bytes; one of these that is not in
# the data takes its place.
_UNITS = [bytes([unit]) for unit in (0x1F, *range(1, 0x1F)) if unit not in b"\t\n\r"]
_ZERO, _POINT, _MINUS = b"0.-"
_ODD_BEGINNING = re.compile(rb"0[0-9xX]")
# So many bytes are looked at together: they stay in the processor's cache.
_CACHED = 1 << 18


def parse(data: bytes, source: RatingsSource) -> Columns:
    """Return the ratings of lines of text, none of which is bad.

    Parameters
    ----------
    data : bytes
        Whole lines, without a header.
    source : RatingsSource
        How to read them.

    Raises
    ------
    ValueError
        When some line is bad (`pyarrow.ArrowInvalid` is a ValueError, too);
        `toolkit.ingest.reading.diagnosis` finds which.
    """
    if b"\0" in data:
        raise ValueError("a zero byte")
    if source.wide:
        return wide.parse(data, source)
    integers = tuple(kind in {"auto", "integer"} for kind in source.ids)
    if any(integers) and not _unusual_numbers(data):
        try:
            table = _table(data, source, integers)
        except ValueError:
            # Some id is no integer, or some line is bad.
            table = None
        if table is not None:
            return _columns(table, source)
    return _columns(_table(data, source, (False, False)), source)


def closes_quotes(line: str, delimiter: str) -> bool:
    """Tell whether the last field of a line ends with the line, instead of going on in the next line."""
    # One more delimiter begins another field, unless a field is still open.
    return '"' not in line or len(split_line(line + delimiter, delimiter)) > len(split_line(line, delimiter))


def _columns(table: pa.Table, source: RatingsSource) -> Columns:
    roles = _roles(source)
    held = {role: table.column(f"f{position}").combine_chunks() for role, position in roles.items()}
    if source.folded or source.files[0].keys:
        held |= {role: restored_ids(held[role]) for role in ("user", "item")}
    ratings = numbers(held["rating"])
    if held["rating"].null_count or not np.isfinite(ratings).all():
        raise ValueError("a rating is missing or not a finite number")
    return Columns(
        users=of_column(held["user"], source.ids[0]),
        items=of_column(held["item"], source.ids[1]),
        ratings=ratings,
        times=_times(held["timestamp"], source) if "timestamp" in held else None,
        splits=_splits(held["split"]) if "split" in held else None,
    )


def _roles(source: RatingsSource) -> dict[str, int]:
    """Return the position of each column that is read."""
    roles = dict(zip(("user", "item", "rating"), source.columns, strict=True))
    if source.timestamp is not None:
        roles["timestamp"] = source.timestamp
    if source.split_column is not None:
        roles["split"] = source.split_column
    return roles


def _table(data: bytes, source: RatingsSource, integers: tuple[bool, ...]) -> pa.Table:
    """Return the columns that are read as an Arrow table.

    Arrow refuses a line with another number of fields than the others. pandas fills or cuts such lines where
    only some columns are read.
    """
    if source.delimiter == "::" and b'"' not in data:
        try:
            # Cutting at each colon, with an empty column between two of them, is three times as fast as to
            # replace the delimiter.
            return _read(data, source, integers, b":", stride=2)
        except ValueError:
            pass  # a colon within a field, or a bad line
    if len(source.delimiter) > 1:
        unit = next((unit for unit in _UNITS if unit not in data), None)
        if unit is None:
            raise ValueError("every control character")
        return _read(data.replace(source.delimiter.encode(), unit), source, integers, unit)
    return _read(data, source, integers, source.delimiter.encode())


def _read(
    data: bytes, source: RatingsSource, integers: tuple[bool, ...], delimiter: bytes, stride: int = 1
) -> pa.Table:
    try:
        table = _cut(data, source, integers, delimiter, stride)
    except ValueError:
        # The reader skips empty lines, but not lines of blanks.
        kept = [line for line in data.splitlines() if line.strip()]
        if len(kept) == count_lines(data):
            raise
        table = _cut(b"\n".join(kept), source, integers, delimiter, stride)
    if not (source.quoted and b'"' in data):
        return table
    # Where some line ends are not counted, a row too many may hide a row too few.
    if (table.num_rows != count_lines(data) or _lone_returns(data)) and table.num_rows != sum(
        1 for line in data.splitlines() if line.strip()
    ):
        raise ValueError("a quoted field goes over the end of its line")
    # The reader ends a field that is still open with the data.
    if not closes_quotes(_last_line(data), source.delimiter):
        raise ValueError("a quoted field is not closed")
    return table


def _lone_returns(data: bytes) -> bool:
    """Tell whether a carriage return stands anywhere without a line feed behind it."""
    if b"\r" not in data:
        return False
    bytes_ = np.frombuffer(data, np.uint8)
    return bool(((bytes_[:-1] == ord("\r")) & (bytes_[1:] != ord("\n"))).any())


def _last_line(data: bytes) -> str:
    end = len(data.rstrip())
    lines = data[data.rfind(b"\n", 0, end) + 1 : end].splitlines()
    return lines[-1].decode("utf-8", "surrogateescape") if lines else ""


def _cut(
    data: bytes, source: RatingsSource, integers: tuple[bool, ...], delimiter: bytes, stride: int
) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    if data.startswith(BOM):
        # Within a file this mark belongs to its field; the reader would drop it at the beginning of its data.
        data = b"\n" + data
    word = pa.dictionary(pa.int32(), pa.string())
    roles = _roles(source)
    kinds = {
        "user": pa.int64() if integers[0] else word,
        "item": pa.int64() if integers[1] else word,
        "rating": pa.float32(),
        # The reader strips numbers of blanks, but not times.
        "timestamp": pa.string() if source.time_kind.endswith("time") else times.arrow_type(source.time_kind),
        "split": word,
    }
    types = {f"f{position}": kinds[role] for role, position in roles.items()}
    names = [f"f{n}" for n in range(source.fields)]
    if stride == 2:
        names = [name for n in range(source.fields) for name in (f"f{n}", f"gap{n}")][:-1]
        types.update({name: pa.null() for name in names if name.startswith("gap")})
    return pacsv.read_csv(
        pa.BufferReader(data),
        # Names are given so that the reader counts the fields of the first line of a block, too. Several
        # blocks side by side keep the processors busy, so that it needs no threads of its own.
        read_options=pacsv.ReadOptions(
            column_names=names, use_threads=False, block_size=min(len(data) + 1, 1 << 30)
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter.decode(), quote_char='"' if source.quoted else False
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(types),
            column_types=types,
            null_values=[""],
            strings_can_be_null=False,
            decimal_point=source.decimal,
        ),
    ).unify_dictionaries()


def _times(column: pa.Array, source: RatingsSource) -> IntArray:
    import pyarrow as pa

    if column.null_count:
        raise ValueError("a time is missing")
    if pa.types.is_string(column.type):
        column = times.of_text(column, source.time_kind)
    if pa.types.is_floating(column.type) and not np.isfinite(numbers(column)).all():
        raise ValueError("a time is not finite")
    return times.sortable(column)


def _splits(column: pa.DictionaryArray) -> IntArray:
    splits = [split_number(word) for word in column.dictionary.to_pylist()]
    if None in splits:
        raise ValueError(f"a split is none of {', '.join(SPLITS)}")
    return np.array(splits, np.uint8)[numbers(column.indices)]


def _unusual_numbers(data: bytes) -> bool:
    """Tell whether some number is written as 007, -0 or 0x1f, which the reader would take for 7, 0 and 31.

    Such an id is text. This pass over the bytes is much cheaper than reading every id as text. Where only
    another column has such a number, the ids are read the slower way, and come out the same.
    """
    if _ODD_BEGINNING.match(data) or data.endswith(b"-0"):
        return True
    letters, minus = b"x" in data or b"X" in data, b"-" in data
    bytes_ = np.frombuffer(data, np.uint8)
    for begin in range(0, len(bytes_) - 2, _CACHED):
        part = bytes_[begin : begin + _CACHED + 2]
        # The point becomes 0, digits 1 to 10, and everything else more.
        ranks = part ^ np.uint8(1)
        ranks -= np.uint8(_POINT ^ 1)
        starts = ranks[:-2] > 10
        starts &= ranks[1:-1] == (_ZERO ^ 1) - (_POINT ^ 1)
        ranks -= np.uint8(1)
        odd = ranks[2:] < 10
        if letters:
            odd |= (part[2:] | 32) == ord("x")
        if minus:
            odd |= (part[:-2] == _MINUS) & (part[2:] != _POINT)
        odd &= starts
        if odd.any():
            return True
    return False
