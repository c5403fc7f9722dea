"""Fold-in: factors of new users and items from their ratings, by the normal equations of training.

All items matter for a user only by sums over them, which are the same for every user. With these sums at
hand, the equations need nothing but the rows of the items that were rated, and cost no more with more items.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import Array, FloatArray, IntArray, Ratings
from toolkit.backends import Backend, HalfStep
from toolkit.predictor import Side
from toolkit.solver import (
    Factors,
    half_step,
    observation_weights,
    pattern_weight,
    perturbed,
    shared_gram,
    solve,
    solve_pattern,
)


class Draw(NamedTuple):
    """What rows are drawn with, given the other side: the noise of a rating, and a key of chance."""

    noise: float
    key: tuple[int, ...]


def item_gram(factors: Factors) -> FloatArray | None:
    """Return the sums over all items that the normal equations of every user hold.

    Parameters
    ----------
    factors : Factors
        In host memory.

    Returns
    -------
    array of float64, shape (k, k), or None
        w0 YᵀY + σ² w_p QᵀQ of the item factors Y and the pattern factors Q; None where neither is asked for.
    """
    return shared_gram(
        factors.items.factors,
        factors.item_pattern,
        factors.config,
        factors.spread,
        backend=Backend(threads=1),
        dtype="float64",
    )


def user_half_step(
    factors: Factors,
    ratings: Ratings,
    weight_counts: IntArray,
    *,
    gram: FloatArray | None,
    backend: Backend,
    dtype: str | None = None,
) -> HalfStep:
    """Return the least-squares problems of users, with the items fixed.

    Where there are fewer ratings than items, the rows of the rated items alone are read.

    Parameters
    ----------
    factors : Factors
        Those of one training, in host memory.
    ratings : scipy.sparse CSR, shape (n, n_items)
        One row per user, as `toolkit.inputs.checked_ratings` returns it.
    weight_counts : array of int64, shape (n_items,)
        The number of ratings of each item, which the weight of an observed rating depends on.
    gram : array of float64, shape (k, k), or None
        What `item_gram` returns for these factors.
    backend : Backend
        Where the rows will be solved.
    dtype : {"float32", "float64"}, optional
        Precision; by default that of the factors.

    Returns
    -------
    HalfStep

    Raises
    ------
    SolverError
        When a row has fewer ratings than unknowns and nothing else determines it.
    """
    dtype = dtype or str(factors.items.factors.dtype)
    chosen: IntArray | slice = slice(None)
    if ratings.nnz < ratings.shape[1]:
        chosen, columns = np.unique(ratings.indices, return_inverse=True)
        shape = (ratings.shape[0], len(chosen))
        ratings = sp.csr_matrix((ratings.data, columns, ratings.indptr), shape=shape)
    fixed, pattern = factors.items.at(chosen), factors.item_pattern
    return half_step(
        backend.rows(ratings, dtype),
        backend.side(fixed, dtype),
        backend=backend,
        config=factors.config,
        mean=factors.mean,
        spread=factors.spread,
        column_weight=observation_weights(weight_counts[chosen], factors.config).astype(dtype),
        pattern=None if pattern is None else backend.asarray(pattern[chosen], dtype),
        gram=gram,
        n_fixed=len(factors.items.bias),
        prior=factors.user_prior,
    )


def fold_in_users(
    factors: Factors,
    ratings: Ratings,
    weight_counts: IntArray,
    *,
    gram: FloatArray | None,
    backend: Backend,
    draw: Draw | None = None,
) -> Side:
    """Return factors and biases of users from their ratings.

    Parameters
    ----------
    factors : Factors
        Those of one training, in host memory.
    ratings : scipy.sparse CSR, shape (n, n_items)
        One row per user, as `toolkit.inputs.checked_ratings` returns it.
    weight_counts : array of int64, shape (n_items,)
        The number of ratings of each item, which the weight of an observed rating depends on.
    gram : array of float64, shape (k, k), or None
        What `item_gram` returns for these factors.
    backend : Backend
        Where the rows are solved.
    draw : Draw, optional
        What the rows are drawn with, in place of their means, where the factors are a draw.

    Returns
    -------
    Side
        Arrays of shape (n, k) and (n,), in host memory. A user without ratings is zero, or the mean of the
        prior where there is one.

    Raises
    ------
    SolverError
        When the equations of a row have no finite solution.
    """
    step = user_half_step(factors, ratings, weight_counts, gram=gram, backend=backend)
    return _solved(step, draw, backend)


def fold_in_items(
    factors: Factors, ratings: Ratings, rated: Ratings, *, backend: Backend, draw: Draw | None = None
) -> Side:
    """Return factors and biases of items from the ratings they got; their weights depend on these ratings.

    Parameters
    ----------
    factors : Factors
        Those of one training, in host memory.
    ratings : scipy.sparse CSR, shape (n, n_users)
        One row per item, as `toolkit.inputs.checked_ratings` returns it.
    rated : scipy.sparse CSR, shape (n_users, n_items)
        The ratings of the model, which pattern factors of the users are computed from.
    backend : Backend
        Where the rows are solved.
    draw : Draw, optional
        As `fold_in_users`.

    Returns
    -------
    Side
        Arrays of shape (n, k) and (n,), in host memory. An item without ratings is zero, or the mean of the
        prior where there is one.

    Raises
    ------
    SolverError
        When the equations of a row have no finite solution.
    """
    dtype = str(factors.users.factors.dtype)
    rows = backend.rows(ratings, dtype)
    pattern = None
    if pattern_weight(factors.config, factors.spread):
        # Training computes it at the beginning of each iteration, for the items before that iteration.
        pattern = _pattern(rated, factors.items, factors, backend)
    step = half_step(
        rows,
        backend.side(factors.users),
        backend=backend,
        config=factors.config,
        mean=factors.mean,
        spread=factors.spread,
        row_weight=backend.asarray(observation_weights(rows.host_counts, factors.config), dtype),
        pattern=None if pattern is None else backend.asarray(pattern),
        prior=factors.item_prior,
    )
    return _solved(step, draw, backend)


def item_pattern(factors: Factors, ratings: Ratings, *, backend: Backend) -> Array:
    """Return the pattern factors of items from who rated them.

    Parameters
    ----------
    factors : Factors
        Those of one training, in host memory.
    ratings : scipy.sparse CSR, shape (n, n_users)
        One row per item.
    backend : Backend
        Where they are computed.

    Returns
    -------
    array of float, shape (n, k), in host memory
    """
    return _pattern(ratings, factors.users, factors, backend)


def _pattern(ratings: Ratings, fixed: Side, factors: Factors, backend: Backend) -> Array:
    rows = backend.rows(ratings, str(fixed.factors.dtype))
    other, spread = backend.asarray(fixed.factors), factors.spread
    sums = backend.sum_rated(rows, other)
    return backend.to_numpy(
        solve_pattern(rows, other, factors.config, spread=spread, backend=backend, sums=sums)
    )


def _solved(step: HalfStep, draw: Draw | None, backend: Backend) -> Side:
    if draw is not None:
        step = perturbed(step, draw.noise, draw.key, backend=backend)
    side = solve(step, backend=backend)
    return Side(backend.to_numpy(side.factors), backend.to_numpy(side.bias))
