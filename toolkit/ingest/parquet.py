"""Row groups of Parquet files to columns."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest import times
from toolkit.ingest.arrow import array_of, flags, numbers
from toolkit.ingest.badrows import BadRow, Rejections
from toolkit.ingest.blocks import Unit
from toolkit.ingest.columns import Columns, Ids, as_integers, as_text, of_integers, of_words
from toolkit.ingest.files import RatingsFile, open_raw
from toolkit.ingest.source import RatingsSource
from toolkit.ingest.split import SPLITS

_BYTES_PER_ROW = 24
_Array = np.ndarray[Any, Any]


def read_group(
    unit: Unit, source: RatingsSource, block_bytes: int
) -> Iterator[tuple[Columns, Rejections, int]]:
    """Yield the ratings of a row group in batches, bad rows apart, and how many rows were read so far.

    Raises
    ------
    RatingsError
        When the file cannot be read, or a column is of a type that cannot be what it should.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = source.files[unit.file]
    rows = 0
    try:
        with open_raw(file.path) as raw:
            opened = pq.ParquetFile(raw)
            names = opened.schema_arrow.names
            batches = opened.iter_batches(
                batch_size=max(1, block_bytes // _BYTES_PER_ROW),
                row_groups=[unit.begin],
                columns=sorted({names[position] for position in _positions(source)}),
                use_threads=False,
            )
            for batch in batches:
                columns, bad = _columns(batch, str(file), names, source, rows)
                rows += len(batch)
                yield columns, bad, rows
    except (OSError, pa.ArrowException) as error:
        raise RatingsError(
            f"{file} cannot be read to its end: {error}; if it was downloaded, download it again"
        ) from error


def rows_before(file: RatingsFile, group: int) -> int:
    """Return the rows of a file before one of its row groups."""
    import pyarrow.parquet as pq

    with open_raw(file.path) as raw:
        metadata = pq.read_metadata(raw)
    return sum(metadata.row_group(at).num_rows for at in range(group))


def pairs(unit: Unit, source: RatingsSource, block_bytes: int, piece: int) -> Iterator[tuple[int, str, str]]:
    """Yield row, from 1, user and item of the ratings of one batch of a row group."""
    columns, bad, end = next(itertools.islice(read_group(unit, source, block_bytes), piece, None))
    users, items = (as_text(ids.distinct).to_pylist() for ids in (columns.users, columns.items))
    # Bad rows stand between: only where there are none is the row certain.
    first = end - len(columns) - bad.reasons.total()
    for row, (user, item) in enumerate(zip(columns.users.codes, columns.items.codes, strict=True)):
        yield first + row + 1, users[user], items[item]


def _positions(source: RatingsSource) -> list[int]:
    others = [source.timestamp, source.split_column]
    return [*source.columns, *(position for position in others if position is not None)]


def _columns(
    batch: Any, file: str, names: list[str], source: RatingsSource, before: int
) -> tuple[Columns, Rejections]:
    def column(position: int) -> Any:
        import pyarrow as pa

        found = batch.column(names[position])
        return found.dictionary_decode() if pa.types.is_dictionary(found.type) else found

    user, item, rating = (column(position) for position in source.columns)
    problems = [
        _missing("user", user),
        _missing("item", item),
        _not_finite(rating, names[source.columns[2]], file),
    ]
    for role, ids, kind in (("user", user, source.ids[0]), ("item", item, source.ids[1])):
        problems.append(_not_integer(role, ids) if kind == "integer" else None)
    time = splits = None
    if source.timestamp is not None:
        time = column(source.timestamp)
        problems.append(_missing("timestamp", time))
    if source.split_column is not None:
        splits = column(source.split_column)
        problems.append(_unknown_split(splits, source))
    rejections = Rejections()
    good = np.ones(len(batch), np.bool_)
    for problem in problems:
        if problem is None:
            continue
        reason, message, wrong = problem
        for row in np.flatnonzero(wrong & good).tolist():
            text = ", ".join(str(column(position)[row].as_py()) for position in _positions(source))
            rejections.add(BadRow(before + row + 1, reason, text[:80], message))
        good &= ~wrong
    rejections.samples.sort(key=lambda row: row.line)
    chosen = None if good.all() else np.flatnonzero(good)

    def kept(values: Any) -> Any:
        return values if chosen is None else values.take(array_of(chosen))

    import pyarrow as pa

    with np.errstate(over="ignore"):
        ratings = numbers(kept(rating).cast(pa.float64())).astype(np.float32)
    return (
        Columns(
            users=_ids("user", kept(user), source.ids[0], file),
            items=_ids("item", kept(item), source.ids[1], file),
            ratings=ratings,
            times=None if time is None else _times(kept(time), source),
            splits=None if splits is None else _numbers(kept(splits), source),
        ),
        rejections,
    )


_Problem = tuple[str, str, _Array]


def _missing(role: str, column: Any) -> _Problem | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    wrong = column.is_null(nan_is_null=True)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        wrong = pc.or_kleene(wrong, pc.equal(pc.utf8_trim_whitespace(column.fill_null("")), ""))
    if not pc.any(wrong).as_py():
        return None
    return f"{role} missing", f"the {role} is missing; mend or remove the row", flags(wrong)


def _not_finite(column: Any, name: str, file: str) -> _Problem | None:
    import pyarrow as pa

    if not (
        pa.types.is_integer(column.type)
        or pa.types.is_floating(column.type)
        or pa.types.is_decimal(column.type)
    ):
        raise RatingsError(f"{file}: the rating column {name} must hold numbers, but holds {column.type}")
    values = numbers(column.cast(pa.float64()).fill_null(math.nan))
    with np.errstate(over="ignore"):
        wrong = ~np.isfinite(values.astype(np.float32))
    if not wrong.any():
        return None
    return "rating not finite", "the rating must be a finite float32 number, and is none, or missing", wrong


def _not_integer(role: str, column: Any) -> _Problem | None:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type):
        return None
    words = column.cast(pa.string())
    usual = pc.match_substring_regex(words, r"^(0|-?[1-9][0-9]{0,17})$").fill_null(fill_value=True)
    wrong = ~flags(usual)
    return (
        (f"{role} not an integer", f"the {role} must be an integer of 64 bits", wrong)
        if wrong.any()
        else None
    )


