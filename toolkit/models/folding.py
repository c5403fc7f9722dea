"""Fold-in: factors of new users and items from their ratings, by the normal equations of training."""

from __future__ import annotations

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray, Ratings
from toolkit.backends.base import Backend
from toolkit.backends.rows import RatingRows
from toolkit.evaluation.metrics import item_weights
from toolkit.predictor import Side
from toolkit.solver.factors import Factors
from toolkit.solver.normal import solve_rows
from toolkit.solver.pattern import solve_pattern

# Rows of a table that are summed at once.
_CHUNK = 1 << 12


def item_gram(factors: Factors) -> FloatArray | None:
    """Return the sums over all items that the normal equations of every user hold.

    Parameters
    ----------
    factors : Factors
        In host memory.

    Returns
    -------
    array of float64, shape (k, k), or None
        w0 YᵀY + α QᵀQ of the item factors Y and the pattern factors Q; None where both weights are 0.
    """
    config = factors.config
    tables = [
        (config.unobserved_weight, factors.items.factors),
        (config.pattern_weight, factors.item_pattern),
    ]
    used = [(weight, table) for weight, table in tables if weight and table is not None]
    if not used:
        return None
    total = np.zeros((config.factors, config.factors))
    for weight, table in used:
        for begin in range(0, len(table), _CHUNK):
            part = np.asarray(table[begin : begin + _CHUNK], np.float64)
            total += weight * (part.T @ part)
    return total


def fold_in_users(
    factors: Factors,
    ratings: Ratings,
    weight_counts: IntArray,
    *,
    gram: FloatArray | None,
    backend: Backend,
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

    Returns
    -------
    Side
        Arrays of shape (n, k) and (n,); zeros for a user without ratings.

    Raises
    ------
    SolverError
        When the equations of a row have no finite solution.
    """
    dtype = factors.items.factors.dtype
    return solve_rows(
        RatingRows(ratings, backend, str(dtype)),
        Side(np.asarray(factors.items.factors), np.asarray(factors.items.bias)),
        mean=factors.mean,
        config=factors.config,
        column_weight=item_weights(np.asarray(weight_counts), factors.config).astype(dtype),
        pattern=factors.item_pattern,
    )


def fold_in_items(factors: Factors, ratings: Ratings, rated: Ratings, *, backend: Backend) -> Side:
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

    Returns
    -------
    Side
        Arrays of shape (n, k) and (n,); zeros for an item without ratings.

    Raises
    ------
    SolverError
        When the equations of a row have no finite solution.
    """
    dtype = factors.users.factors.dtype
    rows = RatingRows(ratings, backend, str(dtype))
    return solve_rows(
        rows,
        Side(np.asarray(factors.users.factors), np.asarray(factors.users.bias)),
        mean=factors.mean,
        config=factors.config,
        row_weight=item_weights(rows.host_counts, factors.config).astype(dtype),
        pattern=_user_pattern(factors, rated, backend),
    )


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
    array of float, shape (n, k)
    """
    rows = RatingRows(ratings, backend, str(factors.users.factors.dtype))
    pattern: Array = solve_pattern(rows, np.asarray(factors.users.factors), factors.config)
    return pattern


def _user_pattern(factors: Factors, rated: Ratings, backend: Backend) -> Array | None:
    # Training computes it at the beginning of each iteration, for the items before that iteration.
    if not factors.config.pattern_weight:
        return None
    rows = RatingRows(rated, backend, str(factors.items.factors.dtype))
    pattern: Array = solve_pattern(rows, np.asarray(factors.items.factors), factors.config)
    return pattern
