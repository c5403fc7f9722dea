"""The items that a model recommends under a rule: how many, with seen items or not, rated often enough."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.arrays import IntArray
from toolkit.backends import Backend, Best
from toolkit.inputs import checked_number
from toolkit.models import Model
from toolkit.predictor import Side

# Fewer training ratings than this are little to go by; see docs/recommending.md.
FEW_RATINGS = 5


@dataclass(frozen=True)
class Rule:
    """Which items are recommended.

    Attributes
    ----------
    n : int
        Items for each user; fewer where fewer are left.
    exclude_seen : bool
        Whether items that the model saw the user rate are left out.
    min_ratings : int
        Ratings that an item must have.

    Raises
    ------
    ConfigError
        When `n` is not a whole number from 1, or `min_ratings` not one from 0.
    """

    n: int = 10
    exclude_seen: bool = True
    min_ratings: int = 0

    def __post_init__(self) -> None:
        checked_number("n", self.n, 1)
        checked_number("min_ratings", self.min_ratings, 0)


class Ranker:
    """A model that ranks users under one rule; its items are copied to the device once.

    Parameters
    ----------
    model : Model
        The model to ask.
    rule : Rule
        Which items are recommended.
    backend : Backend
        Where the items are ranked.
    """

    def __init__(self, model: Model, rule: Rule, backend: Backend) -> None:
        self.model, self.rule, self.backend = model, rule, backend
        items = model.factors.items
        enough = np.asarray(model.item_counts) >= rule.min_ratings
        # No score that is added to it makes it finite, and items without a finite score are not recommended.
        bias = np.where(enough, items.bias, -np.inf).astype(items.bias.dtype)
        self._items = Side(backend.asarray(items.factors), backend.asarray(bias))

    def best(self, rows: IntArray) -> Best:
        """Return the best items of users.

        Parameters
        ----------
        rows : array of int64, shape (n_users,)
            Row numbers of the users.

        Returns
        -------
        Best
            Row numbers of items as int32, and predicted ratings, not clipped, as float32, shape (n_users, n);
            -1 and NaN where fewer items are left.
        """
        model = self.model
        # Rows that follow each other are read from the files in one piece.
        together = len(rows) > 0 and bool((np.diff(rows) == 1).all())
        chosen: slice | IntArray = slice(int(rows[0]), int(rows[0]) + len(rows)) if together else rows
        own = Side(*map(np.asarray, model.factors.users.at(chosen)))
        best = self.backend.top_n(
            Side(*map(self.backend.asarray, own)),
            self._items,
            self.rule.n,
            mean=model.factors.mean,
            hidden=[model.rated[chosen]] if self.rule.exclude_seen else [],
        )
        return Best(best.items.astype(np.int32), best.scores.astype(np.float32))
