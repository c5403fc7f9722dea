"""The value of the objective that training minimises (``docs/objective.md``)."""

from __future__ import annotations

from toolkit.predictor import predict_pairs
from toolkit.solver.factors import Factors
from toolkit.solver.training_data import TrainingData
from toolkit.solver.weights import bias_penalties, observation_weights, pattern_weight, penalties


def objective(factors: Factors, data: TrainingData) -> float:
    """Return the value of the objective in the unit of the ratings, squared; it is summed in float64.

    Parameters
    ----------
    factors : Factors
        Fitted numbers, on the device of `data`.
    data : TrainingData
        The ratings they were fitted on.
    """
    backend, xp, config = data.backend, data.backend.xp, factors.config
    x, y = factors.users.factors.astype("float64"), factors.items.factors.astype("float64")
    users, items, ratings = data.pairs
    w0 = config.unobserved_weight
    weight = backend.asarray(observation_weights(data.item_counts, config))
    error = (predict_pairs(factors, users, items, xp, clip=False) - ratings).astype("float64")
    fit = float((w0 + weight[items]) @ error**2)
    # Σ over all pairs of (x·y)² is a trace; the observed pairs are taken off it.
    dot = xp.einsum("nk,nk->n", x[users], y[items])
    unobserved = w0 * (float(xp.sum(backend.gram(x) * backend.gram(y))) - float(dot @ dot))
    penalty = pattern = 0.0
    for rows, side, own, other in (
        (data.users, factors.users, factors.user_pattern, y),
        (data.items, factors.items, factors.item_pattern, x),
    ):
        # A row without ratings has no penalty: it is zero.
        rated = rows.counts > 0
        scale = penalties(rows.counts, config, factors.spread) * rated
        square = xp.sum(side.factors.astype("float64") ** 2, axis=1)
        # A pair with a rating is 1 in the pattern and the others are 0. Without factors nothing is explained.
        pattern += len(ratings)
        if own is not None:
            explains = own.astype("float64")
            square += factors.spread**2 * xp.sum(explains**2, axis=1)
            seen = xp.einsum("nk,nk->n", backend.sum_rated(rows, other), explains)
            pattern += float(xp.sum(backend.gram(explains) * backend.gram(other))) - 2 * float(xp.sum(seen))
        penalty += float(scale @ square)
        penalty += float((bias_penalties(rows.counts, config) * rated) @ side.bias.astype("float64") ** 2)
    return fit + unobserved + penalty + pattern_weight(config, factors.spread) * pattern
