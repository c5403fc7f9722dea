"""Ratings that a training is measured on, wherever they lie."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import scipy.sparse as sp

from toolkit.arrays import AnySparse, DeviceArray
from toolkit.backends import Backend, RatingRows
from toolkit.predictor import Predictor


class HeldOut(ABC):
    """Ratings that were not trained on.

    Attributes
    ----------
    nnz : int
        How many.
    """

    nnz: int

    @abstractmethod
    def squared_errors(self, predictor: Predictor) -> float:
        """Return the sum of squared errors, clipped where the predictor has a rating scale."""

    def rmse(self, predictor: Predictor) -> float | None:
        """Return the root mean squared error; None when there are no ratings."""
        return math.sqrt(self.squared_errors(predictor) / self.nnz) if self.nnz else None


class HeldOutRows(HeldOut):
    """Ratings in memory, by user.

    Parameters
    ----------
    backend : Backend
        Where they are measured.
    ratings : scipy.sparse matrix, shape (n_users, n_items)
    """

    def __init__(self, backend: Backend, ratings: AnySparse) -> None:
        self._backend, matrix = backend, sp.csr_matrix(ratings)
        self.nnz = int(matrix.nnz)
        # Nothing is solved of them: they need no plan of the backend.
        self._rows = RatingRows(
            matrix,
            backend.xp,
            str(matrix.dtype),
            batch_entries=backend.batch_entries,
            batch_rows=backend.batch_rows,
        )

    def reserve(self) -> None:
        """Take the memory of a device that measuring needs, so that it takes none later."""
        _ = self._rows.row_numbers

    def squared_errors(self, predictor: Predictor) -> float:
        """Return the sum of squared errors; see `HeldOut.squared_errors`."""
        # Column by column, so that the order of the sums depends on the number of rows alone.
        return float(self._backend.row_errors(predictor, self._rows)[:, 0].copy().sum())


class HeldOutPairs(HeldOut):
    """Ratings as pairs in memory.

    Parameters
    ----------
    backend : Backend
        Where they are measured.
    users, items, ratings : arrays, shape (n,)
        On its device.
    """

    def __init__(
        self, backend: Backend, users: DeviceArray, items: DeviceArray, ratings: DeviceArray
    ) -> None:
        self._backend, self._pairs, self.nnz = backend, (users, items, ratings), len(ratings)

    def squared_errors(self, predictor: Predictor) -> float:
        """Return the sum of squared errors; see `HeldOut.squared_errors`."""
        return self._backend.squared_errors(predictor, *self._pairs)
