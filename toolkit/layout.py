"""Ratings laid out for the solver: both orientations on the device, rows of like length in batches."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.backend import Backend
from toolkit.errors import RatingsError

# Rows share a batch while the longest is at most this much longer than the shortest: padding stays below it.
_MAX_STRETCH = 1.2


@dataclass(frozen=True)
class Batch:
    """Rows that are solved together.

    Attributes
    ----------
    rows : array of int64, shape (n,)
        Row numbers, on the device.
    starts : array of int64, shape (n,)
        Where each row's entries begin, on the device.
    counts : array of int64, shape (n,)
        How many entries each row has, on the device; none is 0.
    width : int
        The largest of `counts`.
    """

    rows: Any
    starts: Any
    counts: Any
    width: int


class RatingRows:
    """One orientation of the ratings: a row per user (or item), its entries, and the batches to solve.

    Parameters
    ----------
    matrix : scipy.sparse.csr_matrix or csr_array, shape (n_rows, n_columns)
        Explicitly stored entries are the observed ratings; a stored zero is a rating of zero.
    backend : Backend
        Where the arrays go.
    dtype : str
        Precision of the values.
    """

    def __init__(self, matrix: sp.csr_matrix, backend: Backend, dtype: str = "float32") -> None:
        self.backend = backend
        self.n_rows, self.n_columns = matrix.shape
        self.nnz = int(matrix.nnz)
        self.host_counts = np.diff(matrix.indptr).astype(np.int64)
        self.columns = backend.asarray(matrix.indices)
        self.values = backend.asarray(matrix.data, dtype=dtype)
        self.batches = tuple(self._plan(matrix.indptr.astype(np.int64)))

    def _plan(self, indptr: np.ndarray[Any, Any]) -> list[Batch]:
        # A stable order keeps rows of equal length together as they lie in memory.
        order = np.argsort(self.host_counts, kind="stable")
        order = order[np.searchsorted(self.host_counts[order], 1) :]
        counts = self.host_counts[order]
        batches = []
        begin = 0
        while begin < len(order):
            shortest = int(counts[begin])
            limit = int(np.searchsorted(counts, max(shortest * _MAX_STRETCH, shortest + 3), side="right"))
            end = min(limit, begin + self.backend.batch_rows)
            while end - begin > 1 and (end - begin) * int(counts[end - 1]) > self.backend.batch_entries:
                end = begin + max(1, min(self.backend.batch_entries // int(counts[end - 1]), end - begin - 1))
            rows = order[begin:end]
            batches.append(
                Batch(
                    self.backend.asarray(rows),
                    self.backend.asarray(indptr[rows]),
                    self.backend.asarray(counts[begin:end]),
                    int(counts[end - 1]),
                )
            )
            begin = end
        return batches

    def gather(self, batch: Batch) -> tuple[Any, Any]:
        """Return a batch's column numbers and values, padded to its width.

        Returns
        -------
        columns : array of int, shape (n, width)
            Padding holds `n_columns`, one past the last column.
        values : array of float, shape (n, width)
            Padding holds 0.
        """
        xp = self.backend.xp
        offset = xp.arange(batch.width)
        real = offset < batch.counts[:, None]
        entry = xp.where(real, batch.starts[:, None] + offset, 0)
        return xp.where(real, self.columns[entry], self.n_columns), xp.where(real, self.values[entry], 0)


class TrainingData:
    """The training ratings on one device, in both orientations; shared by every model trained on them.

    Parameters
    ----------
    by_user : scipy.sparse matrix, shape (n_users, n_items)
        Observed ratings. Duplicate pairs must have been resolved; values must be finite.
    by_item : scipy.sparse matrix, shape (n_items, n_users), optional
        The transpose, where it is at hand.
    backend : Backend
        Where the arrays go.
    dtype : {"float32", "float64"}
        Precision of values, factors and solves.

    Raises
    ------
    RatingsError
        When there is no rating, or one is not finite.
    """

    def __init__(self, by_user: Any, by_item: Any = None, *, backend: Backend, dtype: str = "float32") -> None:
        by_user = sp.csr_matrix(by_user)
        if by_user.nnz == 0:
            raise RatingsError("the training set must hold at least one rating, but it is empty")
        if not np.isfinite(by_user.data).all():
            bad = int(np.flatnonzero(~np.isfinite(by_user.data))[0])
            user = int(np.searchsorted(by_user.indptr, bad, side="right")) - 1
            raise RatingsError(
                f"ratings must be finite, but user row {user}, item column {int(by_user.indices[bad])} "
                f"has {by_user.data[bad]}: drop or mend that rating"
            )
        self.backend = backend
        self.dtype = dtype
        self.n_users, self.n_items = by_user.shape
        self.nnz = int(by_user.nnz)
        self.mean = float(by_user.data.mean(dtype=np.float64))
        self.users = RatingRows(by_user, backend, dtype)
        self.items = RatingRows(sp.csr_matrix(by_user.T if by_item is None else by_item), backend, dtype)

    @property
    def item_counts(self) -> np.ndarray[Any, Any]:
        """Observed ratings of each item, int64, in host memory."""
        return self.items.host_counts

    @cached_property
    def pairs(self) -> tuple[Any, Any, Any]:
        """User rows, item columns and values of the ratings as flat arrays on the device."""
        users = np.repeat(np.arange(self.n_users, dtype=np.int32), self.users.host_counts)
        return self.backend.asarray(users), self.users.columns, self.users.values
