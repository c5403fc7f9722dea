"""Lines of ratings to columns, by Arrow's CSV reader: all of them, or an error that says no line."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.ingest.reading import times
from toolkit.ingest.reading.blocks import BOM, count_lines
from toolkit.ingest.reading.columns import Columns, Ids, as_integers, of_integers, of_words
from toolkit.ingest.reading.source import RatingsSource, split_line
from toolkit.ingest.splitting.rule import SPLITS
from toolkit.tables.arrow import numbers

# Control characters, of which one that is not in the data stands for a delimiter of several bytes: the CSV
# reader cannot cut at that.
_UNITS = [bytes([unit]) for unit in (0x1F, *range(1, 0x1F)) if unit not in b"\t\n\r"]
_Array = np.ndarray[Any, Any]
_DIGIT_ZERO, _POINT, _MINUS = b"0.-"


def parse(data: bytes, source: RatingsSource) -> Columns:
    """Read lines of text, of which none is bad.

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
    if source.ids != ("text", "text") and not _unusual_numbers(data):
        try:
            table = _table(data, source, tuple(kind != "text" for kind in source.ids))
        except ValueError:
            # Some id is no integer, or some line is bad.
            table = None
        if table is not None:
            return _columns(table, source)
    return _columns(_table(data, source, (False, False)), source)


def closes_quotes(line: str, delimiter: str) -> bool:
    """Tell whether the last field of a line is at its end, and not open to go on in the next."""
    # In an open field, one more delimiter begins no other.
    return '"' not in line or len(split_line(line + delimiter, delimiter)) > len(split_line(line, delimiter))


def _columns(table: Any, source: RatingsSource) -> Columns:
    roles = _roles(source)
    found = {role: table.column(f"f{position}").combine_chunks() for role, position in roles.items()}
    ratings = numbers(found["rating"])
    if found["rating"].null_count or not np.isfinite(ratings).all():
        raise ValueError("a rating is missing or not a finite number")
    given = None
    if "timestamp" in found:
        found["timestamp"] = _times(found["timestamp"], source)
    if "split" in found:
        given = _splits(found["split"], source)
    return Columns(
        users=_ids(found["user"], source.ids[0]),
        items=_ids(found["item"], source.ids[1]),
        ratings=ratings,
        times=times.sortable(found["timestamp"]) if "timestamp" in found else None,
        splits=given,
    )


def _roles(source: RatingsSource) -> dict[str, int]:
    roles = dict(zip(("user", "item", "rating"), source.columns, strict=True))
    if source.timestamp is not None:
        roles["timestamp"] = source.timestamp
    if source.split_column is not None:
        roles["split"] = source.split_column
    return roles


def _table(data: bytes, source: RatingsSource, integers: tuple[bool, ...]) -> Any:
    """Return the columns that are read as an Arrow table.

    Arrow, and not pandas, because it refuses a line with another number of fields than the others, which
    pandas fills or cuts where only some columns are read.
    """
    if source.delimiter == "::" and b'"' not in data:
        try:
            # Three times as fast as to replace the delimiter: the columns between two colons are empty.
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
) -> Any:
    lines = count_lines(data)
    table = None
    try:
        table = _cut(data, source, integers, delimiter, stride)
    except ValueError:
        # The reader skips empty lines, but not lines of blanks.
        kept = [line for line in data.splitlines() if line.strip()]
        if len(kept) == lines:
            raise
        table = _cut(b"\n".join(kept), source, integers, delimiter, stride)
    quoted = len(source.delimiter) == 1 and b'"' in data
    # Where lines end in a way that is not counted, a row too many may hide a row too few.
    if (table.num_rows != lines or (quoted and _lone_returns(data))) and table.num_rows != sum(
        1 for line in data.splitlines() if line.strip()
    ):
        raise ValueError("a quoted field goes over the end of its line")
    # The reader ends a field that is still open with the data.
    if quoted and not closes_quotes(_last_line(data), source.delimiter):
        raise ValueError("a quoted field is not closed")
    return table


