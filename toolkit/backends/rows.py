"""Ratings laid out for the solver: both orientations on the device, rows of like length in batches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from toolkit.backends.base import Backend
from toolkit.errors import RatingsError
from toolkit.inputs import checked_ratings

if TYPE_CHECKING:
    from toolkit.backends.cuda.solver import SideSolver

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

    Attributes
    ----------
    kernels : SideSolver or None
        What solves the rows by kernels of our own, where the backend has such.
    """

    def __init__(self, matrix: sp.csr_matrix, backend: Backend, dtype: str = "float32") -> None:
        self.backend = backend
        self.n_rows, self.n_columns = matrix.shape
        self.nnz = int(matrix.nnz)
        self.host_counts = np.diff(matrix.indptr).astype(np.int64)
        self.columns = backend.asarray(matrix.indices)
        self.values = backend.asarray(matrix.data, dtype=dtype)
        self.kernels: SideSolver | None = backend.kernels.side(self) if backend.kernels else None
        # The longest rows first: the last batch to finish is then a small one.
        self.batches = tuple(reversed(self._plan(matrix.indptr.astype(np.int64))))

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

    def batches_within(self, bytes_per_row: Callable[[int], int]) -> list[Batch]:
        """Return the batches, cut so that each takes at most the backend's `batch_bytes`.

        Parameters
        ----------
        bytes_per_row : callable
            Bytes that a row of a given width takes while it is solved.
        """
        cut = []
        for batch in self.batches:
            step = max(1, self.backend.batch_bytes // bytes_per_row(batch.width))
            for begin in range(0, len(batch.rows), step):
                part = slice(begin, begin + step)
                cut.append(Batch(batch.rows[part], batch.starts[part], batch.counts[part], batch.width))
        return cut

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
        Observed ratings: finite values, each pair once.
    by_item : scipy.sparse matrix, shape (n_items, n_users), optional
        The transpose, where it is at hand.
    backend : Backend
        Where the arrays go.
    dtype : {"float32", "float64"}
        Precision of values, factors and solves.

    Raises
    ------
    RatingsError
        When there is no rating, one is not finite, or a pair occurs twice.
    """

    def __init__(
        self, by_user: Any, by_item: Any = None, *, backend: Backend, dtype: str = "float32"
    ) -> None:
        by_user = checked_ratings(by_user, dtype)
        if by_user.nnz == 0:
            raise RatingsError("the training set must hold at least one rating, but it is empty")
        by_item = sp.csr_matrix(by_user.T if by_item is None else by_item)
        if by_item.shape != by_user.shape[::-1] or by_item.nnz != by_user.nnz:
            raise RatingsError(
                f"by_item must be by_user transposed, {by_user.shape[::-1]} with {by_user.nnz} ratings, "
                f"but is {by_item.shape} with {by_item.nnz}"
            )
        self.backend = backend
        self.dtype = dtype
        self.n_users, self.n_items = by_user.shape
        self.nnz = int(by_user.nnz)
        self.mean = float(by_user.data.mean(dtype=np.float64))
        self.scale = (float(by_user.data.min()), float(by_user.data.max()))
        self.users = RatingRows(by_user, backend, dtype)
        self.items = RatingRows(by_item, backend, dtype)

    @property
    def item_counts(self) -> np.ndarray[Any, Any]:
        """Observed ratings of each item, int64, in host memory."""
        counts: np.ndarray[Any, Any] = self.items.host_counts
        return counts

    @cached_property
    def pairs(self) -> tuple[Any, Any, Any]:
        """User rows, item columns and values of the ratings as flat arrays on the device."""
        users = np.repeat(np.arange(self.n_users, dtype=np.int32), self.users.host_counts)
        return self.backend.asarray(users), self.users.columns, self.users.values
