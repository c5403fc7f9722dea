"""What a training asks of its ratings, in memory, in files, or with the workers of a cluster."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

from toolkit.arrays import DeviceArray, FloatArray, IntArray, SideName
from toolkit.backends import Backend, HalfStep, RowCounts
from toolkit.config import WALSConfig
from toolkit.predictor import Predictor, Side


class TrainingRatings(ABC):
    """The training ratings in both orientations, as all that a training does with them.

    Whatever is computed row by row is asked of this object. What is dense and shared by all rows, such as
    Gram matrices, is computed from whole factors by those who ask, so that its bits do not depend on where
    the ratings lie.

    Attributes
    ----------
    backend : Backend
        Where factors are, and where they are computed.
    dtype : {"float32", "float64"}
        Precision of values, factors and solves.
    n_users, n_items, nnz : int
        Sizes.
    mean : float
        Mean rating.
    spread : float
        Standard deviation of the ratings, without Bessel's correction; 1 where all ratings are the same.
    scale : tuple of float
        Smallest and largest rating.
    """

    backend: Backend
    dtype: str
    n_users: int
    n_items: int
    nnz: int
    mean: float
    spread: float
    scale: tuple[float, float]

    @abstractmethod
    def rows(self, side: SideName) -> RowCounts:
        """Return the counts of an orientation: of users by items, or of items by users."""

    @abstractmethod
    def solve(
        self,
        side: SideName,
        step: HalfStep,
        *,
        wait: bool = True,
        summed: bool = False,
    ) -> tuple[Side, DeviceArray | None]:
        """Return the factors and biases of all rows of a side.

        Parameters
        ----------
        side : {"user", "item"}
            Whose rows are solved.
        step : HalfStep
            Made of the side's `rows`.
        wait : bool, default True
            Whether to make sure at once that every row has a solution; otherwise `require_solved` does so.
        summed : bool, default False
            Whether to return what `sum_rated` does of the fixed factors, where that is cheaper on the way.

        Raises
        ------
        SolverError
            When the solution of a row is not finite.
        """

    @abstractmethod
    def sum_rated(self, side: SideName, table: DeviceArray) -> DeviceArray:
        """Return for each row of a side the sum of a table's lines that stand for what it has rated."""

    @abstractmethod
    def squared_errors(
        self, predictor: Predictor, item_weight: DeviceArray | None = None
    ) -> tuple[float, float]:
        """Return the sum of squared errors of predictions on the ratings, and the same weighted by item.

        Without weights both are the same.
        """

    def rmse(self, predictor: Predictor) -> float:
        """Return the root mean squared error of predictions on the ratings."""
        return math.sqrt(self.squared_errors(predictor)[0] / self.nnz)

    @abstractmethod
    def pairs_at(self, positions: IntArray) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """Return users, items and values of some ratings, which are numbered by user and item.

        Parameters
        ----------
        positions : array of int64, shape (n,)
            Their numbers, ascending.
        """

    @abstractmethod
    def reserve(self, config: WALSConfig) -> None:
        """Take the scratch memory that a training needs, so that its iterations take none."""

    @abstractmethod
    def require_solved(self, config: WALSConfig) -> None:
        """Make sure that the last solutions of both sides are there; raises `SolverError`."""

    @property
    def item_counts(self) -> IntArray:
        """Observed ratings of each item, int64, in host memory."""
        return self.rows("item").host_counts


def total_of(errors: FloatArray) -> tuple[float, float]:
    """Return the sums over rows of what `toolkit.backends.Backend.row_errors` returns."""
    # Column by column, so that the order of the sums depends on the number of rows alone.
    squares, weighted = (float(errors[:, at].copy().sum()) for at in (0, -1))
    return squares, weighted
