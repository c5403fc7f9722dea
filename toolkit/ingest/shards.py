"""The shards of a dataset: ratings by ranges of users, and training ratings by ranges of items."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.datasets import SPLITS, TRAIN
from toolkit.ingest.dataset_files import FileEntry, write_shard
from toolkit.ingest.sorting.array_files import type_of_numbers
from toolkit.ingest.sorting.counting import stable_order
from toolkit.ingest.sorting.merging import Part

# Small enough that a few at once take little memory, large enough that a dataset is not a crowd of files.
SHARD_RATINGS = 1 << 19
# Up to so many ratings, shards are of that size. A change of either gives other digests to all datasets.
GROWS_ABOVE = 100_000_000


@dataclass(frozen=True)
class ColumnRun:
    """The training ratings of a range of users, by range of items and then by user, on disk.

    Attributes
    ----------
    start, stop : int
        Range of users.
    bounds : array of int64, shape (n_ranges + 1,)
        Where each range of items begins among its ratings.
    """

    start: int
    stop: int
    bounds: IntArray


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


def automatic_shard_ratings(n: int) -> int:
    """Return the ratings of a shard, where the user does not say: it depends on the ratings alone.

    What a range of users has in a range of items is a piece of its own. Ranges of one size make pieces that
    grow with the square of the ratings. So above 100 million ratings, ranges grow with the square root, in
    powers of two, and pieces in proportion to the ratings.

    Parameters
    ----------
    n : int
        Ratings of the input.
    """
    growth = 1
    while growth**2 * GROWS_ABOVE < n:
        growth *= 2
    return SHARD_RATINGS * growth


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
            run = _write_column_run(_column_run(work, number), part, n_train, *content, cuts)
    return RowShards(entries, n_train, tuple(sizes), run)


def _column_run(work: Path, number: int) -> str:
    """Return the beginning of the paths of what `write_rows` leaves of a range of users."""
    return f"{work}/columns-{number:05d}"


def _write_column_run(
    path: str, part: Part, n_train: IntArray, items: IntArray, ratings: Array, cuts: IntArray
) -> ColumnRun:
    lengths = np.diff(cuts)
    n_users = part.stop - part.start
    of_users, of_items = _piece_types(n_users, int(lengths.max()))
    numbers = np.arange(len(lengths), dtype=type_of_numbers(len(lengths)))
    positions = np.arange(cuts[-1]) - np.repeat(cuts[:-1], lengths)
    # Indices of another type would be converted each time.
    items = items.astype(np.intp)
    ranges_of_items = np.repeat(numbers, lengths)[items]
    # NumPy sorts such small numbers by counting them.
    order = np.argsort(ranges_of_items, kind="stable")
    columns = (
        ratings[order],
        np.repeat(np.arange(n_users, dtype=of_users), n_train)[order],
        positions.astype(of_items)[items][order],
    )
    bounds = np.concatenate([[0], np.cumsum(np.bincount(ranges_of_items, minlength=len(lengths)))])
    pieces = itertools.pairwise(bounds.tolist())
    Path(path).write_bytes(b"".join(values[begin:end].data for begin, end in pieces for values in columns))
    return ColumnRun(part.start, part.stop, bounds)


def _piece_types(n_users: int, widest: int) -> tuple[np.dtype[Any], np.dtype[Any]]:
    """Return the types of users and items, counted from the first of their range.

    Parameters
    ----------
    n_users : int
        Users of the range.
    widest : int
        Most items of a range.
    """
    return type_of_numbers(n_users), type_of_numbers(widest)


def write_columns(
    folder: Path,
    work: Path,
    number: int,
    span: tuple[int, int],
    pieces: IntArray,
    widest: int,
    n_users: int,
) -> tuple[FileEntry, IntArray]:
    """Write the shard of one range of items.

    Parameters
    ----------
    folder, work : Path
        The dataset directory, and the scratch directory.
    number : int
        Number of the shard.
    span : tuple of int
        First item of the range, and the one behind its last.
    pieces : array of int64, shape (n_runs, 4)
        What `toolkit.ingest.range_pieces.of_items` returns of the range.
    widest : int
        Most items of a range.
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
    users, items, ratings = _gather(work, pieces, widest)
    # Users ascend from run to run, and within a range of a run; a stable sort by item keeps that.
    order = stable_order(items, stop - start)
    n_train = np.bincount(items, minlength=stop - start)
    del items
    users, ratings = users[order], ratings[order]
    indptr = np.concatenate([[0], np.cumsum(n_train)])
    entry = write_shard(folder, f"train/cols-{number:05d}.npz", indptr, users, ratings, n_users, start)
    return entry, n_train


def _gather(work: Path, pieces: IntArray, widest: int) -> tuple[IntArray, IntArray, Array]:
    """Return row, position within the range, and rating of all training ratings of a range of items."""
    n = int((pieces[:, 3] - pieces[:, 2]).sum())
    users, ratings = np.empty(n, np.int32), np.empty(n, np.float32)
    items = np.empty(n, _piece_types(1, widest)[1])
    at = 0
    for number, (first, behind, begin, end) in enumerate(pieces.tolist()):
        of_users, of_items = _piece_types(behind - first, widest)
        size, n_piece = ratings.itemsize + of_users.itemsize + of_items.itemsize, end - begin
        # A Path takes longer than the reading.
        with open(_column_run(work, number), "rb", buffering=0) as file:  # noqa: PTH123
            file.seek(begin * size)
            data = file.read(n_piece * size)
        piece = slice(at, at + n_piece)
        ratings[piece] = np.frombuffer(data, ratings.dtype, n_piece)
        behind_ratings = n_piece * ratings.itemsize
        np.add(np.frombuffer(data, of_users, n_piece, behind_ratings), np.int32(first), out=users[piece])
        items[piece] = np.frombuffer(data, of_items, n_piece, behind_ratings + n_piece * of_users.itemsize)
        at += n_piece
    return users, items, ratings
