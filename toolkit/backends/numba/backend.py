"""NumPy with the loops that matter compiled by Numba."""

from __future__ import annotations

import importlib
import math
from dataclasses import replace
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from toolkit.arrays import DeviceArray, DType, FloatArray
from toolkit.backends.base import Backend, PartSolver
from toolkit.backends.best import BestColumns
from toolkit.backends.half_step import HalfStep, SharedStep
from toolkit.backends.rows import Batch, RatingRows
from toolkit.predictor import Predictor, Side

if TYPE_CHECKING:
    from toolkit.backends.numba.stepping import StepTables


class NumbaBackend(Backend):
    """Compiled loops over rows, pairs and scores; everything else is NumPy's.

    Parameters
    ----------
    threads : int, default 0
        CPU threads that work side by side; 0 means all that this process may use.
    """

    name: ClassVar[str] = "numba"
    # docs/solver-speed.md has what was measured.
    steps_from: ClassVar[tuple[int, int] | None] = (24, 32)
    # Loops pad nothing. So a shard, which has few rows of each length, has no more batches than it needs.
    batch_stretch: ClassVar[float] = math.inf
    # What `prepared` made last, with the factors that it is of.
    _steps: tuple[DeviceArray | None, StepTables | None] = None, None

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
        step = self.prepared(step)
        solution, sums = self.part_solver(step, summed=summed)(step)
        return step.side(solution), sums

    def prepared(self, step: HalfStep) -> HalfStep:
        """Return a half-step with what its steps need of all ratings; see `Backend.prepared`."""
        if step.start is None or not _divides(step):
            return step
        from toolkit.backends.numba.stepping import StepTables

        steps = StepTables(step.shared, self.multiply)
        if isinstance(step.rows, RatingRows):
            # The part solver that is asked for next takes them. Where others solve the parts, nobody would.
            self._steps = step.fixed.factors, steps
        return replace(step, mean_square=steps.mean_square(step))

    def part_solver(self, shared: SharedStep, *, summed: bool, threads: int = 0) -> PartSolver:
        """Return a function that solves parts of a half-step; see `Backend.part_solver`."""
        from toolkit.backends.numba.solving import FixedTables, RowSolver
        from toolkit.backends.numba.stepping import SteppingSolver, StepTables

        if not _divides(shared):
            return super().part_solver(shared, summed=summed, threads=threads)
        own = self.with_threads(threads) if threads else self
        steps, (of, made) = None, self._steps
        if shared.mean_square is not None:
            steps = (
                made if made is not None and of is shared.fixed.factors else StepTables(shared, self.multiply)
            )
        self._steps = None, None
        fixed = FixedTables(shared) if steps is None else steps.fixed

        def solve(part: HalfStep) -> tuple[DeviceArray, DeviceArray | None]:
            solver = RowSolver(part, fixed, summed=summed)
            if steps is not None and part.start is not None:
                solver = SteppingSolver(part, steps, summed=summed)
            own.each(solver.solve, part.ratings.batches)
            return solver.solution, solver.sums if summed else None

        return solve

    def sum_rated(self, rows: RatingRows, table: DeviceArray) -> DeviceArray:
        """Return for each row the sum of the lines of a table; see `Backend.sum_rated`."""
        from toolkit.backends.numba.gathering import sum_rows

        out = np.zeros((rows.n_rows, table.shape[1]), table.dtype)

        def add(batch: Batch) -> None:
            sum_rows(batch.rows, batch.starts, batch.counts, rows.columns, table, out)

        self.each(add, rows.batches)
        return out

    def row_errors(
        self, predictor: Predictor, rows: RatingRows, item_weight: DeviceArray | None = None
    ) -> FloatArray:
        """Return the sum of squared errors of each row; see `Backend.row_errors`."""
        from toolkit.backends.numba.squares import row_errors

        weight = np.zeros(0, rows.values.dtype) if item_weight is None else item_weight
        out = np.zeros((rows.n_rows, 1 if item_weight is None else 2))
        self.each(lambda batch: row_errors(predictor, batch, rows, weight, out), rows.batches)
        return out

    def _squared_error(
        self, predictor: Predictor, users: DeviceArray, items: DeviceArray, ratings: DeviceArray
    ) -> float:
        from toolkit.backends.numba.squares import squared_error

        return squared_error(predictor, users, items, ratings)

    def _best_columns(self, rows: int, n: int, dtype: DType) -> BestColumns:
        from toolkit.backends.numba.heap import Heap

        return Heap(rows, n, dtype)


def _divides(shared: SharedStep) -> bool:
    """Return whether the loops can divide by the root of a column's weight."""
    weight = shared.column_weight
    return weight is None or bool((weight >= np.finfo(shared.dtype).tiny).all())
