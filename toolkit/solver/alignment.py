"""Draws of factors turned and shifted to lie as those before them: their predictions stay the same.

Users and items may be turned together, and what all users have in common may be counted to the biases of the
items, and the reverse: no prediction changes. So a chain wanders among factors that mean the same, and the
mean of factors that lie differently would shrink. Both sides are shifted to a mean of zero, and turned
to the sum of the draws so far (orthogonal Procrustes).

References
----------
P. H. Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31(1), 1966.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from toolkit.arrays import DeviceArray, FloatArray
from toolkit.backends import Backend
from toolkit.predictor import Side
from toolkit.solver.factors import Factors
from toolkit.solver.prior import Prior
from toolkit.solver.weights import pattern_weight


class Aligned(NamedTuple):
    """A draw that lies as those before it."""

    users: Side
    items: Side
    user_prior: Prior
    item_prior: Prior
    item_pattern: DeviceArray | None


def aligned(draw: Factors, before: tuple[DeviceArray, DeviceArray] | None, *, backend: Backend) -> Aligned:
    """Return a draw turned and shifted.

    Parameters
    ----------
    draw : Factors
        With priors, on the device.
    before : tuple of arrays, shape (n_users, k) and (n_items, k), or None
        Sums of the factors that the draw is turned to; None for the first draw.
    backend : Backend
        Where the arrays are.

    Returns
    -------
    Aligned
        Without fitted biases, it is turned and not shifted.
    """
    k, biased = draw.config.factors, draw.config.bias == "full"
    x, y = draw.users.factors, draw.items.factors
    at_x, at_y = (_mean(side, backend) if biased else np.zeros(k) for side in (x, y))
    turn = np.eye(k)
    if before is not None and k:
        # The draws before have a mean of zero: that of this one adds nothing to the products.
        common = backend.to_numpy(x.T @ before[0] + y.T @ before[1])
        left, _, right = np.linalg.svd(np.asarray(common, np.float64))
        turn = left @ right
    assert draw.user_prior is not None  # noqa: S101 - a draw has priors
    assert draw.item_prior is not None  # noqa: S101
    users = _moved(draw.users, at_x, at_y, turn, backend)
    items = _moved(draw.items, at_y, at_x, turn, backend)
    # Of x·y, all of t_x·t_y is counted to the users' biases.
    items = Side(items.factors, items.bias - float(at_x @ at_y) if biased else items.bias)
    user_prior = _moved_prior(draw.user_prior, at_x, at_y, turn, 0.0)
    item_prior = _moved_prior(draw.item_prior, at_y, at_x, turn, -float(at_x @ at_y))
    pattern = draw.item_pattern
    if pattern is not None:
        weight, q = pattern_weight(draw.config, draw.spread), backend.to_numpy(pattern.T @ pattern)
        # What the mean of the users explains of who rated what is no longer explained by the factors.
        user_prior.pull[:k] -= weight * turn.T @ (q @ at_x)
        pattern = pattern @ backend.asarray(turn, pattern.dtype)
    return Aligned(users, items, user_prior, item_prior, pattern)


def _mean(factors: DeviceArray, backend: Backend) -> FloatArray:
    return backend.to_numpy(factors.mean(axis=0, dtype="float64"))


def _moved(side: Side, at: FloatArray, other: FloatArray, turn: FloatArray, backend: Backend) -> Side:
    x, dtype = side.factors, side.factors.dtype
    shift, to_bias, turned = (backend.asarray(each, dtype) for each in (at, other, turn))
    return Side((x - shift) @ turned, side.bias + x @ to_bias)


def _moved_prior(prior: Prior, at: FloatArray, other: FloatArray, turn: FloatArray, constant: float) -> Prior:
    """Return the prior of the moved rows, which are ``v @ matrix + offset`` for each row v."""
    k, m = len(at), len(prior.mean)
    matrix, offset = np.eye(m), np.zeros(m)
    matrix[:k, :k], offset[:k] = turn, -at @ turn
    if m > k:
        matrix[:k, k], offset[k] = other, constant
    back = np.linalg.inv(matrix)
    return Prior.of(prior.mean @ matrix + offset, back @ prior.precision @ back.T, prior.per_rating)
