"""Sums of squared errors, pair after pair, without arrays of gathered factors."""

from __future__ import annotations

import math

from toolkit.arrays import FloatArray, IntArray
from toolkit.backends.numba.compiling import Kernel
from toolkit.backends.rows import Batch, RatingRows
from toolkit.predictor import Predictor


def squared_error(predictor: Predictor, users: IntArray, items: IntArray, ratings: FloatArray) -> float:
    """Return the sum over pairs of (prediction − rating)², accumulated in float64.

    Parameters
    ----------
    predictor : Predictor
        In host memory; predictions are clipped where it has a rating scale.
    users, items : array of int, shape (n,)
        User rows and item columns.
    ratings : array of float, shape (n,)
        What they rated.
    """
    low, high = predictor.scale or (-math.inf, math.inf)
    (x, user_bias), (y, item_bias) = predictor.users, predictor.items
    return float(_sum(x, y, user_bias, item_bias, predictor.mean, low, high, users, items, ratings))


def row_errors(
    predictor: Predictor, batch: Batch, rows: RatingRows, item_weight: FloatArray, out: FloatArray
) -> None:
    """Put the sum over ratings of (prediction − rating)² of each row of a batch into `out`.

    Parameters
    ----------
    predictor : Predictor
        In host memory; its users are the rows.
    batch : Batch
        Of these rows.
    rows : RatingRows
    item_weight : array of float, shape (n_items,) or (0,)
        Weights of the squares in the second column of `out`.
    out : array of float64, shape (n_rows, 1) or (n_rows, 2)
    """
    low, high = predictor.scale or (-math.inf, math.inf)
    (x, user_bias), (y, item_bias) = predictor.users, predictor.items
    _sum_rows(
        *(batch.rows, batch.starts, batch.counts, rows.columns, rows.values),
        *(x, y, user_bias, item_bias, predictor.mean, low, high, item_weight, out),
    )


@Kernel
def _sum_rows(  # type: ignore[no-untyped-def]
    rows, starts, counts, columns, values, x, y, user_bias, item_bias, mean, low, high, item_weight, out
):
    for n in range(len(rows)):
        u, total, weighted = rows[n], 0.0, 0.0
        for at in range(starts[n], starts[n] + counts[n]):
            i = columns[at]
            dot = x.dtype.type(0)
            for j in range(x.shape[1]):
                dot += x[u, j] * y[i, j]
            predicted = dot + user_bias[u] + item_bias[i] + mean
            error = min(max(predicted, low), high) - values[at]
            total += error * error
            if len(item_weight):
                weighted += item_weight[i] * (error * error)
        out[u, 0] = total
        if len(item_weight):
            out[u, 1] = weighted


@Kernel
def _sum(x, y, user_bias, item_bias, mean, low, high, users, items, ratings):  # type: ignore[no-untyped-def]
    total = 0.0
    for at in range(len(ratings)):
        u, i = users[at], items[at]
        dot = x.dtype.type(0)
        for j in range(x.shape[1]):
            dot += x[u, j] * y[i, j]
        predicted = dot + user_bias[u] + item_bias[i] + mean
        error = min(max(predicted, low), high) - ratings[at]
        total += error * error
    return total
