"""Times of ratings as 64-bit integers that sort as the times do."""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.arrays import IntArray
from toolkit.tables import can_be_read_as, numbers

if TYPE_CHECKING:
    import pyarrow as pa

KINDS = ("integer", "number", "time", "zoned time")
_ENOUGH = 50
_INTEGER = re.compile(r"-?[0-9]{1,19}")
# BigQuery's "2015-03-09 22:52:30 UTC".
_UTC = r"[ ]UTC$"
_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]*)?([eE][+-]?[0-9]+)?")
_ALL_BUT_SIGN = np.int64(2**63 - 1)


def kind_of(texts: Sequence[str]) -> str:
    """Return how these times are written, one of `KINDS`, or an empty text for another way.

    Most of the texts decide; the reader names the others as bad rows.
    """
    texts = texts[:_ENOUGH]
    if texts and all(is_time(text, KINDS[0]) for text in texts):
        # What parses the others is imported for a tenth of a second.
        return KINDS[0]
    fits = {kind: sum(is_time(text, kind) for text in texts) for kind in KINDS}
    best = max(KINDS, key=lambda kind: fits[kind])
    return best if fits[best] * 2 > len(texts) else ""


def is_time(text: str, kind: str) -> bool:
    """Tell whether a field is a time of a kind."""
    if kind == "integer":
        return bool(_INTEGER.fullmatch(text)) and -(2**63) <= int(text) < 2**63
    if kind == "number":
        return bool(_NUMBER.fullmatch(text)) and abs(float(text)) < 2.0**1000
    return can_be_read(text, kind)


def can_be_read(text: str, kind: str) -> bool:
    """Tell whether the reader takes a field, with blanks around it or not, for a time of a kind."""
    if kind == "zoned time":
        text = re.sub(_UTC, "Z", text.strip(" \t"))
    # The parser that will read it decides which days exist, how many digits a second has, and what a zone is.
    return can_be_read_as(text, arrow_type(kind))


def kind_of_type(arrow_type: pa.DataType) -> str:
    """Return the kind of times that a Parquet column holds, or an empty text for none."""
    import pyarrow as pa

    if pa.types.is_integer(arrow_type):
        return "integer"
    if pa.types.is_floating(arrow_type):
        return "number"
    if pa.types.is_timestamp(arrow_type) or pa.types.is_date(arrow_type):
        return "zoned time" if getattr(arrow_type, "tz", None) else "time"
    return ""


def arrow_type(kind: str) -> pa.DataType:
    """Return the Arrow type in which times of a kind are read."""
    import pyarrow as pa

    return {
        "integer": pa.int64(),
        "number": pa.float64(),
        "time": pa.timestamp("us"),
        "zoned time": pa.timestamp("us", "UTC"),
    }[kind]


def of_text(texts: pa.StringArray, kind: str) -> pa.Array:
    """Return texts, with blanks around them or not, as times of a kind.

    Raises
    ------
    ValueError
        When one of them is none.
    """
    import pyarrow.compute as pc

    texts = pc.utf8_trim(texts, " \t")
    if kind == "zoned time":
        texts = pc.replace_substring_regex(texts, _UTC, "Z")
    return texts.cast(arrow_type(kind))


def sortable(column: pa.Array) -> IntArray:
    """Return a column without nulls, of one of the types of `arrow_type`, as int64 in the same order."""
    import pyarrow as pa

    if not pa.types.is_floating(column.type):
        return numbers(column.cast(pa.int64()))
    return _turned((numbers(column) + 0.0).view(np.int64))  # -0.0 becomes 0.0


def for_pandas(values: IntArray, kind: str) -> Any:
    """Return times as pandas has them, from the integers that `sortable` made of them.

    Returns
    -------
    array of int64, float64 or datetime64[us], or pandas.DatetimeIndex in UTC, shape (n,)
    """
    if kind == "integer":
        return values
    if kind == "number":
        return _turned(values).view(np.float64)
    moments = values.view("datetime64[us]")
    if kind == "time":
        return moments
    import pandas as pd

    return pd.DatetimeIndex(moments).tz_localize("UTC")


def as_written(value: int, kind: str) -> int | float | str:
    """Return a time as a file writes it, from the integer that `sortable` made of it."""
    if kind == "integer":
        return value
    if kind == "number":
        return float(_turned(np.array([value], np.int64)).view(np.float64)[0])
    try:
        moment = dt.datetime(1970, 1, 1, tzinfo=dt.UTC) + dt.timedelta(microseconds=value)
    except OverflowError:
        # Python has no year before 1 and none after 9999.
        return str(np.datetime64(value, "us")) + ("+00:00" if kind == "zoned time" else "")
    return moment.isoformat() if kind == "zoned time" else moment.replace(tzinfo=None).isoformat()


def _turned(bits: IntArray) -> IntArray:
    # Positive floats sort as their bits do. In negative ones all bits but the sign are turned; to turn them
    # again gives the float back.
    turned: IntArray = np.where(bits < 0, bits ^ _ALL_BUT_SIGN, bits)
    return turned
