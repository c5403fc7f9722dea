"""The ratings of a range of users from all runs, sorted by user and item, each pair once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.ingest.sorting.array_files import read_array, type_of_numbers, write_array
from toolkit.ingest.sorting.counting import order_pairs
from toolkit.ingest.sorting.runs import Run
from toolkit.ingest.sorting.transform import Transform, transformed

Duplicates = Literal["last", "mean", "sum", "error"]
DUPLICATES: tuple[Duplicates, ...] = ("last", "mean", "sum", "error")
_DTYPES = {
    "counts": np.int32,
    "ratings": np.float32,
    "times": np.int64,
    "splits": np.uint8,
}


@dataclass(frozen=True)
class Repeats:
    """Pairs of one run that were rated before.

    Attributes
    ----------
    run : int
        Position of the run: the first that holds such a pair.
    users, items, before : array of int, shape (n,)
        Row and column of each, and the position of the run that holds the rating before it.
    """

    run: int
    users: Array
    items: Array
    before: Array


@dataclass(frozen=True)
class Part:
    """The ratings of the users ``start <= row < stop``, on disk.

    Attributes
    ----------
    folder : Path
        The folder of its files.
    name : str
        Beginning of their names.
    start, stop : int
        Range of users.
    n_items : int
        Items of the whole input.
    n : int
        Ratings, one of each pair.
    duplicates : int
        Ratings that repeated a pair.
    columns : tuple of str
        The columns that it has.
    low, high, total : float
        Smallest, largest and sum of the ratings.
    repeats : Repeats or None
        With ``duplicates="error"``, the repeated pairs of the first run that has any.
    conflict : tuple of int or None
        Row and column of a pair that is in several of train, valid and test.
    overflow : tuple of int or None
        Row and column of a pair whose ratings add up to more than float32 holds.
    negative : tuple of int, int and float, or None
        Row, column and rating of a pair whose rating has no logarithm, although one is wanted.
    """

    folder: Path
    name: str
    start: int
    stop: int
    n_items: int
    n: int
    duplicates: int
    columns: tuple[str, ...]
    low: float
    high: float
    total: float
    repeats: Repeats | None = None
    conflict: tuple[int, int] | None = None
    overflow: tuple[int, int] | None = None
    negative: tuple[int, int, float] | None = None

    def column(self, name: str) -> Array:
        """Return a column; `counts` has an entry for each user, every other one for each rating."""
        return read_array(f"{self.folder}/{self.name}.{name}", _dtype(name, self.n_items))

    def users(self) -> IntArray:
        """Return the row of each rating, int32."""
        return np.repeat(np.arange(self.start, self.stop, dtype=np.int32), self.column("counts"))


def merge(
    folder: Path,
    name: str,
    runs: Sequence[Run],
    places: Array,
    cuts: Array,
    span: tuple[int, int],
    n_items: int,
    duplicates: Duplicates,
    transform: Transform,
) -> Part:
    """Write the ratings of a range of users, sorted, with one rating of each pair.

    Parameters
    ----------
    folder : Path
        Where to write.
    name : str
        Beginning of the names of the files to write.
    runs : sequence of Run
        The runs that hold a rating of the range, numbered, in input order.
    places : array of int, shape (n_runs,)
        Position of each among all runs.
    cuts : array of int64, shape (n_runs, 4)
        For each run, begin and end of the range among its distinct users, then among its ratings.
    span : tuple of int
        First user of the range, and the one behind its last.
    n_items : int
        How many items there are.
    duplicates : {"last", "mean", "sum", "error"}
        What becomes of several ratings of a pair.
    transform : {"none", "log1p"}
        What is done to the rating that each pair then has.
    """
    start, stop = span
    names = ("ratings", *(column for column in ("times", "splits") if column in runs[0].columns))
    some = [(run, cut[:2], cut[2:]) for run, cut in zip(runs, cuts.tolist(), strict=True)]
    users = np.concatenate([np.repeat(run.user_rows(*cut), run.counts(*cut)) for run, cut, _ in some])
    users -= np.int32(start)
    items = np.concatenate([run.item_columns(*cut) for run, _, cut in some])
    order, items, indptr = order_pairs(users, items, stop - start, n_items)
    del users
    columns = {column: np.concatenate([run.column(column, *cut) for run, _, cut in some]) for column in names}
    if order is not None:
        columns = {column: values[order] for column, values in columns.items()}
    repeats = _repeats(items, indptr)
    facts: dict[str, Any] = {}
    if repeats.any():
        if duplicates == "error":
            positions = np.arange(len(items)) if order is None else order
            facts["repeats"] = _first_repeats(repeats, positions, items, indptr, start, places, cuts)
        group = np.cumsum(~repeats) - 1
        facts["conflict"] = _conflict(columns, repeats, items, indptr, start)
        # Every user has a rating, so that no two of them begin at the same entry.
        counts = np.add.reduceat((~repeats).astype(np.int32), indptr[:-1])
        items = items[~repeats]
        columns = _combine(columns, repeats, group, "last" if duplicates == "error" else duplicates)
        indptr = np.concatenate([[0], np.cumsum(counts)])
        bad = np.flatnonzero(~np.isfinite(columns["ratings"]))
        if len(bad):
            facts["overflow"] = _pair(int(bad[0]), items, indptr, start)
    columns["ratings"], negative = transformed(columns["ratings"], transform)
    if negative is not None:
        facts["negative"] = (*_pair(negative, items, indptr, start), float(columns["ratings"][negative]))
    counts = np.diff(indptr).astype(np.int32)
    for column, values in {"counts": counts, "items": items, **columns}.items():
        write_array(f"{folder}/{name}.{column}", np.asarray(values, _dtype(column, n_items)))
    ratings = columns["ratings"]
    return Part(
        folder=folder,
        name=name,
        start=start,
        stop=stop,
        n_items=n_items,
        n=len(items),
        duplicates=int(np.count_nonzero(repeats)),
        columns=("counts", "items", *names),
        low=float(ratings.min()),
        high=float(ratings.max()),
        total=float(ratings.sum(dtype=np.float64)),
        **facts,
    )


def _dtype(column: str, n_items: int) -> np.dtype[Any]:
    return type_of_numbers(n_items) if column == "items" else np.dtype(_DTYPES[column])


def _repeats(items: Array, indptr: Array) -> Array:
    """Tell which ratings have the same pair as the rating before them."""
    repeats = np.zeros(len(items), np.bool_)
    repeats[1:] = items[1:] == items[:-1]
    firsts = indptr[:-1]
    repeats[firsts[firsts < len(items)]] = False
    return repeats


def _combine(columns: dict[str, Array], repeats: Array, group: Array, duplicates: str) -> dict[str, Array]:
    """Return the columns with one entry for each pair."""
    firsts = np.flatnonzero(~repeats)
    size = np.diff(np.append(firsts, len(repeats)))
    ratings, times = columns["ratings"], columns.get("times")
    last = firsts + size - 1
    if times is not None:
        # The latest rating counts; of several at the same time, the highest, in whatever order they come.
        order = np.lexsort((ratings, times, group))
        last = order[last]
    chosen = {name: values[last] for name, values in columns.items()}
    if duplicates in {"sum", "mean"}:
        total = np.add.reduceat(ratings.astype(np.float64), firsts)
        if duplicates == "mean":
            total /= size
        with np.errstate(over="ignore"):
            chosen["ratings"] = total.astype(np.float32)
    return chosen


def _first_repeats(
    repeats: Array, order: Array, items: Array, indptr: Array, start: int, places: Array, cuts: Array
) -> Repeats:
    ends = np.cumsum(cuts[:, 3] - cuts[:, 2])
    at = np.flatnonzero(repeats)
    run = np.searchsorted(ends, order[at], side="right")
    first = run == run.min()
    at = at[first]
    return Repeats(
        run=int(places[run.min()]),
        users=start + np.searchsorted(indptr, at, side="right") - 1,
        items=items[at],
        before=places[np.searchsorted(ends, order[at - 1], side="right")],
    )


def _conflict(
    columns: dict[str, Array], repeats: Array, items: Array, indptr: Array, start: int
) -> tuple[int, int] | None:
    splits = columns.get("splits")
    if splits is None:
        return None
    at = np.flatnonzero(repeats)
    odd = at[splits[at] != splits[at - 1]]
    return _pair(int(odd[0]), items, indptr, start) if len(odd) else None


def _pair(entry: int, items: Array, indptr: Array, start: int) -> tuple[int, int]:
    return start + int(np.searchsorted(indptr, entry, side="right")) - 1, int(items[entry])
