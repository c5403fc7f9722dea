"""Draws of factors moved to lie as those before them: their predictions stay the same.

Users may be stretched and turned where items are shrunk and turned as much, and what all users have in common
may be counted to the biases of the items, and the reverse: no prediction changes. So a chain wanders among
factors that mean the same, and the product of the means of factors that lie differently is not the mean of
their products. Both sides are shifted to a mean of zero, stretched until they have the same second
moments, and turned to the sum of the draws so far (orthogonal Procrustes).

References
----------
P. H. Schönemann, "A generalized solution of the orthogonal Procrustes problem", Psychometrika 31(1), 1966;
R. Bhatia, "Positive Definite Matrices", Princeton 2007, chapter 4, for the geometric mean of two matrices.
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

# The least eigenvalue of moments by the largest, or by their mean square.
_LEAST = 1e-10


class Aligned(NamedTuple):
    """A draw that lies as those before it."""

    users: Side
    items: Side
    user_prior: Prior
    item_prior: Prior
    item_pattern: DeviceArray | None


def aligned(draw: Factors, before: tuple[DeviceArray, DeviceArray] | None, *, backend: Backend) -> Aligned:
    """Return a draw shifted, stretched and turned.

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
        Without fitted biases, it is not shifted.
    """
    k, biased = draw.config.factors, draw.config.bias == "full"
    x, y = draw.users.factors, draw.items.factors
    at_x, at_y = (_mean(side, backend) if biased else np.zeros(k) for side in (x, y))
    stretch = _balancing(_moments(x, at_x, backend), _moments(y, at_y, backend))
    back = np.linalg.inv(stretch)
    turn = np.eye(k)
    if before is not None and k:
        # The draws before have a mean of zero: that of this one adds nothing to the products.
        to_x, to_y = (backend.to_numpy(s.T @ b) for s, b in zip((x, y), before, strict=True))
        left, _, right = np.linalg.svd(stretch @ np.asarray(to_x, "f8") + back @ np.asarray(to_y, "f8"))
        turn = left @ right
    # The one is the inverse of the other's transpose: products of users and items stay as they are.
    move_x, move_y = stretch @ turn, back @ turn
    assert draw.user_prior is not None  # noqa: S101 - a draw has priors
    assert draw.item_prior is not None  # noqa: S101
    users = _moved(draw.users, at_x, at_y, move_x, backend)
    items = _moved(draw.items, at_y, at_x, move_y, backend)
    # Of x·y, all of t_x·t_y is counted to the users' biases.
    items = Side(items.factors, items.bias - float(at_x @ at_y) if biased else items.bias)
    user_prior = _moved_prior(draw.user_prior, at_x, at_y, move_x, 0.0)
    item_prior = _moved_prior(draw.item_prior, at_y, at_x, move_y, -float(at_x @ at_y))
    pattern = draw.item_pattern
    if pattern is not None:
        weight, q = pattern_weight(draw.config, draw.spread), backend.to_numpy(pattern.T @ pattern)
        # What the mean of the users explains of who rated what is no longer explained by the factors.
        user_prior.pull[:k] -= weight * move_y.T @ (q @ at_x)
        pattern = pattern @ backend.asarray(move_y, pattern.dtype)
    return Aligned(users, items, user_prior, item_prior, pattern)


def _moments(factors: DeviceArray, at: FloatArray, backend: Backend) -> FloatArray:
    """Return the mean of the outer products of rows with themselves, around their mean.

    A small share of their mean square is added: rows may all be the same, as the only one of a side is.
    """
    gram: FloatArray = backend.to_numpy(backend.gram(factors, "float64")) / max(len(factors), 1)
    moments: FloatArray = gram - np.outer(at, at) + _LEAST * gram.trace() * np.eye(len(at))
    return moments


def _balancing(of_x: FloatArray, of_y: FloatArray) -> FloatArray:
    """Return the symmetric matrix A for which the moments of x A and of y A⁻¹ are the same.

    A² is the geometric mean of the moments of y and the inverse of those of x.
    """
    if not (of_x.any() and of_y.any()):
        return np.eye(len(of_x))
    root, inverse = _power(of_x, 0.5), _power(of_x, -0.5)
    return _power(inverse @ _power(root @ of_y @ root, 0.5) @ inverse, 0.5)


def _power(matrix: FloatArray, exponent: float) -> FloatArray:
    """Return a power of a symmetric positive matrix, whose least eigenvalues are kept above zero."""
    values, vectors = np.linalg.eigh(matrix)
    powered: FloatArray = (vectors * values.clip(min=_LEAST * values.max()) ** exponent) @ vectors.T
    return powered


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
