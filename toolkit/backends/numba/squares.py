"""Sums of squared errors, pair after pair, without arrays of gathered factors."""

from __future__ import annotations

import math

from toolkit.arrays import FloatArray, IntArray
from toolkit.backends.numba.compiling import Kernel
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
