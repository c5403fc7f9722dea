"""Pieces: what each range of users has in each block of the input, and in each range of items.

Together they are a list that grows with both numbers of ranges. A task gets the pieces of its own range.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.arrays import IntArray
from toolkit.ingest.shards import ColumnRun
from toolkit.ingest.sorting.runs import Run


def of_users(runs: Sequence[Run], spans: Sequence[tuple[int, int]]) -> list[tuple[IntArray, IntArray]]:
    """Return for each range of users what it has in the runs.

    Parameters
    ----------
    runs : sequence of Run
        All runs, numbered, in input order.
    spans : sequence of tuple of int
        First user of each range, and the one behind its last; the ranges join.

    Returns
    -------
    list of tuple
        For each range, the positions of the runs that hold a rating of it, shape (m,); and begin and end of
        the range among the distinct users of each, then among its ratings, int64, shape (m, 4).
    """
    bounds = np.array([spans[0][0], *(stop for _, stop in spans)])
    begins = np.stack([_begins(run, bounds) for run in runs])
    pieces: list[tuple[IntArray, IntArray]] = []
    for at in range(len(spans)):
        cuts = begins[:, at : at + 2].transpose(0, 2, 1).reshape(-1, 4)
        places = np.flatnonzero(cuts[:, 3] > cuts[:, 2])
        pieces.append((places, cuts[places]))
    return pieces


def of_items(runs: Sequence[ColumnRun], n_ranges: int) -> list[IntArray]:
    """Return for each range of items what it has in the ranges of users.

    Parameters
    ----------
    runs : sequence of ColumnRun
        The training ratings of all ranges of users, in their order.
    n_ranges : int
        How many ranges of items there are.

    Returns
    -------
    list of array of int64, shape (n_runs, 4)
        For each range of users, its first user and the one behind its last, then begin and end among its
        ratings.
    """
    users = np.array([(run.start, run.stop) for run in runs])
    begins = np.stack([run.bounds for run in runs])
    return [np.hstack([users, begins[:, at : at + 2]]) for at in range(n_ranges)]


def _begins(run: Run, bounds: IntArray) -> IntArray:
    """Return where each range of users begins among the users and the ratings of a run."""
    users = np.searchsorted(run.user_rows(), bounds)
    ratings = np.concatenate([[0], np.cumsum(run.counts(), dtype=np.int64)])[users]
    return np.stack([users, ratings], axis=1)
