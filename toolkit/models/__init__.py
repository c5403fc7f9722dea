"""Fitted models, which answer by id: one training, or one posterior; and their directories."""

from __future__ import annotations

from toolkit.models.base import Model
from toolkit.models.baselines import baseline_errors
from toolkit.models.checkpoint_reading import reading_checkpoint
from toolkit.models.explaining import Explanation
from toolkit.models.export import export_tutorial
from toolkit.models.files import check_target
from toolkit.models.intervals import Interval, interval_of, require_samples
from toolkit.models.measured import Evaluation
from toolkit.models.placed import PlacedDataset, PlacedRatings
from toolkit.models.placing import placed_ratings, placed_with_valid, ratings_in_shards
from toolkit.models.posterior import Posterior, PosteriorFacts, SampleProgress
from toolkit.models.predicting import rows_or_average
from toolkit.models.training import Progress
from toolkit.models.training_checkpoint import unfinished_place, unfinished_training
from toolkit.models.wals import WALS

__all__ = [
    "WALS",
    "Evaluation",
    "Explanation",
    "Interval",
    "Model",
    "PlacedDataset",
    "PlacedRatings",
    "Posterior",
    "PosteriorFacts",
    "Progress",
    "SampleProgress",
    "baseline_errors",
    "check_target",
    "export_tutorial",
    "interval_of",
    "placed_ratings",
    "placed_with_valid",
    "ratings_in_shards",
    "reading_checkpoint",
    "require_samples",
    "rows_or_average",
    "unfinished_place",
    "unfinished_training",
]
