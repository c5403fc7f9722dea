"""A half-step as the compiled loops want it: tables of the fixed side, rows that need more precision."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np

from toolkit.arrays import Array, DeviceArray, FloatArray, IntArray
from toolkit.backends.half_step import HalfStep, SharedStep
from toolkit.backends.numba.gathering import BORDER, MARKS, OFFSET, ROOT, SCALE
from toolkit.backends.numba.rows import solve_batch
from toolkit.backends.numba.tiles import VECTOR_BYTES
from toolkit.backends.rows import Batch

# Bytes of a line of the cache.
_LINE = 64


class ColumnTables(NamedTuple):
    """The arrays of the fixed side that the loops over rows read, of one precision."""

    table: FloatArray
    marks: FloatArray
    bordered: bool
    gram: FloatArray
    pattern: FloatArray


class RowTables(NamedTuple):
    """The arrays of the rows that the loops read, of one precision."""

    values: FloatArray
    row_weight: FloatArray
    pull: FloatArray
    penalty: FloatArray
    bias_penalty: FloatArray


class FixedTables:
    """The tables of the fixed side of a half-step, each made when it is first asked for.

    Parameters
    ----------
    shared : SharedStep
        The weights of columns are no smaller than the smallest normal number.
    """

    def __init__(self, shared: SharedStep) -> None:
        self._shared = shared
        self._tables: dict[np.dtype[Any], ColumnTables] = {}
        self._making = threading.Lock()

    def of(self, dtype: np.dtype[Any]) -> ColumnTables:
        """Return the tables in a precision."""
        # All threads ask at once, and each table takes as much memory as the factors.
        with self._making:
            if dtype not in self._tables:
                self._tables[dtype] = column_tables(self._shared, dtype)
            return self._tables[dtype]


class RowSolver:
    """Solves rows of one half-step, batch after batch, on any number of threads.

    Parameters
    ----------
    step : HalfStep
        What to solve: all rows, or some.
    fixed : FixedTables
        Those of its fixed side.
    summed : bool, default False
        Whether to sum the fixed factors over the columns of each row.

    Attributes
    ----------
    solution : array of float, shape (n_rows, unknowns)
        The unknowns of the rows that were solved; NaN for a row that has no solution.
    sums : array of float, shape (n_rows, k) or (0, 0)
        The sums over the columns of the rows that were solved.
    """

    def __init__(self, step: HalfStep, fixed: FixedTables, *, summed: bool = False) -> None:
        self._step, self._fixed = step, fixed
        self.solution: FloatArray = step.new_solution()
        shape = (step.rows.n_rows, step.config.factors) if summed else (0, 0)
        self.sums: FloatArray = np.zeros(shape, step.dtype)
        self._rows: dict[np.dtype[Any], RowTables] = {}
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
        noise = np.zeros((len(rows), 0)) if step.noise is None else np.asarray(step.noise)[rows]
        solve_batch(
            rows,
            starts,
            counts,
            step.ratings.columns,
            *in_order(self._fixed.of(dtype), self._rows_of(dtype)),
            float(step.config.unobserved_weight),
            step.pattern_weight,
            step.biased,
            step.floor,
            visible,
            noise.astype(dtype, copy=False),
            sums,
            solved,
            failed,
        )
        solved[failed] = np.nan
        return solved, failed

    def _rows_of(self, dtype: np.dtype[Any]) -> RowTables:
        with self._making:
            if dtype not in self._rows:
                self._rows[dtype] = row_tables(self._step, dtype)
            return self._rows[dtype]


def in_order(fixed: ColumnTables, rows: RowTables) -> tuple[FloatArray | bool, ...]:
    """Return the tables in the order of the parameters of the loops."""
    (table, marks, bordered, gram, pattern), (values, row_weight, pull, *penalties) = fixed, rows
    return values, table, marks, bordered, row_weight, gram, pull, pattern, *penalties


def row_tables(step: HalfStep, dtype: np.dtype[Any]) -> RowTables:
    """Return the arrays of the rows of a half-step that the loops read, in a precision."""
    return RowTables(
        values=step.ratings.values.astype(dtype, copy=False),
        row_weight=_given(step.row_weight, 1, dtype),
        pull=_given(step.pull, 2, dtype),
        penalty=step.penalty.astype(dtype),
        bias_penalty=step.bias_penalty.astype(dtype),
    )


def column_tables(shared: SharedStep, dtype: np.dtype[Any]) -> ColumnTables:
    """Return the arrays of the fixed side of a half-step that the loops read, in a precision."""
    n, k, w0 = len(shared.fixed.bias), shared.config.factors, shared.config.unobserved_weight
    marks = _in_lines(n, MARKS, dtype)
    marks[:, [ROOT, SCALE]] = 1
    marks[:, OFFSET] = shared.fixed.bias + shared.mean
    bordered = False
    if shared.column_weight is not None:
        c = np.asarray(shared.column_weight, dtype)
        root = marks[:, ROOT] = np.sqrt(c)
        marks[:, SCALE] = (c + dtype.type(w0)) / root
        bordered = bool(w0 and shared.biased)
        if bordered:
            marks[:, BORDER] = dtype.type(w0) / root
    return ColumnTables(
        table=_padded(shared.fixed.factors, k, dtype),
        marks=marks,
        bordered=bordered,
        gram=_given(shared.gram, 2, dtype),
        pattern=np.zeros((0, 0), dtype) if shared.pattern is None else _padded(shared.pattern, k, dtype),
    )


def _padded(array: DeviceArray, k: int, dtype: np.dtype[Any]) -> FloatArray:
    """Return a table whose rows are read by whole vectors, of which there is at least one."""
    width = VECTOR_BYTES // dtype.itemsize
    table = _in_lines(len(array), max(1, -(-k // width)) * width, dtype)
    table[:, :k] = array
    return table


def _in_lines(n: int, columns: int, dtype: np.dtype[Any]) -> FloatArray:
    """Return zeros that begin with a line of the cache, so that a row touches as few of them as it can."""
    room = _LINE // dtype.itemsize
    flat = np.zeros(n * columns + room, dtype)
    first = -flat.ctypes.data % _LINE // dtype.itemsize
    return flat[first : first + n * columns].reshape(n, columns)


def _given(array: DeviceArray | None, ndim: int, dtype: np.dtype[Any]) -> FloatArray:
    return np.zeros((0,) * ndim, dtype) if array is None else np.asarray(array, dtype)
