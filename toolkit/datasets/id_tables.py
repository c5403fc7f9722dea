"""Columns of the tables ``users.parquet`` and ``items.parquet``: ids, and counts of training ratings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from toolkit.arrays import Array
from toolkit.datasets.manifest import AGAIN
from toolkit.datasets.texts import Texts
from toolkit.errors import DatasetError

if TYPE_CHECKING:
    import pyarrow as pa


def parse_column(content: bytes, file: Path, name: str, *, rows: int, text: bool) -> Array | Texts:
    """Return one column of a table.

    Parameters
    ----------
    content : bytes
        Content of the Parquet file.
    file : Path
        Name of the file, for messages.
    name : str
        Name of the column.
    rows : int
        Number of its rows, as the manifest states it.
    text : bool
        Whether the column may hold text; whole numbers are always valid.

    Returns
    -------
    array of int, shape (rows,), or Texts

    Raises
    ------
    DatasetError
        When the file is no such table, or has gaps or another number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.ParquetFile(pa.BufferReader(content)).read([name]).column(name)
        column.validate(full=True)  # text must be UTF-8
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DatasetError(f"{file} cannot be read: {error}; {AGAIN}") from error
    if len(column) != rows or column.null_count:
        raise DatasetError(
            f"{file} must have {rows} rows without gaps, but has {len(column)}, of which {column.null_count} "
            f"lack {name}: {AGAIN}"
        )
    if pa.types.is_integer(column.type):
        # As `to_numpy` would give them, which imports pandas.
        numbers: Array = np.from_dlpack(column.combine_chunks())
        return numbers
    if text and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return _texts(column)
    rule = "whole numbers or text" if text else "whole numbers"
    raise DatasetError(f"{file} must have {rule} as {name}, but has {column.type}: {AGAIN}")


def _texts(column: pa.ChunkedArray) -> Texts:
    import pyarrow as pa

    # Offsets of 64 bits, as all ids together may be longer than 2 GiB.
    whole = column.cast(pa.large_string()).combine_chunks()
    _, offsets, data = whole.buffers()
    ends = np.frombuffer(offsets, np.int64, count=len(whole) + 1, offset=8 * whole.offset)
    begin, end = int(ends[0]), int(ends[-1])
    content = np.frombuffer(data, np.uint8)[begin:end] if data is not None else np.empty(0, np.uint8)
    return Texts(content, ends[1:] - begin)
