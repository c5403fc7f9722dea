"""UUIDs as the texts that files have of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

_DIGITS = np.frombuffer(b"0123456789abcdef", np.uint8)
_BYTES, _LETTERS = 16, 36
# Where the hexadecimal digits stand among the letters; hyphens are between them.
_PLACES = [at for at in range(_LETTERS) if at not in {8, 13, 18, 23}]


def uuid_texts(column: pa.FixedSizeBinaryArray) -> pa.StringArray:
    """Return UUIDs as texts such as ``6ba7b810-9dad-11d1-80b4-00c04fd430c8``.

    Parameters
    ----------
    column : pyarrow.FixedSizeBinaryArray
        16 bytes each, or null.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    data = column.buffers()[1]
    if data is None or not len(column):
        return pa.nulls(len(column), pa.string())
    values = np.frombuffer(data, np.uint8, len(column) * _BYTES, column.offset * _BYTES)
    letters = np.full((len(column), _LETTERS), ord("-"), np.uint8)
    digits = np.stack([values >> 4, values & 15], axis=1).reshape(len(column), 2 * _BYTES)
    letters[:, _PLACES] = _DIGITS[digits]
    ends = np.arange(len(column) + 1, dtype=np.int32) * _LETTERS
    texts = pa.Array.from_buffers(
        pa.string(), len(column), [None, pa.py_buffer(ends), pa.py_buffer(letters.reshape(-1))]
    )
    if not column.null_count:
        return texts
    return pc.if_else(column.is_valid(), texts, pa.scalar(None, pa.string()))
