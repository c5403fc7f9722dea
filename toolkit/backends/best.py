"""The n best columns of each row of scores whose columns come in pieces, by partial sorts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from toolkit.arrays import Array, ArrayModule, DeviceArray, DType, FloatArray, IntArray, Ratings
from toolkit.errors import ConfigError


class Best(NamedTuple):
    """The best items of some users, best first; of items with equal scores the lower column comes first.

    Attributes
    ----------
    items : array of int64, shape (n_users, n)
        Item columns; -1 where a user has fewer items left.
    scores : array of float, shape (n_users, n)
        Predicted ratings, not clipped, so as not to tie; NaN beside -1.
    """

    items: IntArray
    scores: FloatArray


class BestColumns(Protocol):
    """Keeps the n largest of each row while the columns of the scores come in pieces, from left to right."""

    def push(self, scores: DeviceArray, bias: DeviceArray, begin: int) -> None:
        """Take the next columns into account.

        Parameters
        ----------
        scores : array of float, shape (n_rows, m)
            No NaN; may be overwritten.
        bias : array of float, shape (m,)
            Is added to each row.
        begin : int
            Number of the first of these columns.
        """

    def result(self) -> tuple[DeviceArray, DeviceArray]:
        """Return columns and values, shape (n_rows, n), the largest first, equal ones by column."""


class Partition:
    """`BestColumns` by a partition of every piece.

    Parameters
    ----------
    rows, n : int
        Number of rows, and of the columns to keep of each.
    dtype : dtype
        Type of the scores.
    xp : module
        ``numpy`` or ``cupy``.
    """

    def __init__(self, rows: int, n: int, dtype: DType, xp: ArrayModule) -> None:
        self._n, self._xp = n, xp
        self._columns: DeviceArray = xp.empty((rows, 0), np.int64)
        self._values: DeviceArray = xp.empty((rows, 0), dtype)

    def push(self, scores: DeviceArray, bias: DeviceArray, begin: int) -> None:
        """Take the next columns into account; see `BestColumns`."""
        xp = self._xp
        scores += bias
        columns, values = largest(scores, min(self._n, scores.shape[1]), xp)
        if not begin:
            self._columns, self._values = columns, values
            return
        # Earlier columns stand first, so that they win over equal ones that come later.
        columns = xp.concatenate((self._columns, columns + begin), axis=1)
        values = xp.concatenate((self._values, values), axis=1)
        chosen, self._values = largest(values, min(self._n, values.shape[1]), xp)
        self._columns = xp.take_along_axis(columns, chosen, axis=1)

    def result(self) -> tuple[DeviceArray, DeviceArray]:
        """Return columns and values; see `BestColumns`."""
        return self._columns, self._values


def largest(scores: DeviceArray, n: int, xp: ArrayModule) -> tuple[DeviceArray, DeviceArray]:
    """Return the columns and values of the n largest of each row, the largest first, equal ones by column.

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
        # Of the columns that equal the n-th value, the first ones are kept.
        above, equal = scores[tied] > last[tied], scores[tied] == last[tied]
        chosen[tied] = above | (equal & (xp.cumsum(equal, axis=1) <= n - above.sum(axis=1, keepdims=True)))
    columns = xp.nonzero(chosen)[1].reshape(len(scores), n)
    values = xp.take_along_axis(scores, columns, axis=1)
    order = xp.argsort(-values, axis=1, kind="stable")
    return xp.take_along_axis(columns, order, axis=1), xp.take_along_axis(values, order, axis=1)


def at_most(n: int, there: int) -> int:
    """Return `n`, or `there` where that is less.

    Raises
    ------
    ConfigError
        When `n` is below 1.
    """
    if n < 1:
        raise ConfigError(f"n must be at least 1, but got {n}")
    return min(n, there)


def stored(matrices: Sequence[Ratings], part: slice, *, by_column: bool) -> tuple[Array, Array]:
    """Return where matrices store an entry in some of their rows.

    Parameters
    ----------
    matrices : sequence of scipy.sparse CSR of the same shape
        What to look at.
    part : slice
        Which rows.
    by_column : bool
        Whether the entries are returned in the order of their columns.

    Returns
    -------
    rows, columns : array of int, shape (n_entries,)
        Rows are counted from the first of `part`.
    """
    some = [matrix[part] for matrix in matrices]
    none = np.empty(0, np.int64)
    rows = np.concatenate([none, *(np.repeat(np.arange(m.shape[0]), np.diff(m.indptr)) for m in some)])
    columns = np.concatenate([none, *(m.indices for m in some)])
    if by_column:
        order = np.argsort(columns, kind="stable")
        rows, columns = rows[order], columns[order]
    return rows, columns
