"""Columns of pandas, cuDF, Polars and others as columns of Arrow."""

from __future__ import annotations

import contextlib
import decimal
import math
import numbers
import uuid
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from toolkit.errors import RatingsError
from toolkit.tables.uuids import uuid_texts

if TYPE_CHECKING:
    import pyarrow as pa

_SAMPLE = 50
# What pandas calls a missing value, besides None and NaN.
_MISSING = {"NAType", "NaTType"}
_RULES = {"rating": "a number", "timestamp": "a time", "split": "a text"}


def like_pandas(frame: Any) -> bool:
    """Tell whether a frame is in memory and has the methods of pandas, as those of pandas and cuDF."""
    # A frame of Dask has these, too, but no rows.
    in_memory = not hasattr(frame, "npartitions")
    return in_memory and all(hasattr(frame, name) for name in ("iloc", "columns", "dtypes"))


def names_of(frame: Any) -> list[str]:
    """Return the names of the columns of a frame, as text."""
    return [str(name) for name in (frame.columns if like_pandas(frame) else frame.schema.names)]


def schema_of_frame(frame: Any) -> pa.Schema:
    """Return the names of the columns of a frame, and their types as far as Arrow has them."""
    import pyarrow as pa

    first = _beginning(frame)
    if not like_pandas(first):
        return pa.schema(list(zip(names_of(frame), first.schema.types, strict=True)))
    types = []
    for at in range(len(first.columns)):
        kind = pa.null()
        # A column of any objects may be there, and nobody reads it.
        with contextlib.suppress(ValueError, TypeError, OverflowError, NotImplementedError):
            kind = _array(first.iloc[:, at]).type
        types.append(kind)
    return pa.schema(list(zip(names_of(frame), types, strict=True)))


def rows_as_text(frame: Any) -> list[list[str]]:
    """Return the first rows of a frame as a file would have them."""
    first = _beginning(frame)
    if like_pandas(first):
        columns = [first.iloc[:, at].tolist() for at in range(len(first.columns))]
    else:
        columns = [column.to_pylist() for column in first.columns]
    rows = zip(*columns, strict=True)
    return [["" if _is_missing(value) else str(value) for value in row] for row in rows]


def _beginning(frame: Any) -> Any:
    """Return some rows as a frame of pandas, or else as a table of Arrow."""
    if not like_pandas(frame):
        return frame.slice(0, _SAMPLE)
    first = frame.iloc[:_SAMPLE]
    return first.to_arrow(preserve_index=False) if hasattr(first, "to_arrow") else first


def columns_of_frame(
    frame: Any, positions: Sequence[int], roles: Sequence[str], title: str, first: int
) -> list[Any]:
    """Return columns of a frame as arrays of Arrow, missing values as null.

    Parameters
    ----------
    frame : object
        A frame of pandas or cuDF, or a table or record batch of Arrow.
    positions : sequence of int
        Where they are in the frame.
    roles : sequence of str
        What each holds: ``user``, ``item``, ``rating``, ``timestamp`` or ``split``.
    title : str
        What errors call the frame.
    first : int
        The number of its first row.

    Raises
    ------
    RatingsError
        When an object in a column of pandas is nothing that its role allows; the text names row and object.
    """
    if not like_pandas(frame):
        return [frame.column(at) for at in positions]
    if hasattr(frame, "to_arrow"):
        return list(frame.iloc[:, list(positions)].to_arrow(preserve_index=False).columns)
    parts = zip(positions, roles, strict=True)
    return [column_of(frame.iloc[:, at], role, title, first) for at, role in parts]


def column_of(values: Any, role: str, title: str, first: int) -> Any:
    """Return a series of pandas, or another array, as an array of Arrow; see `columns_of_frame`."""
    import pyarrow as pa

    try:
        return _array(values)
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        pass  # objects of several types, or of one that Arrow has not
    word = _word if role in {"user", "item"} else _number if role == "rating" else _unknown
    entries = []
    for at, value in enumerate(values.tolist() if hasattr(values, "tolist") else values, first):
        try:
            entries.append(None if _is_missing(value) else word(value))
        except (TypeError, ValueError) as error:
            rule = _RULES.get(role, "a whole number, a text or a UUID")
            raise RatingsError(
                f"{title}, row {at}: the {role} must be {rule}, but is {value!r:.80} of the type "
                f"{type(value).__name__}: convert the column, as with pandas.to_numeric or .astype"
            ) from error
    return pa.array(entries, pa.float64() if role == "rating" else pa.string())


def plain(column: pa.Array | pa.ChunkedArray, text: pa.DataType | None = None) -> pa.Array:
    """Return a column as one array without dictionary; text of any layout, and UUIDs, as one type of text.

    Parameters
    ----------
    column : pyarrow.Array or pyarrow.ChunkedArray
    text : pyarrow.DataType, default ``pyarrow.string()``
    """
    import pyarrow as pa

    text = text or pa.string()
    if isinstance(column, pa.ChunkedArray):
        pieces = [plain(chunk, text) for chunk in column.chunks or [pa.nulls(0, column.type)]]
        return pieces[0] if len(pieces) == 1 else pa.concat_arrays(pieces)
    if pa.types.is_dictionary(column.type):
        column = plain(column.dictionary, text).take(column.indices)
    if is_uuid(column.type):
        column = uuid_texts(column.storage)
    return column.cast(text) if is_text(column.type) else column


def is_text(arrow_type: pa.DataType) -> bool:
    """Tell whether a type is text in any layout."""
    import pyarrow as pa

    return any(arrow_type == text for text in (pa.string(), pa.large_string(), pa.string_view()))


def is_uuid(arrow_type: pa.DataType) -> bool:
    """Tell whether a type is that of UUIDs."""
    import pyarrow as pa

    return isinstance(arrow_type, pa.UuidType)


def _array(values: Any) -> Any:
    """Return an array of any library as one of Arrow, missing values as null."""
    import pyarrow as pa

    dtype = getattr(values, "dtype", None)
    if getattr(dtype, "tz", None) is not None and hasattr(dtype, "unit"):
        # pandas warns of the way that Arrow takes to times with a zone.
        column = pa.array(values.dt.tz_convert("UTC").dt.tz_localize(None), from_pandas=True)
        return column.cast(pa.timestamp(column.type.unit, "UTC"))
    return pa.array(values, from_pandas=True)


def _is_missing(value: object) -> bool:
    nan = isinstance(value, float) and math.isnan(value)
    return value is None or nan or type(value).__name__ in _MISSING


def _word(value: object) -> str:
    """Return an id as a file has it."""
    if isinstance(value, bool) or not isinstance(value, str | numbers.Real | uuid.UUID):
        raise TypeError
    text = str(value)
    text.encode()  # half of a surrogate pair is in no file
    return text


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real | decimal.Decimal):
        raise TypeError
    return float(value)


def _unknown(_: object) -> str:
    raise TypeError
