"""The shards of a dataset: ratings by ranges of users, and training ratings by ranges of items."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.datasets import SPLITS, TRAIN
from toolkit.ingest.dataset_files import FileEntry, write_shard
from toolkit.ingest.sorting.array_files import read_array, type_of_numbers, write_array
from toolkit.ingest.sorting.counting import stable_order
from toolkit.ingest.sorting.merging import Part

# Small enough that a few at once take little memory, large enough that a dataset is not a crowd of files.
SHARD_RATINGS = 1 << 19


@dataclass(frozen=True)
class ColumnRun:
    """The training ratings of a range of users, by range of items and then by user, on disk.

    Attributes
    ----------
    folder : Path
        The folder of its files.
    name : str
        Beginning of their names.
    start, stop : int
        Range of users.
    widest : int
        Most items of a range.
    bounds : array of int64, shape (n_ranges + 1,)
        Where each range of items begins among its ratings.
    """

    folder: Path
    name: str
    start: int
    stop: int
    widest: int
    bounds: IntArray

    def write(self, column: str, values: Array) -> None:
        """Write `users` and `items`, counted from the first of their range, or `ratings`."""
        write_array(f"{self.folder}/{self.name}.{column}", values.astype(self._dtype(column), copy=False))

    def read(self, column: str, number: int) -> Array:
        """Return what was written of one range of items."""
        begin, end = self.bounds[number : number + 2].tolist()
        return read_array(f"{self.folder}/{self.name}.{column}", self._dtype(column), begin, end)

    def _dtype(self, column: str) -> np.dtype[Any]:
        if column == "ratings":
            return np.dtype(np.float32)
        return type_of_numbers(self.widest if column == "items" else self.stop - self.start)


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
        The training ratings, for `write_columns`.
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
    ends = np.searchsorted(total, goals) + 1
    # Where a row has more ratings than a shard, it is the end of several.
    return list(itertools.pairwise(dict.fromkeys([0, *ends.tolist(), len(counts)])))


def write_rows(
    folder: Path,
    work: Path,
    number: int,
    part: Part,
    assigned: IntArray,
    shape: tuple[int, int],
    cuts: IntArray,
) -> RowShards:
    """Write the shards of one range of users, and its training ratings by range of items for `write_columns`.

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
    indptr = np.concatenate([[0], np.cumsum(part.column("counts"), dtype=np.int64)])
    items, ratings = part.column("items"), part.column("ratings")
    entries, sizes = [], []
    for split, name in enumerate(SPLITS):
        chosen = np.flatnonzero(assigned == split)
        begins = np.searchsorted(chosen, indptr)
        content = (items[chosen], ratings[chosen])
        sizes.append(len(chosen))
        path = f"{name}/rows-{number:05d}.npz"
        entries.append(write_shard(folder, path, begins, *content, shape[1], part.start))
        if split == TRAIN:
            n_train = np.diff(begins).astype(np.int32)
            run = _write_column_run(work, f"columns-{number:05d}", part, n_train, *content, cuts)
    return RowShards(entries, n_train, tuple(sizes), run)


def _write_column_run(
    folder: Path, name: str, part: Part, n_train: IntArray, items: IntArray, ratings: Array, cuts: IntArray
) -> ColumnRun:
    lengths = np.diff(cuts)
    numbers = np.arange(len(lengths), dtype=type_of_numbers(len(lengths)))
    ranges_of_items = np.repeat(numbers, lengths)[items]
    # NumPy sorts such small numbers by counting them.
    order = np.argsort(ranges_of_items, kind="stable")
    bounds = np.concatenate([[0], np.cumsum(np.bincount(ranges_of_items, minlength=len(lengths)))])
    run = ColumnRun(folder, name, part.start, part.stop, int(lengths.max()), bounds)
    run.write("users", np.repeat(np.arange(part.stop - part.start, dtype=np.int32), n_train)[order])
    run.write("items", (items - cuts.astype(np.int32)[ranges_of_items])[order])
    run.write("ratings", ratings[order])
    return run


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
    items = np.concatenate([run.read("items", number) for run in runs])
    # Users ascend from run to run, and within a range of a run; a stable sort by item keeps that.
    order = stable_order(items, stop - start)
    n_train = np.bincount(items, minlength=stop - start)
    del items
    users = np.concatenate([run.read("users", number) + np.int32(run.start) for run in runs])[order]
    ratings = np.concatenate([run.read("ratings", number) for run in runs])[order]
    indptr = np.concatenate([[0], np.cumsum(n_train)])
    entry = write_shard(folder, f"train/cols-{number:05d}.npz", indptr, users, ratings, n_users, start)
    return entry, n_train
