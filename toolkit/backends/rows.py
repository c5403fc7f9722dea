"""Ratings laid out for the solver: the entries of each row on the device, rows of like length in batches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from toolkit.arrays import ArrayModule, DeviceArray, IntArray, Ratings

# Rows share a batch while the longest is at most this much longer than the shortest: padding stays below it.
MAX_STRETCH = 1.2


@dataclass(frozen=True)
class Batch:
    """Rows that are solved together.

    Attributes
    ----------
    rows : array of int64, shape (n,)
        Row numbers, on the device.
    starts : array of int64, shape (n,)
        Where the entries of each row begin, on the device.
    counts : array of int64, shape (n,)
        Number of entries of each row, on the device; none is 0.
    width : int
        The largest of `counts`.
    """

    rows: DeviceArray
    starts: DeviceArray
    counts: DeviceArray
    width: int

    def parts(self, size: int) -> Iterator[Batch]:
        """Yield the batch in parts of at most `size` rows."""
        for begin in range(0, len(self.rows), size):
            part = slice(begin, begin + size)
            yield Batch(self.rows[part], self.starts[part], self.counts[part], self.width)


class RowCounts:
    """One orientation of the ratings as far as a training needs it whole: how many each row and column has.

    Parameters
    ----------
    host_counts : numpy array of int64, shape (n_rows,)
        Ratings of each row.
    host_column_counts : numpy array of int64, shape (n_columns,)
        Ratings of each column.
    xp : module
        ``numpy`` or ``cupy``: where the arrays go.

    Attributes
    ----------
    n_rows, n_columns, nnz : int
        Sizes.
    counts, column_counts : array of int64, shape (n_rows,) and (n_columns,)
        Ratings of each row and of each column, on the device.
    host_counts : numpy array of int64, shape (n_rows,)
        Those of each row in host memory.
    """

    def __init__(self, host_counts: IntArray, host_column_counts: IntArray, xp: ArrayModule) -> None:
        self.xp = xp
        self.n_rows, self.n_columns, self.nnz = (
            len(host_counts),
            len(host_column_counts),
            int(host_counts.sum()),
        )
        self.host_counts = host_counts
        self.counts: DeviceArray = xp.asarray(host_counts)
        self._host_column_counts = host_column_counts

    @cached_property
    def column_counts(self) -> DeviceArray:
        """Ratings of each column, shape (n_columns,), on the device."""
        return self.xp.asarray(self._host_column_counts)  # type: ignore[no-any-return]


class RatingRows(RowCounts):
    """One orientation of the ratings: a row for each user (or item), its entries, and the batches to solve.

    `toolkit.backends.Backend.rows` makes one with the limits of its device.

    Parameters
    ----------
    matrix : scipy.sparse CSR, shape (n_rows, n_columns)
        The stored entries are the observed ratings; a stored zero is a rating of zero.
    xp : module
        ``numpy`` or ``cupy``: where the arrays go.
    dtype : str
        Precision of the values.
    batch_entries : int
        Ratings that a batch holds at most, with padding where there is any; a single row is never cut.
    batch_rows : int
        Rows that a batch holds at most.
    stretch : float, default 1.2
        Rows share a batch while the longest is at most so many times as long as the shortest. Infinite where
        rows are not padded.

    Attributes
    ----------
    n_rows, n_columns, nnz : int
        Sizes.
    columns : array of int32 or int64, shape (nnz,)
        Column numbers, on the device.
    values : array of float, shape (nnz,)
        Ratings, on the device.
    counts : array of int64, shape (n_rows,)
        Ratings of each row, on the device.
    host_counts : numpy array of int64, shape (n_rows,)
        The same in host memory.
    """

    def __init__(
        self,
        matrix: Ratings,
        xp: ArrayModule,
        dtype: str = "float32",
        *,
        batch_entries: int,
        batch_rows: int,
        stretch: float = MAX_STRETCH,
    ) -> None:
        self.xp = xp
        self.n_rows, self.n_columns = matrix.shape
        self.nnz = int(matrix.nnz)
        self.host_counts: IntArray = np.diff(matrix.indptr).astype(np.int64)
        self.counts: DeviceArray = xp.asarray(self.host_counts)
        self.columns: DeviceArray = xp.asarray(matrix.indices)
        self.values: DeviceArray = xp.asarray(matrix.data, dtype=dtype)
        self._indptr: IntArray = matrix.indptr.astype(np.int64)
        self._most, self._stretch = (batch_entries, batch_rows), stretch

    @cached_property
    def batches(self) -> tuple[Batch, ...]:
        """Every row that has ratings, in one of them; the longest rows first, so that the last is small."""
        return tuple(reversed([*self._plan(self._indptr, *self._most)]))

    @cached_property
    def row_numbers(self) -> DeviceArray:
        """The row of each rating, int32, shape (nnz,), on the device."""
        return self.xp.asarray(np.repeat(np.arange(self.n_rows, dtype=np.int32), self.host_counts))  # type: ignore[no-any-return]

    def _plan(self, indptr: IntArray, most_entries: int, most_rows: int) -> Iterator[Batch]:
        """Yield the batches, the shortest rows first."""
        # A stable order keeps rows of equal length together as they lie in memory.
        order = np.argsort(self.host_counts, kind="stable")
        order = order[np.searchsorted(self.host_counts[order], 1) :]
        counts = self.host_counts[order]
        # Where rows of any length share a batch, nobody pads them.
        padded = math.isfinite(self._stretch)
        begin = 0
        while begin < len(order):
            shortest = int(counts[begin])
            limit = int(np.searchsorted(counts, max(shortest * self._stretch, shortest + 3), side="right"))
            candidates = counts[begin : min(limit, begin + most_rows)]
            sizes = candidates * np.arange(1, len(candidates) + 1) if padded else candidates.cumsum()
            end = begin + max(1, int(np.searchsorted(sizes, most_entries, side="right")))
            rows = order[begin:end]
            yield Batch(
                rows=self.xp.asarray(rows),
                starts=self.xp.asarray(indptr[rows]),
                counts=self.xp.asarray(counts[begin:end]),
                width=int(counts[end - 1]),
            )
            begin = end

    @cached_property
    def column_counts(self) -> DeviceArray:
        """Ratings of each column, shape (n_columns,), on the device."""
        counts: DeviceArray = self.xp.bincount(self.columns, minlength=self.n_columns)
        return counts

    def batches_within(self, bytes_per_row: Callable[[int], int], limit: int) -> list[Batch]:
        """Return the batches, cut so that each takes at most `limit` bytes; a single row is never cut.

        Parameters
        ----------
        bytes_per_row : callable
            Returns the bytes that a row of a given width takes while it is solved.
        limit : int
            Bytes of a batch.
        """
        return [
            part
            for batch in self.batches
            for part in batch.parts(max(1, limit // bytes_per_row(batch.width)))
        ]

    def gather(self, batch: Batch) -> tuple[DeviceArray, DeviceArray]:
        """Return the column numbers and the values of a batch, padded to its width.

        Returns
        -------
        columns : array of int, shape (n, width)
            Padding holds `n_columns`, one past the last column.
        values : array of float, shape (n, width)
            Padding holds 0.
        """
        xp = self.xp
        offset = xp.arange(batch.width)
        real = offset < batch.counts[:, None]
        entry = xp.where(real, batch.starts[:, None] + offset, 0)
        return xp.where(real, self.columns[entry], self.n_columns), xp.where(real, self.values[entry], 0)
