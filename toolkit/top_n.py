"""The n items with the highest scores for each of many users: a matrix product and a partial sort a batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from toolkit.backend import Backend
from toolkit.errors import ConfigError
from toolkit.factors import Side


class Best(NamedTuple):
    """The best items of some users, best first, equal ones by number.

    Attributes
    ----------
    items : array of int64, shape (n_users, n)
        Item columns; -1 where a user has fewer items left.
    scores : array of float, shape (n_users, n)
        x · y + b_item, to which a user's own bias and the mean add nothing that orders; NaN with -1.
    """

    items: np.ndarray[Any, Any]
    scores: np.ndarray[Any, Any]


def top_n(users: Side, items: Side, n: int, *, hidden: Sequence[Any] = (), backend: Backend) -> Best:
    """Return each user's n best items.

    Memory is that of the factors, of the answer, and of ``backend.batch_scores`` scores a thread.

    Parameters
    ----------
    users, items : Side
        Factors, shape (n_users, k) and (n_items, k), and biases, on the device of `backend`.
    n : int
        How many items; more than there are counts as all.
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
    step = max(1, backend.batch_scores // max(n_items, 1))
    batches = [slice(begin, begin + step) for begin in range(0, n_users, step)] if n else []
    select = largest
    if backend.compiled:
        from toolkit.compiled.heap import select_largest as select

    def rank(part: slice) -> None:
        xp = backend.xp
        found = users.factors[part] @ items.factors.T
        found += items.bias
        for matrix in hidden:
            rows = matrix[part]
            at = np.repeat(np.arange(rows.shape[0]), np.diff(rows.indptr))
            found[backend.asarray(at), backend.asarray(rows.indices)] = -xp.inf
        chosen, values = (backend.to_numpy(array) for array in select(found, n, xp))
        real = np.isfinite(values)
        best[part] = np.where(real, chosen, -1)
        scores[part] = np.where(real, values, np.nan)

    # A single batch may use all of BLAS's threads.
    backend.each(rank, batches, blas=len(batches) > 1)
    return Best(best, scores)


def at_most(n: int, there: int) -> int:
    """Return how many of those that are there are asked for; at least 1 must be."""
    if n < 1:
        raise ConfigError(f"n must be at least 1, but got {n}")
    return min(n, there)


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
    # Of those that equal the n-th, the first ones.
    last = xp.partition(scores, -n, axis=1)[:, [-n]]
    chosen = scores > last
    equal = scores == last
    chosen |= equal & (xp.cumsum(equal, axis=1) <= n - chosen.sum(axis=1, keepdims=True))
    columns = xp.nonzero(chosen)[1].reshape(len(scores), n)
    values = xp.take_along_axis(scores, columns, axis=1)
    order = xp.argsort(-values, axis=1, kind="stable")
    return xp.take_along_axis(columns, order, axis=1), xp.take_along_axis(values, order, axis=1)
