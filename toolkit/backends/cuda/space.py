"""What a backend with kernels of our own holds: where they run, and scratch memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.backends.cuda.arena import Arena
from toolkit.backends.cuda.launcher import CuPyLauncher, Launcher
from toolkit.backends.cuda.pairs import objective_sums, squared_errors
from toolkit.backends.cuda.plan import PARTIAL_BYTES
from toolkit.backends.cuda.shape import Product
from toolkit.backends.cuda.solver import SideSolver
from toolkit.predictor import Predictor, Side
from toolkit.solver.factors import Factors

if TYPE_CHECKING:
    from toolkit.backends.rows import RatingRows
    from toolkit.config import WALSConfig


class KernelSpace:
    """Kernels on one device, for all models of a process; what they cannot do is left to array operations.

    Parameters
    ----------
    launch : Launcher, optional
        Where; by default CuPy's current device.

    Attributes
    ----------
    arena : Arena
        Scratch memory.
    product : {"float32", "tf32", "tf32x3"}
        How ratings are multiplied; tensor cores need compute capability 8.0.
    """

    def __init__(self, launch: Launcher | None = None) -> None:
        self.launch = launch or CuPyLauncher()
        self.arena = Arena(self.launch.xp)
        self.product: Product = "float32"
        # The last weights that were looked at, and whether one can divide by their root.
        self._looked_at: tuple[Any, bool] = (None, True)

    def side(self, ratings: RatingRows) -> SideSolver | None:
        """Return what solves the rows of ratings, or None where their precision is not float32."""
        if ratings.values.dtype != np.float32:
            return None
        indptr = np.concatenate([[0], np.cumsum(ratings.host_counts)])
        arrays = (indptr, ratings.columns, ratings.values)
        return SideSolver(self.launch, self.arena, *arrays, n_columns=ratings.n_columns)

    def reserve(self, sides: tuple[RatingRows, RatingRows], config: WALSConfig) -> None:
        """Take the scratch memory that a training needs, so that its iterations take none."""
        biased = config.bias == "full"
        for side in sides:
            if side.kernels:
                _fit_waves(side.kernels, side)
                self.arena.reserve(
                    side.kernels.scratch_bytes(config.factors, biased=biased, product=self.product)
                )

    def solve(
        self, ratings: RatingRows, fixed: Side, *, config: WALSConfig, column_weight: Any, **system: Any
    ) -> Side | None:
        """Return the solution of every row without waiting for it, or None where it must be had otherwise.

        Parameters
        ----------
        ratings, fixed, config, column_weight
            As `toolkit.solver.normal.solve_rows`.
        **system
            ``mean``, ``row_weight``, ``gram``, ``pull`` and ``visible``, as `SideSolver.solve`.
        """
        if ratings.kernels is None or not self._divides(column_weight):
            return None
        _fit_waves(ratings.kernels, ratings)
        xp = self.launch.xp
        return ratings.kernels.solve(
            Side(*(xp.ascontiguousarray(a) for a in fixed)),
            biased=config.bias == "full",
            regularization=config.regularization,
            regularization_exponent=config.regularization_exponent,
            unobserved_weight=config.unobserved_weight,
            column_weight=column_weight,
            product=self.product,
            **system,
        )

    def _divides(self, weight: Any) -> bool:
        if weight is None:
            return True
        # A trial has the same weights in all its iterations: to look waits for the device.
        if weight is not self._looked_at[0]:
            self._looked_at = weight, bool((weight >= np.finfo(np.float32).tiny).all())
        return self._looked_at[1]

    def squared_errors(self, factors: Predictor, users: Any, items: Any, ratings: Any) -> float | None:
        """Return the sum of squared errors over pairs, or None where the arrays are of other types."""
        pairs = (users, items, ratings)
        if not _fitting(factors, pairs):
            return None
        return float(squared_errors(self.launch, factors, pairs)[0])

    def objective_sums(
        self, factors: Factors, users: Any, items: Any, ratings: Any, weight: Any
    ) -> tuple[float, float] | None:
        """Return Σ (w0 + c) error² and Σ (x · y)² over pairs, or None where the arrays are of other types."""
        pairs = (users, items, ratings)
        if not _fitting(factors, pairs):
            return None
        fit, observed = self.launch.xp.asnumpy(objective_sums(self.launch, factors, pairs, weight))
        return float(fit), float(observed)


def _fit_waves(solver: SideSolver, ratings: RatingRows) -> None:
    # The same sums come out of waves of any size.
    solver.wave_bytes = min(PARTIAL_BYTES, ratings.backend.batch_bytes)


def _fitting(factors: Predictor, pairs: tuple[Any, Any, Any]) -> bool:
    users, items, ratings = pairs
    singles = (*factors.users, *factors.items, ratings)
    return (
        all(a.dtype == np.float32 and a.flags.c_contiguous for a in singles)
        and users.dtype == np.int32
        and items.dtype in (np.int32, np.int64)
    )
