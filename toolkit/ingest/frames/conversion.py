"""Frames of pandas, cuDF, Polars and others as Arrow tables of the columns that are read."""

from __future__ import annotations

import contextlib
import decimal
import math
import numbers
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from toolkit.errors import RatingsError
from toolkit.ingest.frames.chosen import Chosen
from toolkit.ingest.reading import times
from toolkit.ingest.reading.arrow_columns import plain

if TYPE_CHECKING:
    import pyarrow as pa

# What pandas calls a missing value, besides None and NaN.
_SAMPLE = 50
_MISSING = {"NAType", "NaTType"}
_RULES = {"rating": "a number", "timestamp": "a time", "split": "a text"}


def like_pandas(frame: Any) -> bool:
    """Tell whether a frame is one of pandas, or of a library with the methods of pandas, such as cuDF."""
    return all(hasattr(frame, name) for name in ("iloc", "columns", "dtypes"))


def names_of(frame: Any) -> list[str]:
    """Return the names of the columns of a frame, as text."""
    return [str(name) for name in (frame.columns if like_pandas(frame) else frame.schema.names)]


def schema_of_frame(frame: Any) -> pa.Schema:
    """Return the names of the columns of a frame, and their types as far as Arrow has them."""
    import pyarrow as pa

    if not like_pandas(frame):
        return frame.schema
    names = names_of(frame)
    first = frame.iloc[:_SAMPLE]
    if hasattr(frame, "to_arrow"):
        return pa.schema(list(zip(names, first.to_arrow(preserve_index=False).schema.types, strict=True)))
    types = []
    for at in range(len(names)):
        kind = pa.null()
        # A column of any objects may be there, and nobody reads it.
        with contextlib.suppress(ValueError, TypeError, OverflowError, NotImplementedError):
            kind = _array(first.iloc[:, at]).type
        types.append(kind)
    return pa.schema(list(zip(names, types, strict=True)))


def rows_as_text(frame: Any) -> list[list[str]]:
    """Return the first rows of a frame as a file would have them."""
    if like_pandas(frame) and hasattr(frame, "to_arrow"):
        frame = frame.iloc[:_SAMPLE].to_arrow(preserve_index=False)
    if like_pandas(frame):
        rows = zip(*(frame.iloc[:_SAMPLE, at].tolist() for at in range(len(frame.columns))), strict=True)
    else:
        rows = zip(*frame.slice(0, _SAMPLE).to_pydict().values(), strict=True)
    return [["" if _is_missing(value) else str(value) for value in row] for row in rows]


def ratings_of(frame: Any, chosen: Chosen, title: str, before: int = 0) -> pa.Table:
    """Return the columns of a frame that are read, without dictionaries.

    Parameters
    ----------
    frame : object
        A frame of pandas or cuDF, or a table or record batch of Arrow.
    chosen : Chosen
        Which columns.
    title : str
        What errors call the frame.
    before : int
        Rows of the same table before it.

    Raises
    ------
    RatingsError
        When an object in a column of pandas is nothing that its role allows; the text names row and object.
    """
    import pyarrow as pa

    columns: list[Any]
    positions = list(chosen.positions)
    if like_pandas(frame) and hasattr(frame, "to_arrow"):
        columns = frame.iloc[:, positions].to_arrow(preserve_index=False).columns
    elif like_pandas(frame):
        columns = [
            _of_pandas(frame.iloc[:, at], role, f"{title}, row", before)
            for at, role in zip(positions, chosen.roles, strict=True)
        ]
    else:
        columns = [frame.column(at) for at in positions]
    return pa.table(
        [_filled(column, role, chosen) for column, role in zip(columns, chosen.roles, strict=True)],
        names=list(chosen.names),
    )


def batches_of(table: pa.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a table in record batches of some rows, each with columns of its own."""
    import pyarrow as pa

    for begin in range(0, len(table), rows):
        piece = table.slice(begin, rows).combine_chunks()
        columns = [plain(_one(column)) for column in piece.columns]
        yield pa.record_batch(columns, names=piece.column_names)


def plain_schema(table: pa.Table) -> pa.Schema:
    """Return the schema of the batches of a table."""
    import pyarrow as pa

    return pa.schema([(field.name, plain(pa.nulls(0, field.type)).type) for field in table.schema])


def _one(column: pa.ChunkedArray) -> pa.Array:
    import pyarrow as pa

    return column.chunk(0) if column.num_chunks == 1 else pa.concat_arrays(column.chunks)


def _filled(column: Any, role: str, chosen: Chosen) -> Any:
    """Return a column in which nothing is as a column of the type that its role has."""
    import pyarrow as pa

    if not pa.types.is_null(column.type):
        return column
    kinds = {"rating": pa.float64(), "timestamp": times.arrow_type(chosen.source.time_kind)}
    return column.cast(kinds.get(role, pa.string()))


def _array(values: Any) -> Any:
    """Return a series of pandas as an array of Arrow, missing values as null."""
    import pyarrow as pa

    if getattr(values.dtype, "tz", None) is not None and hasattr(values.dtype, "unit"):
        # pandas warns of the way that Arrow takes to times with a zone.
        column = pa.array(values.dt.tz_convert("UTC").dt.tz_localize(None), from_pandas=True)
        return column.cast(pa.timestamp(column.type.unit, "UTC"))
    return pa.array(values, from_pandas=True)


def _of_pandas(values: Any, role: str, where: str, before: int) -> Any:
    import pyarrow as pa

    try:
        return _array(values)
    except (ValueError, TypeError, OverflowError, NotImplementedError):
        pass  # objects of several types, or of one that Arrow has not
    word = _word if role in {"user", "item"} else _number if role == "rating" else _unknown
    entries = []
    for at, value in enumerate(values.tolist(), before + 1):
        try:
            entries.append(None if _is_missing(value) else word(value))
        except (TypeError, ValueError) as error:
            rule = _RULES.get(role, "a whole number, a text or a UUID")
            raise RatingsError(
                f"{where} {at}: the {role} must be {rule}, but is {value!r:.80} of the type "
                f"{type(value).__name__}: convert the column, as with pandas.to_numeric or .astype"
            ) from error
    return pa.array(entries, pa.float64() if role == "rating" else pa.string())


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
