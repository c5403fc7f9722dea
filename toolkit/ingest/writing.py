"""The files of a dataset directory (`docs/dataset-format.md`), written shard by shard."""

from __future__ import annotations

import hashlib
import io
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.ingest.sorting.array_files import put
from toolkit.ingest.sorting.counting import stable_order
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.splitting.rule import SPLITS, TRAIN
from toolkit.tables.arrow import array_of

# Small enough that a few at once take little memory, large enough that a dataset is not a crowd of files.
SHARD_RATINGS = 1 << 19
_IDS_AT_ONCE = 1 << 18
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class ColumnRun:
    """The training ratings of a range of users in the order of their items, on disk.

    Attributes
    ----------
    folder : Path
        Where its files are.
    name : str
        Beginning of their names.
    items, ratings : array of int64, shape (n_ranges + 1,)
        Where each range of items begins among its distinct items, and among its ratings.
    """

    folder: Path
    name: str
    items: _Array
    ratings: _Array


@dataclass(frozen=True)
class RowShards:
    """What `write_rows` has written.

    Attributes
    ----------
    entries : list of dict
        Manifest entries.
    n_train : array of int32, shape (stop - start,)
        Training ratings of each user.
    counts : tuple of int
        Ratings of each split.
    run : ColumnRun
        For the shards by item.
    """

    entries: list[dict[str, Any]]
    n_train: _Array
    counts: tuple[int, ...]
    run: ColumnRun


