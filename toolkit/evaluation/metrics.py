"""How good factors are: predictions of rating pairs, RMSE, and the objective itself."""

from __future__ import annotations

import math
from typing import Any

from toolkit.backends.base import Backend
from toolkit.predictor import Predictor, Side
from toolkit.solver.factors import Factors
from toolkit.solver.pattern import sum_rated

# Pairs gathered at once, so that two factor rows of this many pairs are the only large temporaries.
_CHUNK = 1 << 16


def predict_pairs(factors: Predictor, users: Any, items: Any, xp: Any, *, clip: bool = True) -> Any:
    """Return the predicted ratings of pairs.

    Parameters
    ----------
    factors : Predictor
        Fitted numbers, on `xp`'s device.
    users, items : array of int, shape (n,)
        User rows and item columns.
    xp : module
        ``numpy`` or ``cupy``.
    clip : bool, default True
        Whether predictions are clipped to the rating scale, where the factors have one.

    Returns
    -------
    array of float, shape (n,)
    """
    predicted = xp.empty(len(users), factors.users.factors.dtype)
    for begin in range(0, len(users), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        own, other = factors.users.at(users[part]), factors.items.at(items[part])
        predicted[part] = predict_rows(own, other, factors, xp, clip=clip)
    return predicted


def predict_rows(users: Side, items: Side, factors: Predictor, xp: Any, *, clip: bool = True) -> Any:
    """Return the predicted ratings of users and items that lie beside each other.

    Parameters
    ----------
    users, items : Side
        Factors, shape (n, k), and biases, shape (n,).
    factors : Predictor
        Whose mean and scale they are predicted with.
    xp, clip
        As `predict_pairs`.

    Returns
    -------
    array of float, shape (n,)
    """
    predicted = xp.einsum("nk,nk->n", users.factors, items.factors) + users.bias + items.bias + factors.mean
    return xp.clip(predicted, *factors.scale) if clip and factors.scale else predicted


def pairs_on(backend: Backend, ratings: Any) -> tuple[Any, Any, Any]:
    """Return user rows, item columns and values of a sparse matrix as arrays on a backend's device."""
    coo = ratings.tocoo()
    return backend.asarray(coo.row), backend.asarray(coo.col), backend.asarray(coo.data)


def rmse(factors: Predictor, users: Any, items: Any, ratings: Any, backend: Backend) -> float | None:
    """Return the root mean squared error over pairs, accumulated in float64; None when there are none.

    Parameters
    ----------
    factors : Predictor
        Fitted numbers, on the device of `backend`; predictions are clipped where they have a rating scale.
    users, items : array of int, shape (n,)
        User rows and item columns.
    ratings : array of float, shape (n,)
        What they rated.
    backend : Backend
        Where it is computed.
    """
    if len(ratings) == 0:
        return None
    if backend.kernels:
        squares = backend.kernels.squared_errors(factors, users, items, ratings)
        if squares is not None:
            return math.sqrt(squares / len(ratings))
    parts = [slice(begin, begin + _CHUNK) for begin in range(0, len(ratings), _CHUNK)]
    errors = [0.0] * len(parts)

    def measure(at: int) -> None:
        u, i, r = users[parts[at]], items[parts[at]], ratings[parts[at]]
        if backend.compiled:
            from toolkit.backends.numba.squares import squared_error

            errors[at] = squared_error(factors, u, i, r)
        else:
            error = (predict_pairs(factors, u, i, backend.xp) - r).astype("float64")
            errors[at] = float(error @ error)

    backend.each(measure, range(len(parts)))
    # In the order of the parts, whatever thread was first.
    return math.sqrt(sum(errors) / len(ratings))


def objective(factors: Factors, data: Any) -> float:
    """Return the objective that training minimises (``docs/objective.md``), in float64.

    Parameters
    ----------
    factors : Factors
        Fitted numbers, on the device of `data`.
    data : TrainingData
        The ratings they were fitted on.
    """
    xp, config = data.backend.xp, factors.config
    x, y = factors.users.factors.astype("float64"), factors.items.factors.astype("float64")
    users, items, ratings = data.pairs
    w0 = config.unobserved_weight
    weight = data.backend.asarray(item_weights(data.item_counts, config))
    kernels = data.backend.kernels
    sums = kernels.objective_sums(factors, *data.pairs, weight) if kernels else None
    if sums is None:
        error = (predict_pairs(factors, users, items, xp, clip=False) - ratings).astype("float64")
        dot = xp.einsum("nk,nk->n", x[users], y[items])
        sums = float((w0 + weight[items]) @ error**2), float(dot @ dot)
    fit, observed = sums
    # Σ over all pairs of (x·y)² is a trace; what is observed is taken off again.
    unobserved = w0 * (float(xp.sum((x.T @ x) * (y.T @ y))) - observed)
    penalty = pattern = 0.0
    for rows, side, own, other in (
        (data.users, factors.users, factors.user_pattern, y),
        (data.items, factors.items, factors.item_pattern, x),
    ):
        counts = data.backend.asarray(rows.host_counts.astype("float64"))
        scale = xp.where(counts > 0, counts, 1) ** config.regularization_exponent * (counts > 0)
        square = xp.sum(side.factors.astype("float64") ** 2, axis=1) + side.bias.astype("float64") ** 2
        # Pairs with a rating are one and the others zero, of which nothing is explained yet without factors.
        pattern += len(ratings)
        if own is not None:
            explains = own.astype("float64")
            square += xp.sum(explains**2, axis=1)
            seen = xp.einsum("nk,nk->n", sum_rated(rows, other), explains)
            pattern += float(xp.sum((explains.T @ explains) * (other.T @ other))) - 2 * float(xp.sum(seen))
        penalty += config.regularization * float(scale @ square)
    return fit + unobserved + penalty + config.pattern_weight * pattern


def item_weights(item_counts: Any, config: Any) -> Any:
    """Return c, the weight of an observed rating of each item: ``observed_weight · n^(−weight_exponent)``.

    Parameters
    ----------
    item_counts : numpy array of int, shape (n_items,)
        Observed ratings of each item; an item without ratings gets the weight of one with one rating.
    config : WALSConfig
        The hyperparameters.

    Returns
    -------
    numpy array of float64, shape (n_items,)
    """
    return config.observed_weight * item_counts.clip(min=1).astype("float64") ** -config.weight_exponent
