"""A half-step as the compiled loops want it: tables of the fixed side, rows that need more precision."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from toolkit.arrays import Array, DeviceArray, FloatArray, IntArray
from toolkit.backends.half_step import HalfStep
from toolkit.backends.numba.rows import solve_batch
from toolkit.backends.numba.tiles import VECTOR_BYTES
from toolkit.backends.rows import Batch


class Tables(NamedTuple):
    """The arrays that the loops over rows read, of one precision, in the order of their parameters."""

    values: FloatArray
    table: FloatArray
    root: FloatArray
    scale: FloatArray
    offset: FloatArray
    border: FloatArray
    row_weight: FloatArray
    gram: FloatArray
    pull: FloatArray
    pattern: FloatArray
    penalty: FloatArray
    bias_penalty: FloatArray


class RowSolver:
    """Solves the rows of one half-step, batch after batch, on any number of threads.

    Parameters
    ----------
    step : HalfStep
        What to solve. The weights of columns are no smaller than the smallest normal number.
    summed : bool, default False
        Whether to sum the fixed factors over the columns of each row.

    Attributes
    ----------
    solution : array of float, shape (n_rows, unknowns)
        The unknowns of the rows that were solved; NaN for a row that has no solution.
    sums : array of float, shape (n_rows, k) or (0, 0)
        The sums over the columns of the rows that were solved.
    """

    def __init__(self, step: HalfStep, *, summed: bool = False) -> None:
        self._step = step
        self.solution: FloatArray = step.new_solution()
        shape = (step.rows.n_rows, step.config.factors) if summed else (0, 0)
        self.sums: FloatArray = np.zeros(shape, step.dtype)
        self._tables: dict[np.dtype[Any], Tables] = {}
        self._making = threading.Lock()

    def solve(self, batch: Batch) -> None:
        """Solve the rows of a batch, in double precision those that single precision cannot solve."""
        dtype = self.solution.dtype
        solved, failed = self._run(self.sums, self._step.visible, batch.rows, batch.starts, batch.counts)
        self.solution[batch.rows] = solved
        if failed.any() and dtype != np.float64:
            rows = batch.rows[failed]
            # Their sums are taken already.
            again, _ = self._run(np.zeros((0, 0)), 0.0, rows, batch.starts[failed], batch.counts[failed])
            self.solution[rows] = again

    def _run(
        self, sums: FloatArray, visible: float, rows: IntArray, starts: IntArray, counts: IntArray
    ) -> tuple[FloatArray, Array]:
        """Return the solutions of some rows in the precision of the sums, and which of them failed."""
        step, dtype = self._step, sums.dtype
        solved, failed = np.empty((len(rows), step.unknowns), dtype), np.zeros(len(rows), np.bool_)
        solve_batch(
            rows,
            starts,
            counts,
            step.rows.columns,
            *self._tables_of(dtype),
            float(step.config.unobserved_weight),
            step.pattern_weight,
            step.biased,
            step.floor,
            visible,
            sums,
            solved,
            failed,
        )
        solved[failed] = np.nan
        return solved, failed

    def _tables_of(self, dtype: np.dtype[Any]) -> Tables:
        # All threads ask at once, and each table takes as much memory as the factors.
        with self._making:
            if dtype not in self._tables:
                self._tables[dtype] = tables(self._step, dtype)
            return self._tables[dtype]


def tables(step: HalfStep, dtype: np.dtype[Any]) -> Tables:
    """Return the arrays of a half-step that the loops read, in a precision."""
    n, k, w0 = step.rows.n_columns, step.config.factors, step.config.unobserved_weight

    def given(array: DeviceArray | None, ndim: int) -> FloatArray:
        return np.zeros((0,) * ndim, dtype) if array is None else np.asarray(array, dtype)

    def padded(array: DeviceArray, columns: int) -> FloatArray:
        # Rows are read by whole vectors.
        width = VECTOR_BYTES // dtype.itemsize
        table = np.zeros((n, -(-columns // width) * width), dtype)
        table[:, :k] = array
        return table

    root, scale, border = np.ones(n, dtype), np.ones(n, dtype), np.zeros(0, dtype)
    table = padded(step.fixed.factors, step.unknowns)
    if step.biased:
        table[:, k] = 1
    if step.column_weight is not None:
        c = np.asarray(step.column_weight, dtype)
        root = np.sqrt(c)
        scale = (c + dtype.type(w0)) / root
        if w0 and step.biased:
            border = dtype.type(w0) / root
    return Tables(
        values=step.rows.values.astype(dtype, copy=False),
        table=table,
        root=root,
        scale=scale,
        offset=(step.fixed.bias + step.mean).astype(dtype),
        border=border,
        row_weight=given(step.row_weight, 1),
        gram=given(step.gram, 2),
        pull=given(step.pull, 2),
        pattern=np.zeros((0, 0), dtype) if step.pattern is None else padded(step.pattern, k),
        penalty=step.penalty.astype(dtype),
        bias_penalty=step.bias_penalty.astype(dtype),
    )
