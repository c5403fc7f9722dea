"""NumPy with the loops that matter compiled by Numba."""

from __future__ import annotations

import importlib
from typing import ClassVar

import numpy as np

from toolkit.arrays import DeviceArray, DType
from toolkit.backends.base import Backend
from toolkit.backends.best import BestColumns
from toolkit.backends.half_step import HalfStep
from toolkit.backends.rows import Batch, RatingRows
from toolkit.predictor import Predictor, Side


class NumbaBackend(Backend):
    """Compiled loops over rows, pairs and scores; everything else is NumPy's.

    Parameters
    ----------
    threads : int, default 0
        CPU threads that work side by side; 0 means all that this process may use.
    """

    name: ClassVar[str] = "numba"
    # docs/solver-speed.md has what was measured.
    steps_from: ClassVar[tuple[int, int] | None] = (32, 48)

    @classmethod
    def problem(cls) -> str | None:
        """Return why Numba cannot compile here, or None when it can."""
        try:
            importlib.import_module("toolkit.backends.numba.rows")
        except Exception as error:  # noqa: BLE001 - without its LLVM, or beside a NumPy that is too new, it raises anything
            return f"numba is not usable: {error}; pip install numba"
        return None

    def solve_rows(self, step: HalfStep) -> Side:
        """Return the factors and biases that minimise the objective; see `Backend.solve_rows`."""
        return self._solve(step, summed=False)[0]

    def solve_and_sum(self, step: HalfStep) -> tuple[Side, DeviceArray | None]:
        """Return the solution and the sums in one pass over the ratings; see `Backend.solve_and_sum`."""
        return self._solve(step, summed=True)

    def _solve(self, step: HalfStep, *, summed: bool) -> tuple[Side, DeviceArray | None]:
        from toolkit.backends.numba.solving import RowSolver

        # The loops divide by the root of a column's weight.
        weight = step.column_weight
        if weight is not None and not bool((weight >= np.finfo(step.dtype).tiny).all()):
            return super().solve_rows(step), None
        if step.start is None:
            solver = RowSolver(step, summed=summed)
        else:
            from toolkit.backends.numba.stepping import SteppingSolver

            solver = SteppingSolver(step, summed=summed, multiply=self.multiply)
        self.each(solver.solve, step.rows.batches)
        return step.side(solver.solution), solver.sums if summed else None

    def sum_rated(self, rows: RatingRows, table: DeviceArray) -> DeviceArray:
        """Return for each row the sum of the lines of a table; see `Backend.sum_rated`."""
        from toolkit.backends.numba.gathering import sum_rows

        out = np.zeros((rows.n_rows, table.shape[1]), table.dtype)

        def add(batch: Batch) -> None:
            sum_rows(batch.rows, batch.starts, batch.counts, rows.columns, table, out)

        self.each(add, rows.batches)
        return out

    def _squared_error(
        self, predictor: Predictor, users: DeviceArray, items: DeviceArray, ratings: DeviceArray
    ) -> float:
        from toolkit.backends.numba.squares import squared_error

        return squared_error(predictor, users, items, ratings)

    def _best_columns(self, rows: int, n: int, dtype: DType) -> BestColumns:
        from toolkit.backends.numba.heap import Heap

        return Heap(rows, n, dtype)
