"""Arrays on disk: all of an array, or an error that says why not."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

_Array = np.ndarray[Any, Any]


def append(file: BinaryIO, values: _Array) -> None:
    """Write an array behind what is in a file.

    In the place of `ndarray.tofile`, which on a full disk says nothing of the last bytes, and of the others
    not that it is full.
    """
    file.write(np.ascontiguousarray(values).data)


def put(path: str | Path, values: _Array) -> None:
    """Write an array to a file of its own."""
    with Path(path).open("wb") as file:
        append(file, values)
