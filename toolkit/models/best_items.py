"""The items that are best for users, and the rows that are most like others, by row number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import FloatArray, IntArray, Ratings
from toolkit.backends import Backend, Best
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number
from toolkit.predictor import Predictor, Side


def best_items(
    factors: Predictor,
    users: Side,
    n: int,
    *,
    hidden: Sequence[Ratings],
    backend: Backend,
    candidates: IntArray | None = None,
) -> Best:
    """Return the n best items of users by their factors.

    Parameters
    ----------
    factors : Predictor
        Gives the items and the mean, in host memory.
    users : Side
        Factors, shape (n_users, k), and biases, shape (n_users,), in host memory.
    n : int
        How many items for each user.
    hidden : sequence of scipy.sparse CSR, shape (n_users, n_items)
        Items that are stored in a user's row are left out for this user.
    backend : Backend
        Where it is computed.
    candidates : array of int64, shape (m,), optional
        Row numbers of the items to choose from, ascending; by default all.

    Returns
    -------
    Best
        Row numbers of items, and predicted ratings, shape (n_users, n).

    Raises
    ------
    ConfigError
        When `n` is not a whole number from 1, or `hidden` has another shape.
    """
    n = checked_number("n", n, 1)
    shape = (len(users.bias), len(factors.items.bias))
    for matrix in hidden:
        if matrix.shape != shape:
            raise ConfigError(f"hidden items must have the shape {shape}, but have {matrix.shape}")
    items = factors.items
    if candidates is not None:
        items, hidden = items.at(candidates), [matrix[:, candidates] for matrix in hidden]
    best = backend.top_n(backend.side(users), backend.side(items), n, mean=factors.mean, hidden=hidden)
    return _of_all(best, candidates)


def most_similar(
    factors: FloatArray, rows: IntArray, n: int, *, backend: Backend, candidates: IntArray | None = None
) -> Best:
    """Return the rows whose factors point the same way as those of some rows, most similar first.

    Parameters
    ----------
    factors : array of float, shape (n_rows, k)
        Of all items, or of all users.
    rows : array of int64, shape (m,)
        Row numbers; each is left out of its own answer.
    n : int
        How many rows for each.
    backend : Backend
        Where it is computed.
    candidates : array of int64, optional
        Row numbers to choose from, ascending; by default all.

    Returns
    -------
    Best
        Row numbers, and cosines, shape (m, n).

    Raises
    ------
    ConfigError
        When `n` is not a whole number from 1, or there are no factors to compare.
    """
    if not factors.shape[1]:
        raise ConfigError(
            "a model of rank 0 has no factors, so that none is more like another than the rest: train one "
            "with factors"
        )
    n = checked_number("n", n, 1)
    length = np.linalg.norm(factors, axis=1, keepdims=True)
    unit = factors / np.maximum(length, np.finfo(factors.dtype).tiny)
    if candidates is None:
        candidates = np.arange(len(factors))
    others = unit[candidates]
    # Where a row is among the candidates, it lies at its place in their order.
    columns = np.searchsorted(candidates, rows)
    itself = np.flatnonzero(np.isin(rows, candidates))
    own = sp.csr_matrix((np.ones(len(itself)), (itself, columns[itself])), shape=(len(rows), len(others)))
    sides = (Side(part, np.zeros(len(part), part.dtype)) for part in (unit[rows], others))
    asking, offered = map(backend.side, sides)
    return _of_all(backend.top_n(asking, offered, n, hidden=[own]), candidates)


def _of_all(best: Best, candidates: IntArray | None) -> Best:
    """Return the same with row numbers among all where they are among the candidates."""
    if candidates is None or not len(candidates):
        return best
    return best._replace(items=np.where(best.items >= 0, candidates[best.items], -1))
