"""A half-step by conjugate gradients: the basis in which rows take steps, and which are solved exactly."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from toolkit.arrays import DeviceArray, FloatArray
from toolkit.backends.half_step import HalfStep, SharedStep
from toolkit.backends.numba.conjugate import descend_batch, new_scratch
from toolkit.backends.numba.gathering import ROOT
from toolkit.backends.numba.solving import FixedTables, RowSolver, column_tables, in_order, row_tables
from toolkit.backends.numba.turning import padded, turn_rows
from toolkit.backends.rows import Batch
from toolkit.predictor import Side

# A row ends when its residual is this share of its ratings. docs/solver-speed.md has what was measured.
_TOLERANCE = 0.003
_LEAST_STEPS, _MOST_STEPS = 2, 12
# Above this ratio of a row's data to its penalty, directions that only the penalty determines take too long.
_MOST_DATA = 30.0
# Lines of a table that are squared at once.
_BLOCK = 1 << 16


class StepTables:
    """The fixed side of a half-step in the basis in which its rows take steps.

    What the matrices of all rows share is diagonal in the basis of its eigenvectors. There it costs a row
    nothing, and the steps take it into account as a whole.

    Parameters
    ----------
    shared : SharedStep
        With or without its `mean_square`.
    multiply : callable
        Returns the product of two matrices, on the threads of the backend.

    Attributes
    ----------
    basis : array of float, shape (k, k), or None
        The eigenvectors, in columns; None where nothing is shared.
    there, back : array of float
        It and its transpose, as `turn_rows` wants them.
    fixed : FixedTables
        In the usual basis, for rows that are solved exactly.
    tables : ColumnTables
        With the eigenvalues, and zeros for a bias, in place of the shared matrix.
    """

    def __init__(
        self, shared: SharedStep, multiply: Callable[[DeviceArray, DeviceArray], DeviceArray]
    ) -> None:
        self.basis: FloatArray | None = None
        self._own = threading.local()
        self.fixed, k = FixedTables(shared), shared.config.factors
        diagonal = np.zeros(shared.unknowns, shared.dtype)
        if shared.gram is None:
            # The basis is the usual one, and so are the tables.
            self.tables = self.fixed.of(shared.dtype)._replace(gram=diagonal)
        else:
            values, vectors = np.linalg.eigh(shared.gram.astype("float64"))
            basis = self.basis = vectors.astype(shared.dtype)
            self.there, self.back = padded(basis), padded(basis.T)
            turned = replace(
                shared,
                fixed=Side(multiply(shared.fixed.factors, basis), shared.fixed.bias),
                pattern=None if shared.pattern is None else multiply(shared.pattern, basis),
                gram=None,
            )
            diagonal[:k] = values.clip(min=0)
            self.tables = column_tables(turned, shared.dtype)._replace(gram=diagonal)

    def scratch(self, longest: int) -> FloatArray:
        """Return memory of this thread for rows of so many ratings; see `new_scratch`.

        A Dask worker's memory goes back to the system as soon as it is free, and to have it again takes as
        long as to solve the row.
        """
        held: FloatArray | None = getattr(self._own, "scratch", None)
        if held is None or len(held) < longest:
            tables = self.tables
            columns = len(tables.gram) + 1 + tables.bordered
            held = self._own.scratch = new_scratch(longest, columns, tables.table.dtype)
        return held

    def mean_square(self, step: HalfStep) -> DeviceArray:
        """Return the mean of c z² over all ratings of a half-step."""
        table, counts = self.tables.table, step.rows.column_counts * self.tables.marks[:, ROOT] ** 2
        # In double precision, and so a block at a time: a table takes as much memory as the factors.
        squares = np.zeros(table.shape[1])
        for first in range(0, len(table), _BLOCK):
            squares += counts[first : first + _BLOCK] @ table[first : first + _BLOCK] ** 2
        # The last of a biased row is 1.
        means = np.full(step.unknowns, counts.sum())
        means[: step.config.factors] = squares[: step.config.factors]
        return (means / max(step.rows.nnz, 1)).astype(step.dtype)


class SteppingSolver(RowSolver):
    """Solves rows of one half-step by a few steps from where they are, and exactly where these fail.

    Parameters
    ----------
    step : HalfStep
        What to solve: all rows, or some. It has a `start` and a `mean_square`.
    steps : StepTables
        Those of its fixed side.
    summed : bool
        As for `RowSolver`; the sums are those of its own pass only where nothing is shared.
    """

    def __init__(self, step: HalfStep, steps: StepTables, *, summed: bool) -> None:
        super().__init__(step, steps.fixed, summed=summed)
        assert step.start is not None  # noqa: S101 - the caller looked
        assert step.mean_square is not None  # noqa: S101
        self._start, self._steps, k = step.start, steps, step.config.factors
        own = row_tables(step, step.dtype)
        if len(own.pull) and steps.basis is not None:
            pull = np.array(own.pull)
            turn_rows(pull, np.arange(len(pull)), k, steps.there)
            own = own._replace(pull=pull)
        self._arrays = in_order(steps.tables, own)

    def solve(self, batch: Batch) -> None:
        """Solve the rows of a batch."""
        step, k, turned = self._step, self._step.config.factors, self._steps.basis is not None
        solved, at = np.empty((len(batch.rows), step.unknowns), step.dtype), np.arange(len(batch.rows))
        solved[:, :k] = self._start.factors[batch.rows]
        if turned:
            turn_rows(solved, at, k, self._steps.there)
        solved[:, k:] = self._start.bias[batch.rows, None]
        failed, scratch = np.zeros(len(batch.rows), np.bool_), self._steps.scratch(batch.width)
        descend_batch(
            *(batch.rows, batch.starts, batch.counts, step.ratings.columns, *self._arrays),
            *(float(step.config.unobserved_weight), step.pattern_weight, step.biased, step.mean_square),
            *(_TOLERANCE, _LEAST_STEPS, _MOST_STEPS, _MOST_DATA, scratch, self.sums, solved, failed),
        )
        if turned:
            turn_rows(solved, at, k, self._steps.back)
            if len(self.sums):
                turn_rows(self.sums, batch.rows, k, self._steps.back)
        self.solution[batch.rows] = solved
        if failed.any():
            rows, starts, counts = batch.rows[failed], batch.starts[failed], batch.counts[failed]
            super().solve(Batch(rows, starts, counts, batch.width))
