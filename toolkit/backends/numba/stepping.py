"""A half-step by conjugate gradients: the basis in which rows take steps, and which are solved exactly."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from toolkit.arrays import DeviceArray, FloatArray
from toolkit.backends.half_step import HalfStep
from toolkit.backends.numba.conjugate import descend_batch
from toolkit.backends.numba.solving import RowSolver, tables
from toolkit.backends.rows import Batch
from toolkit.predictor import Side

# A row ends when its residual is this share of its ratings. docs/solver-speed.md has what was measured.
_TOLERANCE = 0.003
_LEAST_STEPS, _MOST_STEPS = 2, 12
# Above this ratio of a row's data to its penalty, directions that only the penalty determines take too long.
_MOST_DATA = 30.0


class SteppingSolver(RowSolver):
    """Solves the rows of one half-step by a few steps from where they are, and exactly where these fail.

    What the matrices of all rows share is diagonal in the basis of its eigenvectors. There it costs a row
    nothing, and the steps take it into account as a whole.

    Parameters
    ----------
    step : HalfStep
        What to solve; it has a `start`.
    summed : bool
        As for `RowSolver`; the sums are those of its own pass only where nothing is shared.
    multiply : callable
        Returns the product of two matrices, on the threads of the backend.
    """

    def __init__(
        self, step: HalfStep, *, summed: bool, multiply: Callable[[DeviceArray, DeviceArray], DeviceArray]
    ) -> None:
        super().__init__(step, summed=summed)
        assert step.start is not None  # noqa: S101 - the caller looked
        self._start = step.start
        self._basis: FloatArray | None = None
        turned, k = step, step.config.factors
        shared = np.zeros(step.unknowns, step.dtype)
        if step.gram is not None:
            values, vectors = np.linalg.eigh(step.gram.astype("float64"))
            basis = vectors.astype(step.dtype)
            self._basis = basis
            turned = replace(
                step,
                fixed=Side(multiply(step.fixed.factors, basis), step.fixed.bias),
                pattern=None if step.pattern is None else multiply(step.pattern, basis),
                pull=None if step.pull is None else multiply(step.pull, basis),
                gram=None,
            )
            shared[:k] = values.clip(min=0)
        self._turned = tables(turned, step.dtype)._replace(gram=shared)
        squares = (step.rows.column_counts * self._turned.root**2) @ self._turned.table**2
        self._mean_square = (squares[: step.unknowns] / max(step.rows.nnz, 1)).astype(step.dtype)
        # Of a row's ratings; factors may all be zero.
        least_penalty = self._turned.penalty.astype("float64") + float(shared[:k].min())
        most = _MOST_DATA * least_penalty / max(float(self._mean_square[:k].sum()), 1e-30)
        self._most_data = np.minimum(most, np.finfo(step.dtype).max).astype(step.dtype)

    def solve(self, batch: Batch) -> None:
        """Solve the rows of a batch."""
        step, k, basis = self._step, self._step.config.factors, self._basis
        solved = np.empty((len(batch.rows), step.unknowns), step.dtype)
        factors = self._start.factors[batch.rows]
        solved[:, :k] = factors if basis is None else factors @ basis
        solved[:, k:] = self._start.bias[batch.rows, None]
        failed = np.zeros(len(batch.rows), np.bool_)
        descend_batch(
            *(batch.rows, batch.starts, batch.counts, step.rows.columns, *self._turned),
            *(float(step.config.unobserved_weight), step.pattern_weight, step.biased, self._mean_square),
            *(_TOLERANCE, _LEAST_STEPS, _MOST_STEPS, self._most_data, batch.width, self.sums, solved, failed),
        )
        if basis is not None:
            solved[:, :k] = solved[:, :k] @ basis.T
            if len(self.sums):
                self.sums[batch.rows] = self.sums[batch.rows] @ basis.T
        self.solution[batch.rows] = solved
        if failed.any():
            rows, starts, counts = batch.rows[failed], batch.starts[failed], batch.counts[failed]
            super().solve(Batch(rows, starts, counts, batch.width))
