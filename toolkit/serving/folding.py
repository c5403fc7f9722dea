"""Fold-in at the speed of a request: what of it is the same for everybody is computed once.

`toolkit.solver.normal.solve_rows` takes a user's ratings and the factors of all items. Those of the rated
items it needs one by one. All others matter only by YᵀY, a sum over them, so k rows R with RᵀR = YᵀY − Σ y
yᵀ, summed over the rated ones, stand for them: the normal equations are the same, and cost no more with more
items.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import numpy as np
import scipy.sparse as sp

from toolkit.backends import Backend
from toolkit.models.base import Model
from toolkit.models.ensemble import Ensemble, combine
from toolkit.models.wals import WALS
from toolkit.predictor import Side
from toolkit.solver import Factors, observation_weights
from toolkit.solver.normal import half_step, solve

_Array = np.ndarray[Any, Any]
# Rows that are summed at once.
_CHUNK = 1 << 16


class FoldIn:
    """Solves new users of a model, as `toolkit.Model.fold_in` does.

    Parameters
    ----------
    model : Model
        A training, or an ensemble of some.
    """

    def __init__(self, model: Model) -> None:
        if isinstance(model, Ensemble):
            self._members: list[WALS] = model.members
            self._weights = model.weights
        else:
            self._members, self._weights = [cast("WALS", model)], [1.0]
        self._sums = [_sums(member.factors) for member in self._members]

    def __call__(self, ratings: sp.csr_matrix) -> Side:
        """Return factors and biases of new users.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_items)
            A row for each, with at least one rating.

        Returns
        -------
        Side
            Arrays of shape (n, k) and (n,).
        """
        columns, narrow = np.unique(ratings.indices, return_inverse=True)
        solved = []
        for member, sums in zip(self._members, self._sums, strict=True):
            small, counts = _narrowed(member, columns, *sums)
            shape = (ratings.shape[0], len(counts))
            matrix = sp.csr_matrix((ratings.data, narrow, ratings.indptr), shape=shape)
            matrix.sort_indices()
            dtype = small.items.factors.dtype
            backend = Backend(threads=1)
            step = half_step(
                backend.rows(matrix, str(dtype)),
                small.items,
                backend=backend,
                mean=small.mean,
                config=small.config,
                column_weight=observation_weights(counts, small.config).astype(dtype),
                pattern=small.item_pattern,
            )
            users = solve(step, backend=backend)
            # Their items differ in number, and are not asked for.
            solved.append(replace(small, users=users, items=users))
        return combine(solved, self._weights).users


def _sums(factors: Factors) -> tuple[_Array | None, _Array | None]:
    """Return YᵀY of the factors, and of the pattern factors, in float64; None where it is not asked for."""
    gram = _gram(factors.items.factors) if factors.config.unobserved_weight else None
    return gram, None if factors.item_pattern is None else _gram(factors.item_pattern)


def _gram(table: Any) -> _Array:
    parts = (np.asarray(table[at : at + _CHUNK], np.float64) for at in range(0, len(table), _CHUNK))
    total: _Array = sum((part.T @ part for part in parts), np.zeros((table.shape[1], table.shape[1])))
    return total


def _narrowed(
    member: WALS, columns: _Array, gram: _Array | None, pattern_gram: _Array | None
) -> tuple[Factors, _Array]:
    """Return a training's factors of some items, with rows for the rest, and training ratings of each."""
    factors = member.factors
    y = np.asarray(factors.items.factors[columns])
    k = 0 if gram is None and pattern_gram is None else y.shape[1]
    pattern = None
    if pattern_gram is not None:
        q = np.asarray(factors.item_pattern[columns])  # type: ignore[index]
        pattern = np.vstack([q, _root_of_rest(pattern_gram, q)])
    rest = np.zeros((k, y.shape[1]), y.dtype) if gram is None else _root_of_rest(gram, y)
    bias = np.append(factors.items.bias[columns], np.zeros(k, factors.items.bias.dtype))
    counts = np.append(np.asarray(member.item_counts)[columns], np.ones(k, np.int64))
    small = replace(factors, items=Side(np.vstack([y, rest]), bias), item_pattern=pattern)
    return small, counts


def _root_of_rest(gram: _Array, rows: _Array) -> _Array:
    """Return R with RᵀR = gram − rowsᵀ rows, shape (k, k), in the type of the rows."""
    own = rows.astype(np.float64)
    values, vectors = np.linalg.eigh(gram - own.T @ own)
    # Rounding makes the least ones negative.
    root: _Array = (np.sqrt(values.clip(min=0))[:, None] * vectors.T).astype(rows.dtype)
    return root
