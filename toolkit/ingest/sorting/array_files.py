"""Arrays as plain files of their bytes, and lists of ids as files of Arrow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from toolkit.arrays import Array
from toolkit.files import append_array
from toolkit.tables import DistinctIds, array_of, numbers


def type_of_numbers(n: int) -> np.dtype[Any]:
    """Return the smallest type of the numbers from 0 to ``n - 1``: every byte is written and read again.

    From four bytes on it is int32, because NumPy's sums of uint32 and int32 are int64.
    """
    small = np.min_scalar_type(n - 1)
    return small if small.itemsize < 4 else np.dtype(np.int32)


def write_array(path: str | Path, values: Array) -> None:
    """Write an array to a file of its own."""
    with Path(path).open("wb") as file:
        append_array(file, values)


def read_array(
    path: str | Path, dtype: npt.DTypeLike, begin: int = 0, end: int | None = None, before: int = 0
) -> Array:
    """Return the entries ``begin <= at < end`` of an array in a file; up to its end where `end` is None.

    Parameters
    ----------
    path : str or Path
        The file.
    dtype : dtype
        Type of the entries.
    begin, end : int
        Range of entries.
    before : int
        Bytes before the array.
    """
    offset = before + begin * np.dtype(dtype).itemsize
    return np.fromfile(path, dtype, count=-1 if end is None else end - begin, offset=offset)


def write_ids(path: str | Path, ids: DistinctIds) -> None:
    """Write ids, int64 or pyarrow.StringArray, to a file of their own."""
    import pyarrow as pa

    column = array_of(ids) if isinstance(ids, np.ndarray) else ids
    table = pa.table({"id": column})
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def read_ids(path: str | Path) -> DistinctIds:
    """Return the ids that `write_ids` wrote."""
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as file, pa.ipc.open_file(file) as reader:
        column = reader.read_all().column("id").combine_chunks()
    return numbers(column) if pa.types.is_integer(column.type) else column
