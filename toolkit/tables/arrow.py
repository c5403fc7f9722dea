"""Arrays of Arrow as arrays of NumPy and back, without a copy.

Arrow's own conversions import pandas, which takes a second and 100 MB; those of this module do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from toolkit.arrays import Array, IntArray

if TYPE_CHECKING:
    import pyarrow as pa

DistinctIds: TypeAlias = "IntArray | pa.StringArray"
"""Ids that differ from each other, ascending: int64 by value, or text by code point."""


def numbers(array: pa.Array) -> Array:
    """Return an Arrow array of numbers, times or dates without nulls as a view.

    Parameters
    ----------
    array : pyarrow.Array
        Of a type with a fixed width of 1, 2, 4 or 8 bytes.
    """
    import pyarrow as pa

    name = "i8" if pa.types.is_timestamp(array.type) else str(array.type)
    dtype = np.dtype({"halffloat": "f2", "float": "f4", "double": "f8"}.get(name, name))
    data = array.buffers()[1]
    if data is None:
        return np.zeros(0, dtype)
    return np.frombuffer(data, dtype, count=len(array), offset=array.offset * dtype.itemsize)


def flags(array: pa.BooleanArray) -> Array:
    """Return an Arrow array of booleans without nulls as NumPy's."""
    import pyarrow as pa

    return numbers(array.cast(pa.uint8())).astype(np.bool_)


def filled(array: pa.Array, value: object) -> pa.Array:
    """Return an Arrow array with a value in place of nulls."""
    # Arrow imports pandas to look at the value.
    return array.fill_null(value) if array.null_count else array


def array_of(values: Array) -> pa.Array:
    """Return numbers of NumPy as an Arrow array of the same type."""
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(getattr(pa, values.dtype.name)(), len(values), [None, pa.py_buffer(values)])


def of_texts(texts: Sequence[str]) -> pa.StringArray:
    """Return texts of Python as an Arrow array."""
    import pyarrow as pa

    words = [text.encode() for text in texts]
    ends = np.cumsum([0, *map(len, words)], dtype=np.int64)
    # From buffers, because Arrow imports pandas to look at objects of Python.
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(b"".join(words))]
    return pa.Array.from_buffers(pa.large_string(), len(words), buffers).cast(pa.string())


def can_be_read_as(text: str, kind: pa.DataType) -> bool:
    """Tell whether Arrow reads a field as a finite number, or as a time.

    Parameters
    ----------
    text : str
        The field, blanks included.
    kind : pyarrow.DataType
        The type to read it as.
    """
    import pyarrow as pa

    try:
        data = text.strip(" \t").encode()
        # From buffers, because Arrow imports pandas to look at an object of Python.
        buffers = [None, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data)]
        value = pa.Array.from_buffers(pa.string(), 1, buffers).cast(kind)
    except ValueError:
        return False
    return not pa.types.is_floating(kind) or bool(np.isfinite(numbers(value)).all())
