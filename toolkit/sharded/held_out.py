"""Held-out ratings of a dataset, left in its shards."""

from __future__ import annotations

from toolkit.evaluation import HeldOut
from toolkit.predictor import Predictor
from toolkit.sharded.ratings import ShardedRatings


class ShardedHeldOut(HeldOut):
    """The validation or test ratings of the dataset that is trained on.

    Parameters
    ----------
    ratings : ShardedRatings
    split : {"valid", "test"}
    """

    def __init__(self, ratings: ShardedRatings, split: str) -> None:
        self._ratings, self._split = ratings, split
        self.nnz = ratings.dataset.counts[split]

    def squared_errors(self, predictor: Predictor) -> float:
        """Return the sum of squared errors; see `toolkit.evaluation.HeldOut.squared_errors`."""
        errors = self._ratings.row_errors(f"{self._split}/rows", predictor)
        return float(errors[:, 0].copy().sum())
