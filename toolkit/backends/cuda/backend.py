"""CuPy with CUDA kernels of our own for the rows and the squared errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar

import numpy as np

from toolkit.arrays import DeviceArray, Ratings
from toolkit.backends.cuda.arena import Arena
from toolkit.backends.cuda.launcher import CuPyLauncher, Launcher
from toolkit.backends.cuda.pairs import squared_errors
from toolkit.backends.cuda.plan import PARTIAL_BYTES
from toolkit.backends.cuda.row_solver import RowSolver
from toolkit.backends.cupy import CupyBackend
from toolkit.backends.half_step import HalfStep, unsolved
from toolkit.backends.rows import RatingRows
from toolkit.config import WALSConfig
from toolkit.predictor import Predictor, Side


class SolvableRows(RatingRows):
    """Rating rows of float32 with the plan of the launches that solve them.

    Attributes
    ----------
    solver : RowSolver
        Solves the rows by kernels.
    """

    solver: RowSolver


class CudaBackend(CupyBackend):
    """Kernels of our own where they can do the work, and CuPy's array operations elsewhere.

    Kernels work in float32, and up to the rank whose tiles one block can hold.

    Parameters
    ----------
    threads : int, default 0
        Without effect, as for CuPy.

    Attributes
    ----------
    launch : Launcher
        Launches the kernels.
    arena : Arena
        Scratch memory of the kernels, for all trainings of the process.
    """

    name: ClassVar[str] = "cuda"

    def __init__(self, threads: int = 0) -> None:
        super().__init__(threads)
        self.launch: Launcher = CuPyLauncher()
        self.arena = Arena(self.xp)
        # The column weights that were checked last, and whether one can divide by their root.
        self._checked_weights: tuple[DeviceArray | None, bool] = (None, True)

    def rows(self, matrix: Ratings, dtype: str = "float32") -> RatingRows:
        """Return ratings laid out for the kernels, or for CuPy where their precision is not float32."""
        if dtype != "float32":
            return super().rows(matrix, dtype)
        rows = SolvableRows(
            matrix, self.xp, dtype, batch_entries=self.batch_entries, batch_rows=self.batch_rows
        )
        indptr = np.concatenate([[0], np.cumsum(rows.host_counts)])
        rows.solver = RowSolver(
            self.launch, self.arena, indptr, rows.columns, rows.values, n_columns=rows.n_columns
        )
        return rows

    @property
    def scratch_bytes(self) -> int:
        """Bytes of scratch memory that are held from one training to the next."""
        return self.arena.nbytes

    def reserve(self, rows: Sequence[RatingRows], config: WALSConfig) -> None:
        """Take the scratch memory that a training needs, so that its iterations take none."""
        for side in rows:
            if isinstance(side, SolvableRows):
                self._fit_waves(side)
                biased = config.bias == "full"
                self.arena.reserve(side.solver.scratch_bytes(config.factors, biased=biased))

    def solve_rows(self, step: HalfStep) -> Side:
        """Return the solution of every row without waiting for it; see `Backend.solve_rows`."""
        rows = step.rows
        # The kernels know no prior of the rows; CuPy's operations solve these.
        if isinstance(rows, SolvableRows) and step.unrated is None and self._divides(step.column_weight):
            self._fit_waves(rows)
            if step.pattern is not None:
                pull = step.pattern_weight * self.sum_rated(rows, step.pattern)
                step = replace(step, pull=pull, pattern=None)
            solution = rows.solver.solve(step)
            if solution is not None:
                return solution
        return super().solve_rows(step)

    def require_solved(self, rows: RatingRows, config: WALSConfig) -> None:
        """Wait for the last solution of these rows, and make sure that each row has one."""
        row = rows.solver.unsolved() if isinstance(rows, SolvableRows) else None
        if row is not None:
            raise unsolved(rows, config, row)

    def sum_rated(self, rows: RatingRows, table: DeviceArray) -> DeviceArray:
        """Return for each row the sum of the lines of a table; see `Backend.sum_rated`."""
        if isinstance(rows, SolvableRows) and table.dtype == np.float32 and table.shape[1]:
            return rows.solver.sum_rated(self.xp.ascontiguousarray(table))
        return super().sum_rated(rows, table)

    def squared_errors(
        self, predictor: Predictor, users: DeviceArray, items: DeviceArray, ratings: DeviceArray
    ) -> float:
        """Return the sum of squared errors over pairs; see `Backend.squared_errors`."""
        singles = (*predictor.users, *predictor.items, ratings)
        fitting = (
            len(ratings) > 0
            and predictor.users.factors.shape[1] > 0
            and all(a.dtype == np.float32 and a.flags.c_contiguous for a in singles)
            and users.dtype == np.int32
            and items.dtype in (np.int32, np.int64)
        )
        if not fitting:
            return super().squared_errors(predictor, users, items, ratings)
        return float(squared_errors(self.launch, predictor, (users, items, ratings))[0])

    def _divides(self, weight: DeviceArray | None) -> bool:
        """Return whether the kernels can divide by the root of column weights."""
        if weight is None:
            return True
        # A training has the same weights in all its iterations, and a look at them waits for the device.
        if weight is not self._checked_weights[0]:
            self._checked_weights = weight, bool((weight >= np.finfo(np.float32).tiny).all())
        return self._checked_weights[1]

    def _fit_waves(self, rows: SolvableRows) -> None:
        # Waves of any size give the same sums.
        rows.solver.wave_bytes = min(PARTIAL_BYTES, self.batch_bytes)
