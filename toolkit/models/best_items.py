"""The items that are best for users, and the rows that are most like others, by row number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import FloatArray, IntArray, Ratings
from toolkit.backends import Backend, Best
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number
from toolkit.predictor import Predictor, Side


class Candidates(NamedTuple):
    """The rows that a list is chosen from; as it is made, all of them.

    Attributes
    ----------
    only : array of int64, shape (m,), or None
        Row numbers to choose from, ascending; None for all.
    without : array of int64, or None
        Row numbers among all that are left out; only where `only` is None. What is left out is passed over,
        so that the factors of all others are not copied.
    """

    only: IntArray | None = None
    without: IntArray | None = None

    def of(self, side: Side) -> Side:
        """Return the rows to choose from; one that is left out has a bias of minus infinity."""
        if self.only is not None:
            return side.at(self.only)
        if self.without is None:
            return side
        bias = np.array(side.bias)
        bias[self.without] = -np.inf
        return Side(side.factors, bias)

    def of_all(self, best: Best) -> Best:
        """Return the same lists with row numbers among all, not among the rows to choose from."""
        if self.only is None or not len(self.only):
            return best
        return best._replace(items=np.where(best.items >= 0, self.only[best.items], -1))


def best_items(
    factors: Predictor,
    users: Side,
    n: int,
    *,
    hidden: Sequence[Ratings],
    backend: Backend,
    candidates: Candidates = Candidates(),  # noqa: B008 - a tuple does not change
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
    candidates : Candidates, optional
        The items to choose from; by default all.

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
    if candidates.only is not None:
        hidden = [matrix[:, candidates.only] for matrix in hidden]
    items = backend.side(candidates.of(factors.items))
    best = backend.top_n(backend.side(users), items, n, mean=factors.mean, hidden=hidden)
    return candidates.of_all(best)


def most_similar(
    factors: FloatArray,
    rows: IntArray,
    n: int,
    *,
    backend: Backend,
    candidates: Candidates = Candidates(),  # noqa: B008 - a tuple does not change
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
    candidates : Candidates, optional
        The rows to choose from; by default all.

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
    asking = _of_length_one(factors[rows])
    others = candidates.of(Side(factors, np.zeros(len(factors), factors.dtype)))
    others = others._replace(factors=_of_length_one(others.factors))
    own = _itself(rows, candidates.only, len(others.factors))
    zeros = np.zeros(len(rows), factors.dtype)
    best = backend.top_n(backend.side(Side(asking, zeros)), backend.side(others), n, hidden=[own])
    return candidates.of_all(best)


def _of_length_one(factors: FloatArray) -> FloatArray:
    """Return rows of factors over their lengths; a row of zeros stays one."""
    length = np.sqrt(np.einsum("nk,nk->n", factors, factors))
    return factors / np.maximum(length, np.finfo(factors.dtype).tiny)[:, None]  # type: ignore[no-any-return]


def _itself(rows: IntArray, only: IntArray | None, n_columns: int) -> Ratings:
    """Return where each of some rows is among the columns to choose from, as a matrix."""
    asking, columns = np.arange(len(rows)), rows
    if only is not None:
        # Where a row is among them, it lies at its place in their order.
        asking = np.flatnonzero(np.isin(rows, only))
        columns = np.searchsorted(only, rows[asking])
    return sp.csr_matrix((np.ones(len(asking)), (asking, columns)), shape=(len(rows), n_columns))