def _unknown_split(column: Any, source: RatingsSource) -> _Problem | None:
    wrong = np.array(
        [word is None or source.number_of_split(str(word)) is None for word in column.to_pylist()]
    )
    return ("unknown split", f"the split must be one of {', '.join(SPLITS)}", wrong) if wrong.any() else None


def _ids(role: str, column: Any, kind: str, file: str) -> Ids:
    import pyarrow as pa
    import pyarrow.compute as pc

    integer = pa.types.is_integer(column.type)
    if not (integer or pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        raise RatingsError(f"{file}: the {role} column must hold integers or text, but holds {column.type}")
    if integer and kind != "text" and not pa.types.is_uint64(column.type):
        return of_integers(numbers(column.cast(pa.int64())))
    coded = pc.utf8_trim_whitespace(column.cast(pa.string())).dictionary_encode()
    codes, words = numbers(coded.indices), coded.dictionary
    integers = None if kind == "text" else as_integers(words)
    if integers is None:
        return of_words(codes, words)
    return of_integers(integers[codes])


def _times(column: Any, source: RatingsSource) -> _Array:
    return times.sortable(column.cast(times.arrow_type(source.time_kind)))


def _numbers(column: Any, source: RatingsSource) -> _Array:
    import pyarrow as pa

    coded = column.cast(pa.string()).dictionary_encode()
    table = np.array([source.number_of_split(word) for word in coded.dictionary.to_pylist()], np.uint8)
    found: _Array = table[numbers(coded.indices)]
    return found
