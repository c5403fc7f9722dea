"""Which items a model recommends under a rule: how many, seen ones too or not, rated often enough."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.backends import Backend, Best
from toolkit.errors import ConfigError
from toolkit.models.base import Model
from toolkit.predictor import Side

# Fewer training ratings than this are little to go by; see docs/recommending.md.
FEW_RATINGS = 5


@dataclass(frozen=True)
class Rule:
    """What is recommended.

    Attributes
    ----------
    n : int
        Items for each user; fewer where fewer are left.
    include_seen : bool
        Whether items that the user rated in training are recommended, too.
    min_ratings : int
        Training ratings that an item must have.

    Raises
    ------
    ConfigError
        When `n` is below 1, or `min_ratings` below 0.
    """

    n: int = 10
    include_seen: bool = False
    min_ratings: int = 0

    def __post_init__(self) -> None:
        for name, value, least in (("n", self.n, 1), ("min_ratings", self.min_ratings, 0)):
            if value < least:
                raise ConfigError(f"{name} must be at least {least}, but got {value}")


class Ranker:
    """A model, ready to recommend: its items are on the device once.

    Parameters
    ----------
    model : Model
    rule : Rule
    backend : Backend
        Where it is computed.
    """

    def __init__(self, model: Model, rule: Rule, backend: Backend) -> None:
        self.model, self.rule, self.backend = model, rule, backend
        items = model.factors.items
        enough = np.asarray(model.item_counts) >= rule.min_ratings
        # Nothing that is added to it makes it finite, and what is not finite is not recommended.
        bias = np.where(enough, items.bias, -np.inf).astype(items.bias.dtype)
        self._items = Side(backend.asarray(items.factors), backend.asarray(bias))

    def best(self, rows: np.ndarray[Any, Any]) -> Best:
        """Return the best items of users, as `toolkit.Model.recommend_many`.

        Parameters
        ----------
        rows : array of int64, shape (n_users,)
            Row numbers of the users.

        Returns
        -------
        Best
            Item columns as int32 and predicted ratings, unclipped, as float32, shape (n_users, n); -1 and NaN
            where fewer items are left.
        """
        model = self.model
        # Neighbours in the files are read in one piece, and not gathered.
        together = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        chosen: Any = slice(int(rows[0]), int(rows[0]) + len(rows)) if together else rows
        own = Side(*map(np.asarray, model.factors.users.at(chosen)))
        best = self.backend.top_n(
            Side(*map(self.backend.asarray, own)),
            self._items,
            self.rule.n,
            mean=model.factors.mean,
            hidden=[] if self.rule.include_seen else [model.rated[chosen]],
        )
        return Best(best.items.astype(np.int32), best.scores.astype(np.float32))
