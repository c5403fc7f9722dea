"""Which of a user's ratings a prediction comes from: an exact sum over them.

A user's factors solve a linear system whose right side is a sum over what the user rated
(`toolkit.solver.normal`), so a prediction is such a sum, too (Hu, Koren and Volinsky, ICDM 2008, section 5;
here with biases). With A the user's matrix, and z and c as there, rating j adds to the prediction of item i

    [y_i, 1]ᵀ A⁻¹ ( (w0 + c_j) (r_j − μ − b_j) z_j  +  σ² w_p [q_j, 0] )

The last term, of the pattern factors q, is there with a ``pattern_weight`` w_p: it is what the fact adds that
j was rated at all. In a posterior, the prior of the users adds [y_i, 1]ᵀ A⁻¹ g beside the ratings, with g
its pull (`toolkit.solver.Prior`).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray, Ratings
from toolkit.backends import Backend
from toolkit.datasets import IdTable
from toolkit.models.folding import fold_in_users, user_half_step
from toolkit.predictor import Predictor
from toolkit.solver import Factors, observation_weights, pattern_weight, row_equations


class Explanation(NamedTuple):
    """Where a predicted rating comes from: ``base`` and the contributions add up to ``score``.

    Attributes
    ----------
    score : float
        The predicted rating, not clipped, that the user's ratings give with the items as they are.
    base : float
        The part that comes from no rating of the user: the mean and the item's bias, and in a posterior what
        the prior of the users adds.
    items : array of ids, shape (n,)
        The items that the user rated, by contribution, the largest first.
    ratings : array of float, shape (n,)
        The user's rating of each of these items.
    contributions : array of float, shape (n,)
        What each rating adds, in rating units.
    """

    score: float
    base: float
    items: Array
    ratings: FloatArray
    contributions: FloatArray


class Contributions(NamedTuple):
    """What predictions of m items come from.

    Attributes
    ----------
    of_ratings : array of float64, shape (m, n_rated)
        What each rating of the user adds, in the order of the row's columns.
    of_prior : array of float64, shape (m,)
        What the prior of the users adds; 0 where there is none.
    """

    of_ratings: FloatArray
    of_prior: FloatArray


def explanations(
    parts: Contributions, rated: Ratings, items: IntArray, *, factors: Predictor, ids: IdTable
) -> list[Explanation]:
    """Return an explanation of each prediction, from what each rating adds to it.

    Parameters
    ----------
    parts : Contributions
        What `contributions` returns.
    rated : scipy.sparse CSR, shape (1, n_items)
        The user's ratings.
    items : array of int, shape (m,)
        Row numbers of the items that are predicted.
    factors : Predictor
        The mean and the biases of the items.
    ids : IdTable
        The ids of the items.
    """
    explained = []
    for item, contribution, prior in zip(items, parts.of_ratings, parts.of_prior, strict=True):
        base = float(factors.mean + factors.items.bias[item] + prior)
        order = np.argsort(-contribution, kind="stable")
        explained.append(
            Explanation(
                base + float(contribution.sum()),
                base,
                ids.at(rated.indices[order]),
                rated.data[order],
                contribution[order],
            )
        )
    return explained


def contributions(
    factors: Factors, rated: Ratings, items: IntArray, weight_counts: IntArray, *, gram: FloatArray | None
) -> Contributions:
    """Return what each rating of a user adds to the predictions of some items.

    Parameters
    ----------
    factors : Factors
        Those of one training, in host memory.
    rated : scipy.sparse CSR, shape (1, n_items)
        The user's ratings.
    items : array of int, shape (m,)
        Row numbers of the items.
    weight_counts : array of int64, shape (n_items,)
        The number of ratings of each item, which the weight of an observed rating depends on.
    gram : array of float64, shape (k, k), or None
        What `toolkit.models.folding.item_gram` returns for these factors.

    Returns
    -------
    Contributions
        With the mean and an item's bias they add up to the prediction.

    Raises
    ------
    SolverError
        When the user's equations have no finite solution.
    """
    if not rated.nnz:
        return Contributions(np.empty((len(items), 0)), _of_average(factors, items))
    backend, config = Backend(threads=1), factors.config
    # What cannot be folded in cannot be explained.
    fold_in_users(factors, rated, weight_counts, gram=gram, backend=backend)
    step = user_half_step(factors, rated, weight_counts, gram=gram, backend=backend, dtype="float64")
    left, _ = row_equations(step)
    ones = step.unknowns - config.factors
    z, targets = (
        _with_ones(np.asarray(factors.items.factors[rows], np.float64), ones)
        for rows in (rated.indices, items)
    )
    direction = np.linalg.solve(left, targets.T).T  # (m, unknowns)
    weight = config.unobserved_weight + observation_weights(weight_counts[rated.indices], config)
    residual = rated.data - factors.mean - factors.items.bias[rated.indices]
    parts: FloatArray = weight * residual * (direction @ z.T)
    if factors.item_pattern is not None:
        pattern = np.asarray(factors.item_pattern[rated.indices], np.float64)
        parts += pattern_weight(config, factors.spread) * (direction[:, : config.factors] @ pattern.T)
    prior = factors.user_prior
    return Contributions(parts, np.zeros(len(items)) if prior is None else direction @ prior.pull)


def _of_average(factors: Factors, items: IntArray) -> FloatArray:
    """Return what the prior adds to the predictions for a user without ratings."""
    if factors.user_prior is None:
        return np.zeros(len(items))
    rows = np.asarray(factors.items.factors[items], np.float64)
    mean = factors.user_prior.mean
    return _with_ones(rows, len(mean) - rows.shape[1]) @ mean


def _with_ones(factors: FloatArray, columns: int) -> FloatArray:
    return np.hstack([factors, np.ones((len(factors), columns))])
