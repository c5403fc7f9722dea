"""Which of a user's ratings a prediction comes from: an exact sum over them.

A user's factors solve a linear system whose right side is a sum over what they rated
(`toolkit.solver.normal`), so a prediction is such a sum, too (Hu, Koren and Volinsky, ICDM 2008, section 5;
here with biases). With A the user's matrix, and z and c as there, rating j adds to the prediction of item i

    [y_i, 1]ᵀ A⁻¹ ( (w0 + c_j) (r_j − μ − b_j) z_j  +  α [q_j, 0] )

where the last term, of the pattern factors q, is there with a ``pattern_weight`` α: that j was rated at all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from toolkit.backends import Backend
from toolkit.errors import ConfigError
from toolkit.inputs import checked_ratings
from toolkit.predictor import Side
from toolkit.solver import Factors, observation_weights
from toolkit.solver.normal import half_step, row_equations

if TYPE_CHECKING:
    import scipy.sparse as sp

    from toolkit.models.base import Model


class Explanation(NamedTuple):
    """Where a predicted rating comes from: ``base`` and the contributions add up to ``score``.

    Attributes
    ----------
    score : float
        The predicted rating, not clipped, by what the user's ratings say with the items as they are.
    base : float
        The part that is the same for every user: the mean and the item's bias.
    items : array of ids, shape (n,)
        What the user rated, by contribution, the largest first.
    ratings : array of float, shape (n,)
        How.
    contributions : array of float, shape (n,)
        What each rating adds, in rating units.
    """

    score: float
    base: float
    items: np.ndarray[Any, Any]
    ratings: np.ndarray[Any, Any]
    contributions: np.ndarray[Any, Any]


def explanations(model: Model, ratings: Any, items: Any) -> list[Explanation]:
    """Return where the predictions of some items for one user come from; as `toolkit.Model.explain`.

    Parameters
    ----------
    model : Model
    ratings : scipy.sparse matrix, shape (1, n_items)
        The user's ratings.
    items : array-like of ids, shape (m,)
        Which items.
    """
    ratings = checked_ratings(ratings, "float64")
    if ratings.shape != (1, len(model.items)):
        raise ConfigError(
            f"ratings must be a row of {len(model.items)} items, but have the shape {ratings.shape}"
        )
    columns = model.items.rows(items)
    found = []
    for column, parts in zip(columns, model.contributions(ratings, columns), strict=True):
        base = float(model.factors.mean + model.factors.items.bias[column])
        order = np.argsort(-parts, kind="stable")
        rated = model.items.ids[ratings.indices[order]]
        found.append(Explanation(base + float(parts.sum()), base, rated, ratings.data[order], parts[order]))
    return found


def contributions(
    factors: Factors, rated: sp.csr_matrix, items: Any, item_counts: Any
) -> np.ndarray[Any, Any]:
    """Return what each rating of a user adds to the predictions of some items.

    Parameters
    ----------
    factors : Factors
        Of one training, in host memory.
    rated : scipy.sparse CSR, shape (1, n_items)
        The user's ratings.
    items : array of int, shape (m,)
        Columns of the items.
    item_counts : array of int, shape (n_items,)
        Training ratings of each item.

    Returns
    -------
    array of float64, shape (m, rated.nnz)
        In the order of the row's columns; with the mean and an item's bias they add up to the prediction.
    """
    config = factors.config
    y, bias = np.asarray(factors.items.factors, np.float64), np.asarray(factors.items.bias, np.float64)
    if not rated.nnz:
        return np.empty((len(items), 0))
    weight = observation_weights(np.asarray(item_counts), config)
    pattern = None if factors.item_pattern is None else np.asarray(factors.item_pattern, np.float64)
    backend = Backend(threads=1)
    step = half_step(
        backend.rows(rated, "float64"),
        Side(y, bias),
        backend=backend,
        mean=factors.mean,
        config=config,
        column_weight=weight,
        pattern=pattern,
    )
    left, _ = row_equations(step)
    ones = np.ones((len(y), left.shape[0] - y.shape[1]))
    j = rated.indices
    z = np.hstack([y[j], ones[j]])  # (n, unknowns)
    direction = np.linalg.solve(left, np.hstack([y[items], ones[items]]).T).T  # (m, unknowns)
    residual = (config.unobserved_weight + weight[j]) * (rated.data - factors.mean - bias[j])
    found: np.ndarray[Any, Any] = residual * (direction @ z.T)
    if pattern is not None:
        found += config.pattern_weight * (direction[:, : y.shape[1]] @ pattern[j].T)
    return found
