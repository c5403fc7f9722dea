"""Between Arrow and NumPy without a copy, and without pandas, which Arrow's own conversions bring in."""

from __future__ import annotations

from typing import Any

import numpy as np

_Array = np.ndarray[Any, Any]


def numbers(array: Any) -> _Array:
    """Return an Arrow array of numbers, times or dates without nulls as a view.

    Parameters
    ----------
    array : pyarrow.Array
        Of a type with a fixed width of 1, 2, 4 or 8 bytes.
    """
    import pyarrow as pa

    dtype: Any = (
        "i8" if pa.types.is_timestamp(array.type) else str(array.type).replace("halffloat", "float16")
    )
    dtype = {"float": "f4", "double": "f8"}.get(dtype, dtype)
    data = array.buffers()[1]
    if data is None:
        return np.zeros(0, dtype)
    return np.frombuffer(data, dtype, count=len(array), offset=array.offset * np.dtype(dtype).itemsize)


def flags(array: Any) -> _Array:
    """Return an Arrow array of booleans without nulls as NumPy's."""
    import pyarrow as pa

    found: _Array = numbers(array.cast(pa.uint8())) != 0
    return found


def array_of(values: _Array) -> Any:
    """Return integers of NumPy as an Arrow array of the same width."""
    import pyarrow as pa

    values = np.ascontiguousarray(values)
    return pa.Array.from_buffers(getattr(pa, values.dtype.name)(), len(values), [None, pa.py_buffer(values)])


def reads(text: str, kind: Any) -> bool:
    """Tell whether a field is read as a finite number, or as a time.

    Parameters
    ----------
    text : str
        The field, blanks included.
    kind : pyarrow.DataType
        What it is to be.
    """
    import pyarrow as pa

    try:
        data = text.strip(" \t").encode()
        # Of buffers, as Arrow brings in pandas to look at an object of Python.
        buffers = [None, pa.py_buffer(np.array([0, len(data)], np.int32)), pa.py_buffer(data)]
        value = pa.Array.from_buffers(pa.string(), 1, buffers).cast(kind)
    except ValueError:
        return False
    return not pa.types.is_floating(kind) or bool(np.isfinite(numbers(value)).all())
