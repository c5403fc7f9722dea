"""Several trainings as one model: the weighted mean of their predictions."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from toolkit.errors import ConfigError
from toolkit.models.base import Model
from toolkit.models.updating import Kind, fold_in, update, with_titles_of
from toolkit.models.wals import WALS, Progress
from toolkit.predictor import Predictor, Side
from toolkit.solver import Factors

# What weights that are fractions may differ from 1 by when they are added up.
_ROUNDING = 1e-6


class Ensemble(Model):
    """Weighted mean of models that were trained on the same ratings.

    The mean of factor models is a factor model: its factors are those of the members side by side. So it
    answers whatever one of them does. It is the mean that is clipped to the rating scale, not what it is of.

    `partial_fit` updates every member, or none where one cannot be.

    Parameters
    ----------
    members : sequence of WALS, length n
        Fitted models of the same users, items and ratings; they are not changed by what the ensemble does.
    weights : sequence of float, length n, optional
        Above 0, adding up to 1; all alike where they are not given.

    Attributes
    ----------
    members : list of WALS
        Each with its config, options and factors.
    weights : list of float

    The others are those of every `toolkit.Model`.

    Raises
    ------
    ConfigError
        When there is no member, they were trained on different ratings, or the weights do not fit.

    References
    ----------
    M. Jahrer, A. Töscher and R. Legenstein, "Combining predictions for accurate recommender systems",
    KDD 2010, on what blends of factor models gain.
    """

    def __init__(self, members: Sequence[WALS], weights: Sequence[float] | None = None) -> None:
        n = len(members)
        if n == 0:
            raise ConfigError("an ensemble needs at least one member")
        self.weights = [1 / n] * n if weights is None else [float(w) for w in weights]
        # Written so that NaN is refused, too.
        right = all(w > 0 for w in self.weights) and abs(math.fsum(self.weights) - 1) <= _ROUNDING
        if len(self.weights) != n or not right:
            raise ConfigError(
                f"weights must be {n}, one for each member, above 0, adding up to 1, but got {self.weights}"
            )
        for at, member in enumerate(members[1:], 1):
            if not _same_ratings(members[0], member):
                raise ConfigError(
                    "members must be trained on the same ratings of the same users and items, "
                    f"but member {at} and member 0 were not"
                )
        first = members[0]
        self.options, self.dataset_digest = first.options, first.dataset_digest
        self._hold([copy.copy(member) for member in members])
        self.titles = first.titles

    @property
    def history(self) -> list[list[Progress]]:
        """Figures of every iteration of each member's training."""
        return [member.history for member in self.members]

    def _hold(self, members: list[WALS]) -> None:
        self.members, first = members, members[0]
        self.factors = combine([member.factors for member in members], self.weights)
        self.users, self.items, self.item_counts = first.users, first.items, first.item_counts
        self.rated = first.rated

    def _solve(self, ratings: Any, kind: Kind) -> Side:
        return _beside([fold_in(member, ratings, kind) for member in self.members], self.weights)

    def contributions(self, rated: Any, items: Any) -> np.ndarray[Any, Any]:
        """Return what each rating of a user adds to predictions; see `explaining.contributions`."""
        parts = [member.contributions(rated, items) for member in self.members]
        return np.average(parts, axis=0, weights=self.weights)

    def _update(self, ratings: Any, ids: Any, kind: Kind) -> None:
        # Of copies, so that a member that fails leaves the others as they were.
        members = [copy.copy(member) for member in self.members]
        for member in members:
            update(member, ratings, ids, kind)
        self._hold(members)
        self.titles = with_titles_of(self.titles, len(self.items))


def combine(factors: Sequence[Factors], weights: Sequence[float]) -> Predictor:
    """Return what predicts the weighted mean of the predictions of several factors.

    With w the weights, it is Σ w μ, Σ w b and [√w₁ x₁, √w₂ x₂, …] on both sides, so that cosines of items are
    those of the members' factors in proportion to their weights.

    Parameters
    ----------
    factors : sequence of Factors
        Of the same users and items, with k₁, k₂, … factors, in host memory.
    weights : sequence of float
        One for each, adding up to 1.

    Returns
    -------
    Predictor
        With k₁ + k₂ + … factors.
    """
    return Predictor(
        _beside([f.users for f in factors], weights),
        _beside([f.items for f in factors], weights),
        math.fsum(w * f.mean for w, f in zip(weights, factors, strict=True)),
        scale=common_scale([f.scale for f in factors]),
    )


def common_scale(scales: Iterable[tuple[float, float] | None]) -> tuple[float, float] | None:
    """Return the scale that a mean of predictions is clipped to: the widest, or None where none has one."""
    known = [scale for scale in scales if scale]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def _beside(sides: Sequence[Side], weights: Sequence[float]) -> Side:
    factors = [math.sqrt(w) * np.asarray(side.factors) for w, side in zip(weights, sides, strict=True)]
    bias = np.asarray(sum(w * np.asarray(side.bias) for w, side in zip(weights, sides, strict=True)))
    return Side(np.hstack(factors), bias)


def _same_ratings(one: WALS, other: WALS) -> bool:
    pairs = (
        (one.users.ids, other.users.ids),
        (one.items.ids, other.items.ids),
        (one.item_counts, other.item_counts),
        (one.rated.indptr, other.rated.indptr),
        (one.rated.indices, other.rated.indices),
        (one.rated.data, other.rated.data),
    )
    return all(a is b or np.array_equal(a, b) for a, b in pairs)
