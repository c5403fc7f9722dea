"""The shards of a dataset: ratings by ranges of users, and training ratings by ranges of items."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.datasets import SPLITS, TRAIN
from toolkit.ingest.dataset_files import FileEntry, write_shard
from toolkit.ingest.sorting.array_files import read_array, write_array
from toolkit.ingest.sorting.counting import stable_order
from toolkit.ingest.sorting.merging import Part

# Small enough that a few at once take little memory, large enough that a dataset is not a crowd of files.
SHARD_RATINGS = 1 << 19


@dataclass(frozen=True)
class ColumnRun:
    """The training ratings of a range of users in the order of their items, on disk.

    Attributes
    ----------
    folder : Path
        The folder of its files.
    name : str
        Beginning of their names.
    items, ratings : array of int64, shape (n_ranges + 1,)
        Where each range of items begins among its distinct items, and among its ratings.
    """

    folder: Path
    name: str
    items: IntArray
    ratings: IntArray


@dataclass(frozen=True)
class RowShards:
    """The shards of a range of users, which `write_rows` wrote.

    Attributes
    ----------
    entries : list of dict
        Manifest entries, in the order of `SPLITS`.
    n_train : array of int32, shape (stop - start,)
        Training ratings of each user.
    counts : tuple of int
        Ratings of each split.
    run : ColumnRun
        The training ratings by item, for `write_columns`.
    """

    entries: list[FileEntry]
    n_train: IntArray
    counts: tuple[int, ...]
    run: ColumnRun


def ranges(counts: IntArray, shard_ratings: int) -> list[tuple[int, int]]:
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
    folder: Path,
    work: Path,
    number: int,
    part: Part,
    assigned: IntArray,
    shape: tuple[int, int],
    cuts: IntArray,
) -> RowShards:
    """Write the shards of one range of users, and their training ratings by item for `write_columns`.

    Parameters
    ----------
    folder, work : Path
        The dataset directory, and the scratch directory.
    number : int
        Number of the shard.
    part : Part
        The ratings.
    assigned : array of uint8, shape (n,)
        Split of each.
    shape : tuple of int
        How many users and items there are.
    cuts : array of int, shape (n_ranges + 1,)
        Where each range of items begins.
    """
    rows = np.repeat(np.arange(part.stop - part.start, dtype=np.int32), part.column("counts"))
    items, ratings = part.column("items"), part.column("ratings")
    entries, sizes = [], []
    for split, name in enumerate(SPLITS):
        chosen = np.flatnonzero(assigned == split)
        per_user = np.bincount(rows[chosen], minlength=part.stop - part.start)
        content = (items[chosen], ratings[chosen])
        indptr = np.concatenate([[0], np.cumsum(per_user)])
        sizes.append(len(chosen))
        path = f"{name}/rows-{number:05d}.npz"
        entries.append(write_shard(folder, path, indptr, *content, shape[1], part.start))
        if split == TRAIN:
            n_train = per_user.astype(np.int32)
            users = rows[chosen] + np.int32(part.start)
            run = _write_column_run(work, f"columns-{number:05d}", users, *content, shape[1], cuts)
    return RowShards(entries, n_train, tuple(sizes), run)


def _write_column_run(
    folder: Path, name: str, users: IntArray, items: IntArray, ratings: Array, n_items: int, cuts: IntArray
) -> ColumnRun:
    order = stable_order(items, n_items)
    path = folder / name
    write_array(f"{path}.users", users[order])
    write_array(f"{path}.ratings", ratings[order])
    counts = np.bincount(items, minlength=n_items)
    present = np.flatnonzero(counts)
    counts = counts[present]
    write_array(f"{path}.counts", counts.astype(np.int32))
    write_array(f"{path}.items", present.astype(np.int32))
    at = np.searchsorted(present, cuts)
    return ColumnRun(folder, name, at, np.concatenate([[0], np.cumsum(counts)])[at])


def write_columns(
    folder: Path, number: int, span: tuple[int, int], runs: Sequence[ColumnRun], n_users: int
) -> tuple[FileEntry, IntArray]:
    """Write the shard of one range of items.

    Parameters
    ----------
    folder : Path
        The dataset directory.
    number : int
        Number of the shard.
    span : tuple of int
        First item of the range, and the one behind its last.
    runs : sequence of ColumnRun
        The training ratings of all ranges of users, in their order.
    n_users : int
        How many users there are.

    Returns
    -------
    entry : dict
        Manifest entry.
    n_train : array of int64, shape (stop - start,)
        Training ratings of each item.
    """
    start, stop = span

    def gather(name: str, dtype: type[np.generic], bounds: list[tuple[int, int]]) -> Array:
        return np.concatenate(
            [
                read_array(f"{run.folder}/{run.name}.{name}", dtype, begin, end)
                for run, (begin, end) in zip(runs, bounds, strict=True)
            ]
        )

    spans = [(int(run.items[number]), int(run.items[number + 1])) for run in runs]
    items = gather("items", np.int32, spans)
    items = np.repeat(items, gather("counts", np.int32, spans)) - np.int32(start)
    spans = [(int(run.ratings[number]), int(run.ratings[number + 1])) for run in runs]
    # Users ascend from run to run, and within an item of a run; a stable sort by item keeps that.
    order = stable_order(items, stop - start)
    n_train = np.bincount(items, minlength=stop - start)
    del items
    users = gather("users", np.int32, spans)[order]
    ratings = gather("ratings", np.float32, spans)[order]
    indptr = np.concatenate([[0], np.cumsum(n_train)])
    entry = write_shard(folder, f"train/cols-{number:05d}.npz", indptr, users, ratings, n_users, start)
    return entry, n_train
