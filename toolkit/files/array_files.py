"""Arrays written to files: each whole, or with an error that names the cause.

On a full disk `numpy.ndarray.tofile`, and `numpy.save` with it, raises an error without a cause, or loses the
last bytes without a word.
"""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np

from toolkit.arrays import Array


class _Bytes:
    """A file that NumPy takes for none, so that it hands its bytes to Python."""

    def __init__(self, file: BinaryIO) -> None:
        self.write = file.write


def save_array(path: str | Path, array: Array) -> None:
    """Write a ``.npy`` file, as `numpy.save` does; raises `OSError` where it cannot be written whole."""
    with Path(path).open("wb") as file:
        np.lib.format.write_array(_Bytes(file), np.asarray(array), allow_pickle=False)


def append_array(file: BinaryIO, values: Array) -> None:
    """Write the bytes of an array behind the contents of a file; raises `OSError` as `save_array`."""
    file.write(np.ascontiguousarray(values).data)
