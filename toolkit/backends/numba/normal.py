"""From the normal equations to the compiled rows: tables of the fixed side, rows that need more precision."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np

from toolkit.backends.numba.rows import solve_batch
from toolkit.backends.rows import Batch, RatingRows
from toolkit.config import WALSConfig
from toolkit.predictor import Side

_Array = np.ndarray[Any, Any]
# Rows of a table begin at multiples of this many numbers.
_ALIGNED = 8


def batch_solver(
    ratings: RatingRows,
    fixed: Side,
    *,
    mean: float,
    config: WALSConfig,
    row_weight: Any,
    column_weight: Any,
    gram: Any,
    pull: Any,
    floor: float,
    visible: float,
    out: _Array,
) -> Callable[[Batch], None] | None:
    """Return what solves a batch of rows into `out`, or None where a weight is too small for this way.

    Parameters
    ----------
    ratings, fixed, mean, config, row_weight, column_weight
        As `toolkit.solver.normal.solve_rows`.
    gram : array of float, shape (k, k), or None
        What is added to the matrix of every row.
    pull : array of float, shape (n_rows, k), or None
        What is added to the right-hand side of each row.
    floor, visible : float
        A row with fewer ratings than unknowns is solved in double precision when its penalty + floor is below
        visible · trace.
    out : array, shape (n_rows, unknowns)
        Solutions; a row that has none becomes NaN.
    """
    if column_weight is not None and not (np.asarray(column_weight) >= np.finfo(out.dtype).tiny).all():
        return None
    w0, biased = config.unobserved_weight, config.bias == "full"
    penalty = config.regularization * ratings.host_counts.astype(np.float64) ** config.regularization_exponent

    made: dict[Any, tuple[Any, ...]] = {}
    making = threading.Lock()

    def tables(dtype: Any) -> tuple[Any, ...]:
        # All threads ask at once, and each table takes as much memory as the factors.
        with making:
            if dtype not in made:
                made[dtype] = make_tables(dtype)
            return made[dtype]

    def make_tables(dtype: Any) -> tuple[Any, ...]:
        none = np.zeros(0, dtype)
        scale, border = np.ones(ratings.n_columns, dtype), none
        table = np.zeros((ratings.n_columns, -(-out.shape[1] // _ALIGNED) * _ALIGNED), dtype)
        table[:, : config.factors] = fixed.factors
        if biased:
            table[:, config.factors] = 1
        if column_weight is not None:
            c = np.asarray(column_weight, dtype)
            root = np.sqrt(c)
            table *= root[:, None]
            scale = (c + dtype.type(w0)) / root
            border = dtype.type(w0) / root if w0 and biased else none
        return (
            ratings.values.astype(dtype, copy=False),
            table,
            scale,
            (fixed.bias + mean).astype(dtype),
            border,
            none if row_weight is None else np.asarray(row_weight, dtype),
            np.zeros((0, 0), dtype) if gram is None else np.asarray(gram, dtype),
            np.zeros((0, 0), dtype) if pull is None else np.asarray(pull, dtype),
            penalty.astype(dtype),
        )

    def run(dtype: Any, limit: float, rows: Any, starts: Any, counts: Any) -> tuple[_Array, _Array]:
        solved, failed = np.empty((len(rows), out.shape[1]), dtype), np.zeros(len(rows), np.bool_)
        solve_batch(
            rows,
            starts,
            counts,
            ratings.columns,
            *tables(dtype),
            float(w0),
            biased,
            floor,
            limit,
            solved,
            failed,
        )
        solved[failed] = np.nan
        return solved, failed

    def solve(batch: Batch) -> None:
        solved, failed = run(out.dtype, visible, batch.rows, batch.starts, batch.counts)
        out[batch.rows] = solved
        if failed.any() and out.dtype != np.float64:
            again = batch.rows[failed], batch.starts[failed], batch.counts[failed]
            out[again[0]] = run(np.dtype(np.float64), 0.0, *again)[0]

    return solve