def ranges(counts: _Array, shard_ratings: int) -> list[tuple[int, int]]:
    """Cut rows into ranges of about `shard_ratings` ratings each; at least one range, none empty.

    Parameters
    ----------
    counts : array of int, shape (n_rows,)
        Ratings of each row.
    shard_ratings : int
        Ratings of a shard.
    """
    total = np.cumsum(counts, dtype=np.int64)
    n_shards = max(1, -(-int(total[-1]) // shard_ratings))
    goals = np.arange(1, n_shards) * (int(total[-1]) / n_shards)
    ends = np.unique(np.concatenate([np.searchsorted(total, goals) + 1, [len(counts)]]))
    return list(itertools.pairwise([0, *ends.tolist()]))


def write_rows(
    folder: Path, work: Path, number: int, part: Part, assigned: _Array, shape: tuple[int, int], cuts: _Array
) -> RowShards:
    """Write the shards of one range of users, and their training ratings by item for `write_columns`.

    Parameters
    ----------
    folder, work : Path
        Where shards go, and what is needed for a while.
    number : int
        Number of the shard.
    part : Part
        The ratings.
    assigned : array of uint8, shape (n,)
        Split of each.
    shape : tuple of int
        All users and items.
    cuts : array of int, shape (n_ranges + 1,)
        Where each range of items begins.
    """
    rows = np.repeat(np.arange(part.stop - part.start, dtype=np.int32), part.column("counts"))
    items, ratings = part.column("items"), part.column("ratings")
    entries, sizes = [], []
    n_train = np.zeros(0, np.int32)
    run = None
    for split, name in enumerate(SPLITS):
        chosen = np.flatnonzero(assigned == split)
        per_user = np.bincount(rows[chosen], minlength=part.stop - part.start)
        content = (items[chosen], ratings[chosen])
        indptr = np.concatenate([[0], np.cumsum(per_user)])
        sizes.append(len(chosen))
        entries.append(
            _write_shard(folder, f"{name}/rows-{number:05d}.npz", indptr, *content, shape[1], part.start)
        )
        if split == TRAIN:
            n_train = per_user.astype(np.int32)
            users = rows[chosen] + np.int32(part.start)
            run = _write_column_run(work, f"columns-{number:05d}", users, *content, shape[1], cuts)
    if run is None:
        raise AssertionError("the training split comes first")
    return RowShards(entries, n_train, tuple(sizes), run)


def _write_column_run(
    folder: Path, name: str, users: _Array, items: _Array, ratings: _Array, n_items: int, cuts: _Array
) -> ColumnRun:
    order = stable_order(items, n_items)
    path = folder / name
    put(f"{path}.users", users[order])
    put(f"{path}.ratings", ratings[order])
    counts = np.bincount(items, minlength=n_items)
    present = np.flatnonzero(counts)
    counts = counts[present]
    put(f"{path}.counts", counts.astype(np.int32))
    put(f"{path}.items", present.astype(np.int32))
    at = np.searchsorted(present, cuts)
    return ColumnRun(folder, name, at, np.concatenate([[0], np.cumsum(counts)])[at])


def write_columns(
    folder: Path, number: int, span: tuple[int, int], runs: Sequence[ColumnRun], n_users: int
) -> tuple[dict[str, Any], _Array]:
    """Write the shard of one range of items.

    Parameters
    ----------
    folder : Path
        Where shards go.
    number : int
        Number of the shard.
    span : tuple of int
        First item of the range, and the one behind its last.
    runs : sequence of ColumnRun
        The training ratings of all ranges of users, in their order.
    n_users : int
        All users.

    Returns
    -------
    entry : dict
        Manifest entry.
    n_train : array of int64, shape (stop - start,)
        Training ratings of each item.
    """
    start, stop = span

    def gather(name: str, dtype: Any, offsets: list[tuple[int, int]]) -> _Array:
        size = np.dtype(dtype).itemsize
        return np.concatenate(
            [
                np.fromfile(f"{run.folder}/{run.name}.{name}", dtype, count=end - begin, offset=begin * size)
                for run, (begin, end) in zip(runs, offsets, strict=True)
            ]
        )

    spans = [(int(run.items[number]), int(run.items[number + 1])) for run in runs]
    items = gather("items", np.int32, spans)
    items = np.repeat(items, gather("counts", np.int32, spans)) - np.int32(start)
    spans = [(int(run.ratings[number]), int(run.ratings[number + 1])) for run in runs]
    # Users ascend from run to run and within an item of a run, and so they do in the end.
    order = stable_order(items, stop - start)
    n_train = np.bincount(items, minlength=stop - start)
    del items
    users = gather("users", np.int32, spans)[order]
    ratings = gather("ratings", np.float32, spans)[order]
    indptr = np.concatenate([[0], np.cumsum(n_train)])
    entry = _write_shard(folder, f"train/cols-{number:05d}.npz", indptr, users, ratings, n_users, start)
    return entry, n_train


def _write_shard(
    root: Path, path: str, indptr: _Array, indices: _Array, values: _Array, n_columns: int, start: int
) -> dict[str, Any]:
    stop = start + len(indptr) - 1
    shard = sp.csr_matrix((values, indices, indptr), shape=(stop - start, n_columns))
    packed = io.BytesIO()
    sp.save_npz(packed, shard, compressed=False)
    content = (shard.indptr.astype("<i8"), shard.indices.astype("<i4"), shard.data.astype("<f4"))
    return _put(root, path, packed, content, nnz=int(shard.nnz), start=start, stop=stop)


def write_ids(root: Path, name: str, ids: Any, n_train: _Array) -> dict[str, Any]:
    """Write an id table, and return its manifest entry.

    Parameters
    ----------
    root : Path
        Where to write.
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
    return _put(root, f"{name}.parquet", packed, _id_text(ids), rows=len(ids))


def _id_text(ids: Any) -> Iterable[bytes]:
    """Yield all ids as text, with zero bytes between them, in pieces."""
    for begin in range(0, len(ids), _IDS_AT_ONCE):
        part = ids[begin : begin + _IDS_AT_ONCE]
        words = part.tolist() if isinstance(part, np.ndarray) else part.to_pylist()
        yield (b"\0" if begin else b"") + "\0".join(map(str, words)).encode()


def _put(root: Path, path: str, packed: io.BytesIO, content: Iterable[Any], **facts: int) -> dict[str, Any]:
    # The bytes of a zip or Parquet file depend on the versions that write it; its content does not.
    inside = hashlib.sha256()
    for part in content:
        inside.update(part)
    data = packed.getbuffer()
    (root / path).parent.mkdir(exist_ok=True)
    (root / path).write_bytes(data)
    return {
        "path": path,
        "bytes": len(data),
        "sha256": hashlib.sha256(data).hexdigest(),
        "content_sha256": inside.hexdigest(),
        **facts,
    }


def digest_of(files: list[dict[str, Any]]) -> str:
    """Return the identity of the content: 32 hexadecimal digits."""
    lines = sorted(f"{entry['path']} {entry['content_sha256']}\n" for entry in files)
    # MLflow holds at most 36 characters.
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
