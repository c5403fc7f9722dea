"""The n items with the highest scores for each of many users: a matrix product and a partial sort a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.backends.base import Backend
from toolkit.errors import ConfigError
from toolkit.predictor import Side

# Users of a batch, at least, where there are more items than a batch has scores for.
_ROWS = 64


class Best(NamedTuple):
    """The best items of some users, best first, equal ones by number.

    Attributes
    ----------
    items : array of int64, shape (n_users, n)
        Item columns; -1 where a user has fewer items left.
    scores : array of float, shape (n_users, n)
        Predicted ratings, not clipped, so as not to tie; NaN with -1.
    """

    items: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]


def top_n(
    users: Side, items: Side, n: int, *, mean: float = 0.0, hidden: Sequence[Any] = (), backend: Backend
) -> Best:
    """Return each user's n best items.

    Memory is that of the factors, of the answer, and of ``backend.batch_scores`` scores a thread.

    Parameters
    ----------
    users, items : Side
        Factors, shape (n_users, k) and (n_items, k), and biases, on the device of `backend`.
    n : int
        How many items; more than there are counts as all.
    mean : float, default 0.0
        Added to the scores.
    hidden : sequence of scipy.sparse CSR, shape (n_users, n_items)
        Items stored in a user's row are left out.
    backend : Backend
        Where it is computed. With compiled loops, a pass over the scores keeps the n best in a heap; without,
        they are partitioned.

    Returns
    -------
    Best
        In host memory.

    Raises
    ------
    ConfigError
        When `n` is below 1.
    """
    n_users, n_items = len(users.factors), len(items.factors)
    n = at_most(n, n_items)
    best = np.full((n_users, n), -1, np.int64)
    scores = np.full((n_users, n), np.nan, users.factors.dtype)
    # Enough users share a product that it is not as slow as reading the items' factors.
    width = min(n_items, max(1, backend.batch_scores // max(1, min(_ROWS, n_users))))
    step = max(1, backend.batch_scores // max(width, 1))
    batches = [slice(begin, begin + step) for begin in range(0, n_users, step)] if n else []
    kind: Any = Partition
    if backend.compiled:
        from toolkit.backends.numba.heap import Heap

        kind = Heap

    def rank(part: slice) -> None:
        xp, own = backend.xp, users.factors[part]
        kept = kind(len(own), n, own.dtype, xp)
        rows, columns = stored(hidden, part, by_column=width < n_items)
        for begin in range(0, n_items, width):
            end = min(begin + width, n_items)
            found = own @ items.factors[begin:end].T
            here = slice(*np.searchsorted(columns, (begin, end))) if width < n_items else slice(None)
            found[backend.asarray(rows[here]), backend.asarray(columns[here] - begin)] = -xp.inf
            kept.push(found, items.bias[begin:end], begin)
        chosen, values = map(backend.to_numpy, kept.result())
        real = np.isfinite(values)
        best[part] = np.where(real, chosen, -1)
        # What is the same for all items of a user orders nothing.
        values = values + backend.to_numpy(users.bias[part])[:, None] + mean
        scores[part] = np.where(real, values, np.nan)

    # A single batch may use all of BLAS's threads.
    backend.each(rank, batches, blas=len(batches) > 1)
    return Best(best, scores)


def stored(
    matrices: Sequence[Any], part: slice, *, by_column: bool
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return row, counted from the first, and column of what matrices store in some rows."""
    some = [matrix[part] for matrix in matrices]
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(np.repeat(np.arange(m.shape[0]), np.diff(m.indptr)) for m in some)])
    columns = np.concatenate([none, *(m.indices for m in some)])
    if by_column:
        order = np.argsort(columns, kind="stable")
        rows, columns = rows[order], columns[order]
    return rows, columns


def at_most(n: int, there: int) -> int:
    """Return how many of those that are there are asked for; at least 1 must be."""
    if n < 1:
        raise ConfigError(f"n must be at least 1, but got {n}")
    return min(n, there)


class Partition:
    """The n largest of each row, of columns that come in pieces, from left to right.

    Parameters
    ----------
    rows, n : int
    dtype : dtype
        Of the scores.
    xp : module
        ``numpy`` or ``cupy``.
    """

    def __init__(self, rows: int, n: int, dtype: Any, xp: Any) -> None:
        self._n, self._xp = n, xp
        self._columns, self._values = xp.empty((rows, 0), np.int64), xp.empty((rows, 0), dtype)

    def push(self, scores: Any, bias: Any, begin: int) -> None:
        """Take the next columns into account.

        Parameters
        ----------
        scores : array of float, shape (n_rows, m)
            No NaN; changed.
        bias : array of float, shape (m,)
            Added to each row.
        begin : int
            Number of the first column.
        """
        xp = self._xp
        scores += bias
        columns, values = largest(scores, min(self._n, scores.shape[1]), xp)
        if not begin:
            self._columns, self._values = columns, values
            return
        # Of equal ones those before come first.
        columns, values = (
            xp.concatenate(pair, axis=1)
            for pair in ((self._columns, columns + begin), (self._values, values))
        )
        chosen, self._values = largest(values, min(self._n, values.shape[1]), xp)
        self._columns = xp.take_along_axis(columns, chosen, axis=1)

    def result(self) -> tuple[Any, Any]:
        """Return columns and values, shape (n_rows, n), largest first, equal ones by column."""
        return self._columns, self._values


def largest(scores: Any, n: int, xp: Any) -> tuple[Any, Any]:
    """Return the columns and values of each row's n largest, largest first, equal ones by column.

    Parameters
    ----------
    scores : array of float, shape (n_rows, n_columns)
        No NaN.
    n : int
        From 1 to n_columns.
    xp : module
        ``numpy`` or ``cupy``.

    Returns
    -------
    columns : array of int64, shape (n_rows, n)
    values : array of float, shape (n_rows, n)
    """
    last = xp.partition(scores, -n, axis=1)[:, [-n]]
    chosen = scores >= last
    (tied,) = xp.nonzero(chosen.sum(axis=1) > n)
    if len(tied):
        # Of those that equal the n-th, the first ones.
        above, equal = scores[tied] > last[tied], scores[tied] == last[tied]
        chosen[tied] = above | (equal & (xp.cumsum(equal, axis=1) <= n - above.sum(axis=1, keepdims=True)))
    columns = xp.nonzero(chosen)[1].reshape(len(scores), n)
    values = xp.take_along_axis(scores, columns, axis=1)
    order = xp.argsort(-values, axis=1, kind="stable")
    return xp.take_along_axis(columns, order, axis=1), xp.take_along_axis(values, order, axis=1)
