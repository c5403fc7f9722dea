"""The files of a dataset directory: shards, id tables, and their digest (`docs/dataset-format.md`)."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.files import begin_write_back
from toolkit.tables import DistinctIds, array_of

FileEntry: TypeAlias = dict[str, Any]
"""What the manifest says of a file: its path, bytes, checksums, and counts."""
_IDS_AT_ONCE = 1 << 18


def write_shard(
    root: Path, path: str, indptr: IntArray, indices: IntArray, values: Array, n_columns: int, start: int
) -> FileEntry:
    """Write ratings as one shard, and return its manifest entry.

    Parameters
    ----------
    root : Path
        The dataset directory.
    path : str
        Path of the shard within.
    indptr : array of int, shape (n_rows + 1,)
        Where each row begins among the ratings.
    indices, values : array of int and float32, shape (n,)
        Column and value of each rating.
    n_columns : int
        Columns of the whole dataset.
    start : int
        First row of the shard.
    """
    stop = start + len(indptr) - 1
    shape, nnz = (stop - start, n_columns), len(indices)
    # SciPy itself would choose this type.
    index = np.int32 if max(nnz, *shape) <= np.iinfo(np.int32).max else np.int64
    indices, short = indices.astype(index, copy=False), indptr.astype(index, copy=False)
    packed = io.BytesIO()
    # The arrays of `scipy.sparse.save_npz` in its order: SciPy takes as long to import as a second to read.
    np.savez(
        packed,
        indices=indices,
        indptr=short,
        format=np.array(b"csr"),
        shape=np.array(shape),
        data=values,
    )
    content = [
        array.astype(dtype, copy=False)
        for array, dtype in ((indptr, "<i8"), (indices, "<i4"), (values, "<f4"))
    ]
    return _write(root, path, packed, content, nnz=nnz, start=start, stop=stop)


def write_id_table(root: Path, name: str, ids: DistinctIds, n_train: IntArray) -> FileEntry:
    """Write an id table, and return its manifest entry.

    Parameters
    ----------
    root : Path
        The dataset directory.
    name : str
        ``users`` or ``items``.
    ids : array of int64, or pyarrow.StringArray, shape (n,)
        Id of each row.
    n_train : array of int, shape (n,)
        Training ratings of each.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    packed = io.BytesIO()
    column = array_of(ids) if isinstance(ids, np.ndarray) else ids
    table = pa.table({"id": column, "n_train": array_of(n_train.astype(np.int64))})
    # Each id occurs once: a dictionary of them would hold them all.
    pq.write_table(table, packed, use_dictionary=["n_train"])
    return _write(root, f"{name}.parquet", packed, _id_text(ids), rows=len(ids))


def digest_of(files: Sequence[FileEntry]) -> str:
    """Return the identity of the content of these files: 32 hexadecimal digits."""
    lines = sorted(f"{entry['path']} {entry['content_sha256']}\n" for entry in files)
    # MLflow holds at most 36 characters.
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]


def _id_text(ids: DistinctIds) -> Iterator[bytes]:
    """Yield all ids as text, with zero bytes between them, in pieces."""
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[begin : begin + _IDS_AT_ONCE]
        words = part.tolist() if isinstance(part, np.ndarray) else part.to_pylist()
        yield (b"\0" if begin else b"") + "\0".join(map(str, words)).encode()


def _write(
    root: Path, path: str, packed: io.BytesIO, content: Iterable[bytes | Array], **counts: int
) -> FileEntry:
    # The bytes of a zip or Parquet file depend on the versions that write it; its content does not.
    inside = hashlib.sha256()
    for part in content:
        inside.update(part if isinstance(part, bytes) else part.data)
    data = packed.getbuffer()
    (root / path).parent.mkdir(exist_ok=True)
    with (root / path).open("wb") as file:
        file.write(data)
        begin_write_back(file)
    return {
        "path": path,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content_sha256": inside.hexdigest(),
        **counts,
    }
