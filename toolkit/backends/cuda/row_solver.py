"""The rows of one side, solved by kernels of our own.

A half-step is a handful of launches, none of which waits for the host: the table of the fixed side, long
rows in parts, whole rows, and short rows. A last launch solves in double precision the rows that single
precision could not solve. `RowSolver.unsolved` waits for all of them and names a row without a solution.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from toolkit.arrays import DeviceArray, IntArray
from toolkit.backends.cuda.arena import Arena, Layout, layout_bytes
from toolkit.backends.cuda.launcher import Kernel, Launcher
from toolkit.backends.cuda.plan import PARTIAL_BYTES, Rows, plan_rows
from toolkit.backends.cuda.shape import Shape
from toolkit.backends.half_step import HalfStep
from toolkit.predictor import Side

# Threads of a block of the kernels that are not cut by tiles.
_BLOCK = 256
_WARP = 32
# Rows that a multiprocessor solves at once, where each needs a slot.
_SLOTS = 2
# The state that solution.cu gives a row without a solution.
_WITHOUT = 2


class RowSolver:
    """Solves the rows of one orientation of the ratings, for any hyperparameters.

    Parameters
    ----------
    launch : Launcher
        Launches the kernels.
    arena : Arena
        Scratch memory; solvers that take turns may share it.
    indptr : numpy array of int, shape (n_rows + 1,)
        Where the ratings of each row begin.
    columns : array of int32 or int64, shape (nnz,)
        Column numbers, on the device.
    values : array of float32, shape (nnz,)
        Ratings, on the device.
    n_columns : int
        Number of columns.
    wave_bytes : int, optional
        Bytes that the sums of one wave of long rows take at most.
    part, short : int, optional
        Ratings of a part of a long row, and of a short row, at most; see `plan_rows`.
    """

    def __init__(
        self,
        launch: Launcher,
        arena: Arena,
        indptr: IntArray,
        columns: DeviceArray,
        values: DeviceArray,
        *,
        n_columns: int,
        wave_bytes: int = PARTIAL_BYTES,
        **cuts: int,
    ) -> None:
        xp = launch.xp
        self._launch, self._arena, self.wave_bytes = launch, arena, wave_bytes
        self.n_rows, self.n_columns = len(indptr) - 1, n_columns
        self._columns, self._values = columns, values
        self._column = {4: "int", 8: "long long"}[columns.dtype.itemsize]
        plan = plan_rows(indptr, **cuts)
        self._long = plan.long
        self._short, self._whole, self._long_rows = (
            Rows(*(xp.asarray(a) for a in (rows.rows, rows.starts, rows.counts)))
            for rows in (plan.short, plan.whole, plan.long.rows)
        )
        self._firsts, self._part_starts, self._part_counts = (
            xp.asarray(a) for a in (plan.long.firsts, plan.long.starts, plan.long.counts)
        )
        self._starts = xp.asarray(np.asarray(indptr, np.int64))
        self._state = xp.zeros(self.n_rows, np.int32)
        # Sums over rows are taken in parts: a part of a long row, whose sum has a place, or a whole row.
        rest = [plan.whole, plan.short]
        n_parts = len(plan.long.counts)
        self._sum_parts = [
            xp.asarray(np.concatenate(arrays))
            for arrays in (
                [np.zeros(n_parts, np.int32), *(rows.rows for rows in rest)],
                [np.arange(n_parts, dtype=np.int32), *(np.full(len(rows), -1, np.int32) for rows in rest)],
                [plan.long.starts, *(rows.starts for rows in rest)],
                [plan.long.counts, *(rows.counts for rows in rest)],
            )
        ]

    def scratch_bytes(self, factors: int, *, biased: bool) -> int:
        """Return the bytes of scratch memory that `solve` and `sum_rated` take for a rank."""
        shape = Shape.of(factors, biased=biased)
        solving = layout_bytes(self._layout(shape)) if shape else 0
        return max(solving, layout_bytes(self._sums(factors)))

    def _sums(self, factors: int) -> Layout:
        return {"sums": ((len(self._part_counts), factors), np.float32)}

    def _layout(self, shape: Shape) -> Layout:
        exact = Shape.of(shape.factors, biased=shape.biased, exact=True)
        parts = self._long.most_parts(self._long.waves(4 * shape.triangle, self.wave_bytes))
        mending = self._launch.multiprocessors * (exact.packed if exact else 0)
        slots = 0 if shape.in_shared else self._launch.multiprocessors * _SLOTS * shape.packed
        return {
            "table": ((self.n_columns, shape.stride), np.float32),
            "weight_sum": ((self.n_rows, 2), np.float64),
            "partial": ((parts, shape.triangle), np.float32),
            # Float32 at first and float64 later: rows are mended when all others are solved.
            "slots": ((max(mending, -(-slots // 2)),), np.float64),
        }

    def solve(self, step: HalfStep) -> Side | None:
        """Return the solution of every row, without waiting for it; None where no block can hold a row.

        Parameters
        ----------
        step : HalfStep
            In float32, with column weights whose root one can divide by.
        """
        xp, config, fixed = self._launch.xp, step.config, self._contiguous(step.fixed)
        k, w0 = config.factors, config.unobserved_weight
        shape = Shape.of(k, biased=step.biased)
        exact = Shape.of(k, biased=step.biased, exact=True)
        if shape is None or exact is None:
            return None
        at = self._arena.views(self._layout(shape))
        self._kernel("table", "make_table", shape)(
            -(-self.n_columns * shape.stride // _BLOCK),
            _BLOCK,
            *(np.int64(self.n_columns), fixed.factors, fixed.bias, step.column_weight),
            *(np.float32(step.mean), np.float32(w0), at["table"]),
        )
        weight_sum = None
        if step.biased and w0 and step.column_weight is not None:
            weight_sum = at["weight_sum"]
            self._kernel("table", "sum_weights", shape)(
                -(-self.n_rows * _WARP // _BLOCK),
                _BLOCK,
                *(np.int32(self.n_rows), self._starts, self._columns, self._values),
                *(step.column_weight, fixed.bias, np.float64(step.mean), np.float64(w0), weight_sum),
            )
        floor = None
        gram, pull = (None if a is None else xp.asarray(a, np.float32) for a in (step.gram, step.pull))
        if gram is not None:
            # It stays on the device, which `HalfStep.floor` does not.
            floor = (gram.trace() / shape.unknowns).astype(np.float32).reshape(1)
        solution = Side(xp.zeros((self.n_rows, k), np.float32), xp.zeros(self.n_rows, np.float32))
        self._state.fill(0)

        def system(slots: Any) -> tuple[Any, ...]:
            # In the order of SYSTEM_PARAMETERS.
            return (
                *(self._columns, self._values, at["table"], step.row_weight, weight_sum, gram, pull),
                *(
                    step.penalty,
                    step.bias_penalty,
                    floor,
                    fixed.factors,
                    fixed.bias,
                    step.column_weight,
                    slots,
                ),
                *(*solution, self._state, np.float64(step.mean), np.float32(w0), np.float32(step.visible)),
            )

        self._solve_all(shape, system(at["slots"].view(np.float32)), at["partial"])
        mend_rows = self._kernel("mend", "mend_rows", exact)
        mend_rows(
            min(self._launch.multiprocessors, -(-self.n_rows // exact.group)),
            exact.group,
            *(np.int32(self.n_rows), self._starts, *system(at["slots"])),
            shared=exact.shared_bytes + 4 * exact.group,
        )
        return solution

    def _contiguous(self, side: Side) -> Side:
        return Side(*(self._launch.xp.ascontiguousarray(each) for each in side))

    def _kernel(self, file: str, name: str, shape: Shape) -> Callable[..., None]:
        return partial(self._launch, Kernel(file, name, shape, self._column))

    def _solve_all(self, shape: Shape, system: tuple[Any, ...], sums: Any) -> None:
        """Launch the kernels that solve the rows, the longest rows first."""

        def blocks(n: int, together: int) -> int:
            wanted = -(-n // together)
            return wanted if shape.in_shared else min(wanted, self._launch.multiprocessors * _SLOTS)

        part_rows, joined_rows = (self._kernel("rows", name, shape) for name in ("part_rows", "joined_rows"))
        for begin, end in self._long.waves(4 * shape.triangle, self.wave_bytes):
            first, last = int(self._long.firsts[begin]), int(self._long.firsts[end])
            part_rows(
                *(last - first, shape.group),
                *(self._part_starts[first:last], self._part_counts[first:last], sums, *system),
                shared=shape.shared_bytes,
            )
            rows = self._long_rows
            joined_rows(
                *(blocks(end - begin, 1), shape.group),
                *(np.int32(end - begin), rows.rows[begin:end], rows.counts[begin:end]),
                *(self._firsts[begin : end + 1], np.int32(first), sums, *system),
                shared=shape.shared_bytes,
            )
        for name, rows, together in (
            ("whole_rows", self._whole, 1),
            ("short_rows", self._short, shape.groups),
        ):
            if len(rows):
                self._kernel("rows", name, shape)(
                    *(blocks(len(rows), together), together * shape.group),
                    *(np.int32(len(rows)), rows.rows, rows.starts, rows.counts, *system),
                    shared=together * shape.shared_bytes,
                )

    def unsolved(self) -> int | None:
        """Wait for the last `solve`; return the first row that it found no finite solution for, or None."""
        without = self._state == _WITHOUT
        return int(without.argmax()) if bool(without.any()) else None

    def sum_rated(self, table: DeviceArray) -> DeviceArray:
        """Return for each row the sum of the lines of a table that stand for the columns it has rated.

        Parameters
        ----------
        table : array of float32, shape (n_columns, k)
            C-contiguous.

        Returns
        -------
        array of float32, shape (n_rows, k)
        """
        xp, k = self._launch.xp, table.shape[1]
        shape = Shape.of_factors(k)
        out: DeviceArray = xp.zeros((self.n_rows, k), np.float32)
        sums = self._arena.views(self._sums(k))["sums"]
        n, n_long = len(self._sum_parts[0]), len(self._long_rows)
        sum_parts, join_sums = (self._kernel("table", name, shape) for name in ("sum_parts", "join_sums"))
        # CUDA refuses a launch of no block.
        if n:
            sum_parts(
                *(-(-n * _WARP // _BLOCK), _BLOCK),
                *(np.int32(n), *self._sum_parts, self._columns, table, sums, out),
            )
        if n_long:
            join_sums(
                *(-(-n_long * k // _BLOCK), _BLOCK),
                *(np.int32(n_long), self._long_rows.rows, self._firsts, sums, out),
            )
        return out
