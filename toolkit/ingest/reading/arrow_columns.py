"""Batches of Arrow columns to ratings: what types the columns may have, and which rows are bad."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray
from toolkit.datasets import LONGEST_ID, SPLITS, split_number
from toolkit.errors import RatingsError
from toolkit.ingest.reading import times
from toolkit.ingest.reading.columns import Columns, Ids, as_integers, of_column, of_integers
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.rejections import SAMPLES, BadRow, Rejections
from toolkit.ingest.reading.source import RatingsSource
from toolkit.tables import array_of, filled, flags, is_rounded, is_text, is_uuid, numbers, whole_number

if TYPE_CHECKING:
    import pyarrow as pa

_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,18}")
_NO_SPLIT = 255
Batch: TypeAlias = "Mapping[int, pa.Array]"
"""Columns by their position in the file."""
# Reason, message with a gap for the row, and which rows.
_Problem = tuple[str, str, Array]


def positions_of(source: RatingsSource) -> list[int]:
    """Return the positions of the columns that are read."""
    others = [source.timestamp, source.split_column]
    return [*source.columns, *(position for position in others if position is not None)]


def check_types(schema: pa.Schema, source: RatingsSource, file: RatingsFile) -> None:
    """Refuse columns of a type that their role does not allow.

    Raises
    ------
    RatingsError
        Naming file, role, column and type.
    """
    from pyarrow import types

    id_types = (types.is_integer, types.is_floating, is_text, is_uuid)
    rules: list[tuple[str, int | None, tuple[Any, ...], str]] = [
        ("user", source.columns[0], id_types, "whole numbers or text"),
        ("item", source.columns[1], id_types, "whole numbers or text"),
        ("rating", source.columns[2], (types.is_integer, types.is_floating, types.is_decimal), "numbers"),
        ("split", source.split_column, (is_text,), "text"),
    ]
    for role, position, allowed, rule in rules:
        if position is None:
            continue
        field = schema.field(position)
        kind = field.type.value_type if types.is_dictionary(field.type) else field.type
        if not any(is_one(kind) for is_one in allowed):
            way_out = ": convert it, as with pandas.to_numeric or .astype" if file.kind == "arrow" else ""
            raise RatingsError(
                f"{file}: the {role} column {field.name} must hold {rule}, but holds {kind}{way_out}"
            )


def columns_of(
    batch: Batch, source: RatingsSource, file: RatingsFile, before: int
) -> tuple[Columns, Rejections, Array]:
    """Return the ratings of a batch, its bad rows, and which of its rows are good."""
    user, item, rating = (batch[position] for position in source.columns)
    time = None if source.timestamp is None else batch[source.timestamp]
    ratings = _ratings(rating)
    splits = None if source.split_column is None else _splits(batch[source.split_column])
    rejections = Rejections()
    good = np.ones(len(ratings), np.bool_)
    for reason, message, wrong in _problems(batch, source, ratings, splits):
        rows = np.flatnonzero(wrong & good)
        good &= ~wrong
        for row in rows[:SAMPLES].tolist():
            text = ", ".join(_field(batch[position], row) for position in positions_of(source))[:80]
            rejections.add(BadRow(before + row + 1, reason, text, message.format(repr(text))))
        # Rows beyond the samples are only counted, as there may be many.
        if len(rows) > SAMPLES:
            rejections.reasons[reason] += len(rows) - SAMPLES
    rejections.samples.sort(key=lambda row: row.line)
    chosen = None if good.all() else array_of(np.flatnonzero(good))

    def kept(values: pa.Array) -> pa.Array:
        return values if chosen is None else values.take(chosen)

    columns = Columns(
        users=_ids(kept(user), source.ids[0]),
        items=_ids(kept(item), source.ids[1]),
        ratings=ratings if chosen is None else ratings[good],
        times=None if time is None else _times(kept(time), source.time_kind, file),
        splits=None if splits is None else splits[good],
    )
    return columns, rejections, good


def _problems(
    batch: Batch, source: RatingsSource, ratings: FloatArray, splits: IntArray | None
) -> Iterator[_Problem]:
    """Yield each mistake that a row may have, with the rows that have it."""
    import pyarrow as pa

    for role, position in zip(("user", "item", "rating"), source.columns, strict=True):
        yield from _missing(role, batch[position])
    for role, position in zip(("user", "item"), source.columns[:2], strict=True):
        yield from _too_long(role, batch[position])
    rule = "the rating must be a finite float32 number, but the row is {}"
    yield "rating not finite", rule, ~np.isfinite(ratings)
    for role, position, kind in zip(("user", "item"), source.columns[:2], source.ids, strict=True):
        if pa.types.is_floating(batch[position].type):
            yield from _not_whole(role, batch[position])
            continue
        if kind != "text" and is_text(batch[position].type):
            yield from _rounded(role, batch[position])
        if kind == "integer":
            yield from _not_integer(role, batch[position])
    if source.timestamp is not None:
        yield from _missing("timestamp", batch[source.timestamp])
        yield from _not_a_time(batch[source.timestamp])
    if splits is not None:
        rule = f"the split must be one of {', '.join(SPLITS)}, but the row is {{}}"
        yield "unknown split", rule, splits == _NO_SPLIT


def _field(column: pa.Array, row: int) -> str:
    import pyarrow as pa

    one = column.slice(row, 1)
    if pa.types.is_timestamp(one.type):
        # Arrow writes it, in UTC: Python has no year after 9999, and some machines have no time zones.
        one = one.cast(pa.timestamp(one.type.unit))
    return one.cast(pa.string())[0].as_py() or ""


def _missing(role: str, column: pa.Array) -> Iterator[_Problem]:
    import pyarrow.compute as pc

    if is_text(column.type):
        wrong = numbers(pc.binary_length(pc.utf8_trim_whitespace(filled(column, "")))) == 0
    elif column.null_count:
        wrong = flags(column.is_null())
    else:
        return
    yield f"{role} missing", f"the {role} is missing; mend or remove the row", wrong


def _too_long(role: str, column: pa.Array) -> Iterator[_Problem]:
    import pyarrow.compute as pc

    if is_text(column.type):
        sizes = pc.binary_length(pc.utf8_trim_whitespace(filled(column, "")))
        rule = (
            f"the {role} must have at most {LONGEST_ID:,} bytes, but the row is {{}}; mend or remove the row"
        )
        yield f"{role} too long", rule, numbers(sizes) > LONGEST_ID


def _ratings(column: pa.Array) -> FloatArray:
    """Return ratings as float32; a missing one is 0."""
    import pyarrow as pa

    # Rounding is allowed: any number is rounded when it becomes float32.
    values = numbers(filled(column.cast(pa.float64(), safe=False), 0.0))
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _not_integer(role: str, column: pa.Array) -> Iterator[_Problem]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_signed_integer(column.type):
        return
    coded = pc.utf8_trim_whitespace(filled(column.cast(pa.string()), "0")).dictionary_encode()
    if as_integers(coded.dictionary) is None:
        odd = np.array(
            [not _is_integer(whole_number(word)) for word in coded.dictionary.to_pylist()], np.bool_
        )
        rule = f"the {role} must be an integer of 64 bits, but the row is {{}}"
        yield f"{role} not an integer", rule, odd[numbers(coded.indices)]


def _rounded(role: str, column: pa.Array) -> Iterator[_Problem]:
    import pyarrow.compute as pc

    coded = pc.utf8_trim_whitespace(filled(column, "0")).dictionary_encode()
    if not pc.any(pc.match_substring_regex(coded.dictionary, "[eE][+]")).as_py():
        return
    odd = np.array([is_rounded(word) for word in coded.dictionary.to_pylist()], np.bool_)
    rule = (
        f"the {role} was rounded when it was written, so that several {role}s may have it, in the row {{}}: "
        "write ids in full, or say --ids text"
    )
    yield f"{role} rounded", rule, odd[numbers(coded.indices)]


def _not_whole(role: str, column: pa.Array) -> Iterator[_Problem]:
    import pyarrow as pa

    # Above this, the type leaves out whole numbers: two ids may have become one.
    most = 2.0 ** (np.finfo(numbers(column.slice(0, 0)).dtype).nmant + 1)
    values = numbers(filled(column.cast(pa.float64()), 0.0))
    rounded = np.isfinite(values) & (np.abs(values) > most)
    rule = (
        f"the {role} must be at most {most:,.0f} in a column of the type {column.type}, which rounds larger "
        "ones, but the row is {}: write ids as whole numbers or as text"
    )
    yield f"{role} rounded", rule, rounded
    wrong = ~(np.isfinite(values) & (values == np.floor(values)))
    yield f"{role} not an integer", f"the {role} must be a whole number, but the row is {{}}", wrong


def _is_integer(word: str) -> bool:
    return bool(_INTEGER.fullmatch(word)) and -(2**63) <= int(word) < 2**63


def _not_a_time(column: pa.Array) -> Iterator[_Problem]:
    import pyarrow as pa

    if pa.types.is_floating(column.type):
        wrong = ~np.isfinite(numbers(filled(column.cast(pa.float64()), 0.0)))
        yield "bad timestamp", "the timestamp must be a finite number, but the row is {}", wrong


def _splits(column: pa.Array) -> IntArray:
    """Return positions in `SPLITS` as uint8, and `_NO_SPLIT` for words that name no split."""
    coded = column.dictionary_encode()
    splits = [split_number(word) for word in coded.dictionary.to_pylist()]
    table = np.array([_NO_SPLIT if split is None else split for split in [*splits, None]], np.uint8)
    return table[numbers(filled(coded.indices, len(splits)))]


def _ids(column: pa.Array, kind: str) -> Ids:
    import pyarrow as pa

    floats = ""
    if pa.types.is_floating(column.type):
        floats = _field(column, 0) if len(column) else ""
        floats += "" if "." in floats or not floats else ".0"
        column = column.cast(pa.int64())
    if (
        kind in {"auto", "integer"}
        and pa.types.is_integer(column.type)
        and not pa.types.is_uint64(column.type)
    ):
        return replace(of_integers(numbers(column.cast(pa.int64()))), floats=floats)
    return replace(of_column(column.cast(pa.string()).dictionary_encode(), kind), floats=floats)


def _times(column: pa.Array, kind: str, file: RatingsFile) -> IntArray:
    import pyarrow as pa

    # Nanoseconds are cut off; any other time that does not fit is an error.
    finer = column.type == pa.timestamp("ns", getattr(column.type, "tz", None))
    try:
        return times.sortable(column.cast(times.arrow_type(kind), safe=not finer))
    except pa.ArrowInvalid as error:
        raise RatingsError(f"{file}: the times must fit {times.arrow_type(kind)}: {error}") from error
