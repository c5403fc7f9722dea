"""The tasks of a sample of users: functions of plain arguments that read and write files, in any process."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.datasets import SPLITS, FileEntry, RatingsDataset
from toolkit.ingest.shards import RowShards, write_rows
from toolkit.ingest.sorting.array_files import type_of_numbers, write_array
from toolkit.ingest.sorting.counting import order_pairs
from toolkit.ingest.sorting.merging import Part

KINDS = tuple(f"{split}/rows" for split in SPLITS)
ITEM_COUNTS = "item-counts"


def count_rows(data: RatingsDataset, kind: str, entry: FileEntry) -> IntArray:
    """Return how many ratings each user of a shard has there, int64, shape (stop - start,)."""
    return np.diff(data.read_shard(kind, entry)[0]).astype(np.int64)


def take_users(
    work: Path,
    name: str,
    data: RatingsDataset,
    entries: Sequence[Sequence[FileEntry]],
    start: int,
    rows: IntArray,
) -> Part:
    """Write the ratings of some users, of all splits, sorted by user and item. One shard is read at a time.

    Parameters
    ----------
    work : Path
        Where to write.
    name : str
        Beginning of the names of the files. ``NAME.item-counts`` has the ratings of each item, int64.
    data : RatingsDataset
        Where the ratings come from.
    entries : sequence of sequence of FileEntry
        For each of `KINDS` the shards that have a row of these users.
    start : int
        The row in the sample of the first of them.
    rows : array of int64, shape (n,)
        Their rows in `data`, ascending.
    """
    users, items, ratings, splits = [], [], [], []
    for split, kind in enumerate(KINDS):
        for entry in entries[split]:
            indptr, indices, values = data.read_shard(kind, entry)
            begin, end = np.searchsorted(rows, (entry["start"], entry["stop"]))
            own = rows[begin:end] - entry["start"]
            counts = np.diff(indptr)[own]
            at = _places(indptr[own], counts)
            users.append(np.repeat(np.arange(begin, end, dtype=np.int32), counts))
            items.append(indices[at].astype(np.int32, copy=False))
            ratings.append(values[at])
            splits.append(np.full(len(at), split, np.uint8))
            del indptr, indices, values  # before the next shard is read
    order, columns, indptr = order_pairs(
        np.concatenate(users), np.concatenate(items), len(rows), data.n_items
    )
    kept: dict[str, Array] = {"ratings": np.concatenate(ratings), "splits": np.concatenate(splits)}
    if order is not None:
        kept = {column: values[order] for column, values in kept.items()}
    columns = columns.astype(type_of_numbers(data.n_items), copy=False)
    kept |= {"counts": np.diff(indptr).astype(np.int32), "items": columns}
    for column, values in kept.items():
        write_array(work / f"{name}.{column}", values)
    write_array(work / f"{name}.{ITEM_COUNTS}", np.bincount(columns, minlength=data.n_items))
    found = kept["ratings"]
    return Part(
        folder=work,
        name=name,
        start=start,
        stop=start + len(rows),
        n_items=data.n_items,
        n=len(found),
        duplicates=0,
        columns=tuple(kept),
        low=float(found.min(initial=np.inf)),
        high=float(found.max(initial=-np.inf)),
        total=float(found.sum(dtype=np.float64)),
    )


def write_taken(
    folder: Path, work: Path, at: int, part: Part, shape: tuple[int, int], cuts: IntArray
) -> RowShards:
    """Write the shards of a part; the parameters are those of `write_rows`."""
    return write_rows(folder, work, at, part, part.column("splits"), shape, cuts)


def _places(begins: IntArray, counts: IntArray) -> Array:
    """Return the positions of the entries of some rows, given where each begins and how many it has."""
    before = np.cumsum(counts) - counts
    return np.repeat(begins - before, counts) + np.arange(counts.sum())
