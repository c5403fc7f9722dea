"""Sums of squared errors, pair after pair, without arrays of gathered factors."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from toolkit.backends.numba.rows import compiled

if TYPE_CHECKING:
    from toolkit.predictor import Predictor


def squared_error(factors: Predictor, users: Any, items: Any, ratings: Any) -> float:
    """Return the sum over pairs of (prediction − rating)², float64; as `toolkit.evaluation.metrics.rmse`."""
    low, high = factors.scale or (-math.inf, math.inf)
    (x, user_bias), (y, item_bias) = factors.users, factors.items
    return float(_sum(x, y, user_bias, item_bias, factors.mean, low, high, users, items, ratings))


@compiled
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
