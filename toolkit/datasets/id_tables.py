"""Columns of the tables ``users.parquet`` and ``items.parquet``: ids, and counts of training ratings."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from toolkit.arrays import Array
from toolkit.datasets.manifest import AGAIN
from toolkit.errors import DatasetError


def parse_column(content: bytes, file: Path, name: str, *, rows: int, text: bool) -> Array:
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
    array of int or str, shape (rows,)

    Raises
    ------
    DatasetError
        When the file is no such table, or has gaps or another number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        column = pq.read_table(pa.BufferReader(content), columns=[name]).column(name)
        column.validate(full=True)  # text must be UTF-8
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DatasetError(f"{file} cannot be read: {error}; {AGAIN}") from error
    if len(column) != rows or column.null_count:
        raise DatasetError(
            f"{file} must have {rows} rows without gaps, but has {len(column)}, of which {column.null_count} "
            f"lack {name}: {AGAIN}"
        )
    if pa.types.is_integer(column.type):
        numbers: Array = column.to_numpy()
        return numbers
    if text and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return np.array(column.to_pylist(), dtype=np.str_)
    rule = "whole numbers or text" if text else "whole numbers"
    raise DatasetError(f"{file} must have {rule} as {name}, but has {column.type}: {AGAIN}")
