"""Several trainings as one model: the weighted mean of their predictions."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from toolkit.arrays import Array, IdLike, IntArray, Ratings, SideName
from toolkit.backends import Backend
from toolkit.errors import ConfigError, ModelError
from toolkit.inputs import checked_type, checked_weights
from toolkit.models import files
from toolkit.models.base import Model
from toolkit.models.explaining import Contributions
from toolkit.models.fitted import Fitted
from toolkit.models.model_html import ensemble_html
from toolkit.models.training import Progress
from toolkit.models.updating import padded_titles, updated
from toolkit.models.wals import WALS, run_of, run_words
from toolkit.predictor import Predictor, Side
from toolkit.solver import Factors

_MEMBERS = "members"
# The most by which the sum of weights that are fractions may differ from 1.
_ROUNDING = 1e-6


class Ensemble(Model, header_words=(_MEMBERS, "weights", "trainings")):
    """Weighted mean of models that were trained on the same ratings.

    The mean of factor models is a factor model: its factors are those of the members side by side. So it
    answers all that one of them answers. The mean is clipped to the rating scale, and its parts are not.

    `partial_fit` updates every member, or none where one cannot be updated.

    Parameters
    ----------
    members : sequence of WALS, length n
        Fitted models of the same users, items and ratings; the ensemble never changes them.
    weights : sequence of float, length n, optional
        Above 0, adding up to 1; all alike where they are not given.

    Attributes
    ----------
    members : list of WALS
        Each with its config, options and factors.
    weights : list of float

    Raises
    ------
    ConfigError
        When there is no member, they were trained on different ratings, or the weights do not fit.
    NotFittedError
        When a member is not fitted.

    References
    ----------
    M. Jahrer, A. Töscher and R. Legenstein, "Combining predictions for accurate recommender systems",
    KDD 2010, on what blends of factor models gain.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import WALS, Ensemble, RunOptions, WALSConfig
    >>> ratings = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> config = WALSConfig(factors=4, iterations=5)
    >>> members = [WALS(config, RunOptions(seed=seed)).fit(ratings) for seed in range(3)]
    >>> model = Ensemble(members, weights=[0.5, 0.3, 0.2])
    >>> len(model.recommend(7, n=3)[0])
    3
    >>> model.factors.items.factors.shape
    (20, 12)
    """

    def __init__(self, members: Sequence[WALS], weights: Sequence[float] | None = None) -> None:
        if not isinstance(members, Iterable):
            raise ConfigError(f"members must be a list of WALS, but got {members!r:.80}")
        chosen = [checked_type("a member", member, WALS, "fitted WALS models") for member in members]
        n = len(chosen)
        if n == 0:
            raise ConfigError("an ensemble needs at least one member")
        self.weights = checked_weights([1 / n] * n if weights is None else weights, n, _ROUNDING)
        first = chosen[0].state
        for at, member in enumerate(chosen[1:], 1):
            if not _same_ratings(first, member.state):
                raise ConfigError(
                    "members must be trained on the same ratings of the same users and items, "
                    f"but member {at} and member 0 were not"
                )
        self.options = chosen[0].options
        self._hold([copy.copy(member) for member in chosen], first.titles, first.dataset_digest)

    def __repr__(self) -> str:
        """Return how many members there are, and what they were fitted on."""
        return self._with_sizes(f"Ensemble of {len(self.members)} WALS")

    def _repr_html_(self) -> str:
        """Return the ensemble for a notebook: its members, with weights and RMSE."""
        members = zip(self.members, self.weights, strict=True)
        return ensemble_html(
            repr(self), [(member.parameters, weight, member.ended_with) for member, weight in members]
        )

    @property
    def history(self) -> list[Sequence[Progress]]:
        """Figures of every iteration of each member's training."""
        return [member.history for member in self.members]

    def _hold(self, members: list[WALS], titles: Array | None, digest: str | None) -> None:
        self.members, first = members, members[0].state
        self._fitted = Fitted(
            combine([member.factors for member in members], self.weights),
            first.users,
            first.items,
            first.rated,
            first.item_counts,
            first.weight_counts,
            titles,
            digest,
        )

    def _fold_in(self, ratings: Ratings, side: SideName, backend: Backend) -> Side:
        return _beside([m.state.fold_in(ratings, side, backend) for m in self.members], self.weights)

    def _contributions(self, rated: Ratings, items: IntArray) -> Contributions:
        parts = [member.state.contributions(rated, items) for member in self.members]
        return Contributions(
            *(np.average(of, axis=0, weights=self.weights) for of in zip(*parts, strict=True))
        )

    def _update(self, ratings: Ratings, ids: IdLike, side: SideName, backend: Backend) -> None:
        trainings = updated([member.state for member in self.members], ratings, ids, side, backend)
        members = [
            WALS.holding(training, options=member.options, history=member.history, baselines=member.baselines)
            for member, training in zip(self.members, trainings, strict=True)
        ]
        titles = padded_titles(self.titles, len(trainings[0].items))
        self._hold(members, titles, self.dataset_digest)

    def _header(self) -> dict[str, object]:
        return {
            _MEMBERS: len(self.members),
            "weights": self.weights,
            "trainings": [run_words(member) for member in self.members],
        }

    def _save_factors(self, folder: Path) -> None:
        for at, member in enumerate(self.members):
            own = folder / _MEMBERS / str(at)
            own.mkdir(parents=True)
            member.factors.save(own)

    @classmethod
    def _read(cls, path: Path, header: dict[str, Any]) -> Self:
        n = header[_MEMBERS]
        if not isinstance(n, int) or n < 1:
            raise ModelError(
                f"{path / files.HEADER} must have a whole number above 0 as {_MEMBERS}, but has {n!r}"
            )
        factors = [Factors.load(path / _MEMBERS / str(at)) for at in range(n)]
        sizes = [(len(own.users.bias), len(own.items.bias)) for own in factors]
        for at, (users, items) in enumerate(sizes):
            if (users, items) != sizes[0]:
                raise ModelError(
                    f"{path / _MEMBERS / str(at)} must be of {sizes[0][0]} users and {sizes[0][1]} items, as "
                    f"member 0, but is of {users} and {items}: train the model again"
                )
        shared = files.read_training(path, header, factors[0])
        trainings = [shared.with_changes(factors=own) for own in factors]
        members = [
            WALS.holding(training, **run_of(run))
            for training, run in zip(trainings, header["trainings"], strict=True)
        ]
        return cls(members, list(header["weights"]))


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


def _same_ratings(one: Fitted[Factors], other: Fitted[Factors]) -> bool:
    """Tell whether two trainings know the same ratings and weigh them by the same counts."""
    pairs = (
        (one.weight_counts, other.weight_counts),
        (one.rated.indptr, other.rated.indptr),
        (one.rated.indices, other.rated.indices),
        (one.rated.data, other.rated.data),
    )
    tables = ((one.users, other.users), (one.items, other.items))
    return all(a.same_as(b) for a, b in tables) and all(a is b or np.array_equal(a, b) for a, b in pairs)
