"""The training ratings on one device, in both orientations."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import AnySparse, DeviceArray, IntArray, Ratings, SideName
from toolkit.backends import Backend, HalfStep, RatingRows
from toolkit.config import WALSConfig
from toolkit.errors import RatingsError
from toolkit.inputs import checked_ratings, checked_type, checked_word
from toolkit.predictor import Predictor, Side
from toolkit.solver.mean_and_spread import rating_facts
from toolkit.solver.normal import solve_and_sum
from toolkit.solver.training_ratings import TrainingRatings, total_of


class TrainingData(TrainingRatings):
    """The training ratings in the memory of one device; every model trained on them shares it.

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

    Attributes
    ----------
    users, items : RatingRows
        The ratings of each user, and of each item; the others are those of `TrainingRatings`.

    Raises
    ------
    ConfigError
        When `backend` or `dtype` is of another kind.
    RatingsError
        When there is no rating, one is not finite, or a pair occurs twice.
    """

    def __init__(
        self,
        by_user: AnySparse,
        by_item: AnySparse | None = None,
        *,
        backend: Backend,
        dtype: str = "float32",
    ) -> None:
        checked_type("backend", backend, Backend, 'Backend.require("numpy")')
        checked_word("dtype", dtype, ("float32", "float64"))
        by_user = checked_ratings(by_user, dtype)
        if by_user.nnz == 0:
            raise RatingsError("the training set must hold at least one rating, but it is empty")
        transposed: Ratings = sp.csr_matrix(by_user.T if by_item is None else by_item)
        if transposed.shape != by_user.shape[::-1] or transposed.nnz != by_user.nnz:
            raise RatingsError(
                f"by_item must be by_user transposed, {by_user.shape[::-1]} with {by_user.nnz} ratings, "
                f"but is {transposed.shape} with {transposed.nnz}"
            )
        self.backend = backend
        self.dtype = dtype
        self.n_users, self.n_items = by_user.shape
        self.nnz = int(by_user.nnz)
        self.mean, self.spread, self.scale = rating_facts([by_user.data])
        self.users = backend.rows(by_user, dtype)
        self.items = backend.rows(transposed, dtype)
        # Counted, they would take eight bytes of each rating.
        self.users.column_counts, self.items.column_counts = self.items.counts, self.users.counts

    def rows(self, side: SideName) -> RatingRows:
        """Return an orientation of the ratings."""
        return self.users if side == "user" else self.items

    def solve(
        self,
        side: SideName,
        step: HalfStep,
        *,
        wait: bool = True,
        summed: bool = False,
    ) -> tuple[Side, DeviceArray | None]:
        """Return the factors and biases of all rows of a side; see `TrainingRatings.solve`."""
        return solve_and_sum(step, backend=self.backend, wait=wait, summed=summed)

    def sum_rated(self, side: SideName, table: DeviceArray) -> DeviceArray:
        """Return sums over what each row has rated; see `TrainingRatings.sum_rated`."""
        return self.backend.sum_rated(self.rows(side), table)

    def squared_errors(
        self, predictor: Predictor, item_weight: DeviceArray | None = None
    ) -> tuple[float, float]:
        """Return sums of squared errors on the ratings; see `TrainingRatings.squared_errors`."""
        return total_of(self.backend.row_errors(predictor, self.users, item_weight))

    def pairs_at(self, positions: IntArray) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """Return users, items and values of some ratings; see `TrainingRatings.pairs_at`."""
        users = np.searchsorted(np.cumsum(self.users.host_counts), positions, side="right").astype(np.int32)
        at = self.backend.asarray(positions)
        return self.backend.asarray(users), self.users.columns[at], self.users.values[at]

    def reserve(self, config: WALSConfig) -> None:
        """Take the scratch memory that a training needs, so that its iterations take none."""
        self.backend.reserve((self.users, self.items), config)

    def require_solved(self, config: WALSConfig) -> None:
        """Make sure that the last solutions of both sides are there; raises `SolverError`."""
        for rows in (self.items, self.users):
            self.backend.require_solved(rows, config)

    @property
    def pairs(self) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """User rows, item columns and values of the ratings as flat arrays on the device."""
        return self.users.row_numbers, self.users.columns, self.users.values
