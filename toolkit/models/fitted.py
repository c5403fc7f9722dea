"""The state of a fitted model: the factors, the ids of their rows, and the ratings they come from."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Generic, Self, TypeVar

from toolkit.arrays import Array, FloatArray, IntArray, Ratings, SideName
from toolkit.backends import Backend
from toolkit.datasets import IdTable
from toolkit.models.explaining import Contributions, contributions
from toolkit.models.folding import Draw, fold_in_items, fold_in_users, item_gram
from toolkit.predictor import Predictor, Side
from toolkit.solver import Factors

P_co = TypeVar("P_co", bound=Predictor, covariant=True)


@dataclass(frozen=True, eq=False)
class Fitted(Generic[P_co]):
    """All that a model knows; it is replaced as a whole, so that no part of it is older than another.

    Attributes
    ----------
    factors : Predictor
        What predicts, in host memory.
    users, items : IdTable
        The ids of the rows of the factors.
    rated : scipy.sparse CSR, shape (n_users, n_items)
        The ratings that the model knows.
    item_counts : array of int64, shape (n_items,)
        The number of ratings of each item in `rated`.
    weight_counts : array of int64, shape (n_items,)
        The number of ratings that each item had when it was solved. The weight of an observed rating depends
        on it (``weight_exponent``).
    titles : array of str, shape (n_items,), or None
        What people call the items, "" where that is not known.
    dataset_digest : str or None
        The identity of the dataset that the model was trained on, where it was a dataset.
    """

    factors: P_co
    users: IdTable
    items: IdTable
    rated: Ratings
    item_counts: IntArray
    weight_counts: IntArray
    titles: Array | None = None
    dataset_digest: str | None = None

    def with_changes(self, **changes: Any) -> Self:
        """Return a copy with some attributes replaced."""
        return replace(self, **changes)


@dataclass(frozen=True, eq=False)
class Training(Fitted[Factors]):
    """What one training leaves.

    Attributes
    ----------
    draw : Draw or None
        Where the factors are a draw from a posterior: what rows that are folded in are drawn with.
    """

    draw: Draw | None = None

    @cached_property
    def item_gram(self) -> FloatArray | None:
        """The sums over all items that folding a user in needs; they are computed once."""
        return item_gram(self.factors)

    def fold_in(self, ratings: Ratings, side: SideName, backend: Backend) -> Side:
        """Return factors and biases of new users or items; see `toolkit.models.folding`."""
        if side == "item":
            return fold_in_items(self.factors, ratings, self.rated, backend=backend, draw=self.draw)
        return fold_in_users(
            self.factors, ratings, self.weight_counts, gram=self.item_gram, backend=backend, draw=self.draw
        )

    def contributions(self, rated: Ratings, items: IntArray) -> Contributions:
        """Return what each rating of a user adds to predictions; see `toolkit.models.explaining`."""
        return contributions(self.factors, rated, items, self.weight_counts, gram=self.item_gram)

    def with_changes(self, **changes: Any) -> Self:
        """Return a copy with some attributes replaced; while the items are the same, so are their sums."""
        new = super().with_changes(**changes)
        old, now = self.factors, new.factors
        if old.items is now.items and old.item_pattern is now.item_pattern and "item_gram" in vars(self):
            vars(new)["item_gram"] = self.item_gram
        return new
