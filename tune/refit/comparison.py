"""Compare a new model with the one that has the alias, on test ratings that neither was trained on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from toolkit.arrays import Array
from toolkit.models import Model

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset


@dataclass(frozen=True)
class Comparison:
    """RMSE of a new model and of the one that has the alias, on the same ratings.

    Attributes
    ----------
    version : str
        The version that has the alias.
    ratings : int
        Number of test ratings that neither model was trained on.
    known : float
        Share of those ratings whose user and item the version that has the alias knows.
    new_rmse, champion_rmse : float or None
        RMSE on those ratings. The average user or item stands for one that a model does not know. None where
        there are no such ratings.
    """

    version: str
    ratings: int
    known: float
    new_rmse: float | None
    champion_rmse: float | None

    @property
    def better(self) -> bool:
        """Whether the new model has the lower RMSE."""
        return (
            self.new_rmse is not None
            and self.champion_rmse is not None
            and self.new_rmse < self.champion_rmse
        )


def compare(new: Model, champion: Model, data: RatingsDataset, version: str) -> Comparison:
    """Measure two models on the test ratings of a dataset that neither was trained on.

    Parameters
    ----------
    new, champion : Model
    data : RatingsDataset
        Its test ratings are read.
    version : str
        Version of the champion.
    """
    test = data.test.tocoo()
    users, items = data.user_ids[test.row], data.item_ids[test.col]
    unseen = ~(_trained_on(new, users, items) | _trained_on(champion, users, items))
    users, items, ratings = users[unseen], items[unseen], test.data[unseen].astype(np.float64)
    if not len(ratings):
        return Comparison(version, 0, 0.0, None, None)

    def rmse(model: Model) -> float:
        error = model.predict(users, items, unknown="average") - ratings
        return float(np.sqrt(np.mean(error**2)))

    known = (champion.users.find(users) >= 0) & (champion.items.find(items) >= 0)
    return Comparison(version, len(ratings), float(known.mean()), rmse(new), rmse(champion))


def _trained_on(model: Model, users: Array, items: Array) -> Array:
    """Return which pairs of ids, each of shape (n,), are among a model's ratings: bool, shape (n,)."""
    rated = model.rated
    rows, columns = model.users.find(users), model.items.find(items)
    # Ascending, as a row's columns are.
    keys = np.repeat(np.arange(rated.shape[0], dtype=np.int64), np.diff(rated.indptr)) * rated.shape[1]
    keys += rated.indices
    if not len(keys):
        return np.zeros(len(users), bool)
    wanted = rows * rated.shape[1] + columns
    at = np.searchsorted(keys, wanted).clip(max=len(keys) - 1)
    trained: Array = (rows >= 0) & (columns >= 0) & (keys[at] == wanted)
    return trained