def _lone_returns(data: bytes) -> bool:
    """Tell whether some carriage return is followed by something else than the line feed."""
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
) -> Any:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    if data.startswith(BOM):
        # Within a file it belongs to the field; at the beginning of its data the reader would drop it.
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
        # Names are given so that the first line of a block is held to the number of fields, too. Several
        # blocks side by side keep the processors busy; the reader needs no threads of its own.
        read_options=pacsv.ReadOptions(
            column_names=names, use_threads=False, block_size=min(len(data) + 1, 1 << 30)
        ),
        parse_options=pacsv.ParseOptions(
            delimiter=delimiter.decode(), quote_char='"' if len(source.delimiter) == 1 else False
        ),
        convert_options=pacsv.ConvertOptions(
            include_columns=list(types),
            column_types=types,
            null_values=[""],
            strings_can_be_null=False,
        ),
    ).unify_dictionaries()


def _ids(column: Any, kind: str) -> Ids:
    """Return a column of ids, stripped of blanks; as integers where all are, unless text is asked for."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        raise ValueError("an id is missing")
    if pa.types.is_integer(column.type):
        return of_integers(numbers(column))
    codes, words = numbers(column.indices), column.dictionary
    stripped = pc.utf8_trim_whitespace(words)
    if not stripped.equals(words):
        merged = stripped.dictionary_encode()
        codes, words = numbers(merged.indices)[codes], merged.dictionary
    # Not by pc.index: Arrow brings in pandas to look at an object of Python.
    if (numbers(pc.binary_length(words)) == 0).any():
        raise ValueError("an id is missing")
    integers = None if kind == "text" else as_integers(words)
    if integers is not None:
        order = np.argsort(integers)
        place = np.empty(len(order), np.int32)
        place[order] = np.arange(len(order), dtype=np.int32)
        return Ids(place[codes], integers[order])
    if kind == "integer":
        raise ValueError("an id is no integer")
    return of_words(codes, words)


def _times(column: Any, source: RatingsSource) -> Any:
    """Return a column of times as one of the types that sort."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if column.null_count:
        raise ValueError("a time is missing")
    if pa.types.is_string(column.type):
        return pc.utf8_trim(column, " \t").cast(times.arrow_type(source.time_kind))
    if pa.types.is_floating(column.type) and not np.isfinite(numbers(column)).all():
        raise ValueError("a time is not finite")
    return column


def _splits(column: Any, source: RatingsSource) -> _Array:
    named = [source.number_of_split(word) for word in column.dictionary.to_pylist()]
    if None in named:
        raise ValueError(f"a split is none of {', '.join(SPLITS)}")
    table = np.array(named, np.uint8)
    found: _Array = table[numbers(column.indices)]
    return found


def _unusual_numbers(data: bytes) -> bool:
    """Tell whether some number is written as 007, -0 or 0x1f, which the reader would take for 7, 0 and 31.

    Such an id is text. One pass over the bytes is much cheaper than to read every id as text; where another
    column has such a number, no more is lost than this.
    """
    bytes_ = np.frombuffer(data, np.uint8)
    step = 1 << 18  # stays in the processor's cache
    for begin in range(0, len(bytes_), step):
        # One byte before and one behind.
        part = bytes_[max(begin - 1, 0) : begin + step + 1]
        digit = (part - np.uint8(ord("0"))) < 10
        starts = part[1:] == _DIGIT_ZERO
        starts &= ~digit[:-1]
        starts &= part[:-1] != _POINT
        at = np.flatnonzero(starts) + 1
        if begin == 0 and len(part) and part[0] == _DIGIT_ZERO:
            at = np.concatenate([[0], at])
        after = part[np.minimum(at + 1, len(part) - 1)]
        last = at + 1 >= len(part)
        odd = ((after - np.uint8(ord("0"))) < 10) | ((after | 32) == ord("x"))
        odd |= (at > 0) & (part[at - 1] == _MINUS) & (after != _POINT)
        # What the last byte of a part is followed by is seen with the next part.
        if (odd & ~last).any():
            return True
    return data.endswith(b"-0")
