"""Shards of a dataset: SciPy's archives of CSR matrices, read without trust in what they hold."""

from __future__ import annotations

import io
import struct
import threading
import zipfile
import zlib
from pathlib import Path
from typing import TypeAlias

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray
from toolkit.datasets.manifest import AGAIN
from toolkit.errors import DatasetError

Shard: TypeAlias = tuple[IntArray, IntArray, FloatArray]
"""`indptr`, `indices` and `data` of a CSR matrix: shapes (rows + 1,), (nnz,) and (nnz,), data in float32."""

# NumPy reads the header of an array as a Python literal. Python 3.11 may raise SystemError where two threads
# build syntax trees at once ("AST constructor recursion depth mismatch").
reading_header = threading.Lock()

# NumPy, zipfile and zlib raise these errors on bytes that are no archive of arrays.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError),
    *(SyntaxError, struct.error, zipfile.BadZipFile, zlib.error),
)


def parse_shard(content: bytes, file: Path, *, shape: tuple[int, int], nnz: int) -> Shard:
    """Return the arrays of a shard.

    Parameters
    ----------
    content : bytes
        Content of the file.
    file : Path
        Name of the file, for messages.
    shape : (int, int)
        Rows and columns of the shard, as the manifest states them.
    nnz : int
        Number of its ratings, as the manifest states it.

    Raises
    ------
    DatasetError
        When the file is no shard, or its arrays do not fit together or to the manifest.
    """
    try:
        kind, stated_shape, *arrays = _unpack(content, limit=16 * (nnz + shape[0]) + 100_000)
    except _UNREADABLE as error:
        raise DatasetError(f"{file} cannot be read as a shard: {error}; {AGAIN}") from error
    if kind not in ("csr", b"csr") or stated_shape != list(shape):
        raise DatasetError(f"{file} must be CSR of shape {shape}, but is {kind!r} of {stated_shape}; {AGAIN}")
    indptr, indices, data = arrays
    if mistake := _mistake(indptr, indices, data, shape, nnz):
        raise DatasetError(f"{file} {mistake}: the dataset is damaged, {AGAIN}")
    return indptr, indices, data


def _unpack(content: bytes, limit: int) -> tuple[object, object, Array, Array, Array]:
    """Return the format, the shape and the three arrays that an archive holds."""
    with reading_header, np.load(io.BytesIO(content), allow_pickle=False) as archive:
        # Few bytes of a zip file can unpack to more than any memory holds.
        if sum(member.file_size for member in archive.zip.infolist()) > limit:
            raise ValueError(f"unpacked it is larger than {limit} bytes, more than the ratings stated need")
        arrays = archive["indptr"], archive["indices"], archive["data"]
        return archive["format"].item(), archive["shape"].tolist(), *arrays


def _mistake(indptr: Array, indices: Array, data: Array, shape: tuple[int, int], nnz: int) -> str | None:
    """Return what is wrong with the arrays of a shard, or None."""
    if (
        {indptr.dtype, indices.dtype} - {np.dtype(np.int32), np.dtype(np.int64)}
        or data.dtype != np.float32
        or (indptr.shape, indices.shape, data.shape) != ((shape[0] + 1,), (nnz,), (nnz,))
    ):
        arrays = ", ".join(f"{array.dtype} {array.shape}" for array in (indptr, indices, data))
        return f"must hold {nnz} float32 ratings of {shape[0]} rows, but has arrays of {arrays}"
    if indptr[0] != 0 or indptr[-1] != nnz or (indptr[1:] < indptr[:-1]).any():
        return f"must have an indptr that rises from 0 to {nnz}"
    if nnz and (indices.min() < 0 or indices.max() >= shape[1]):
        return f"must have column numbers of 0 to {shape[1] - 1}, but has {indices.min()} to {indices.max()}"
    rising = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < nnz)] - 1] = True  # column numbers begin anew in each row
    if not rising.all():
        return "must have column numbers that rise within each row"
    return None if np.isfinite(data).all() else "must have finite ratings"
