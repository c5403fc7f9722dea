"""Which trials of a study are averaged: chosen among the best by what they predict of the validation set."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from toolkit.config import RunOptions, WALSConfig
from toolkit.models import WALS, common_scale
from toolkit.predictor import predict_pairs
from tune.refit.selection import greedy
from tune.study import Study, TrialResult, loss

if TYPE_CHECKING:
    from toolkit.commands import StepProgress
    from toolkit.datasets import RatingsDataset

# Predictions of so many trials are in memory at once.
_CANDIDATES = 25


class Choice(NamedTuple):
    """The mean that predicts the validation ratings best.

    Attributes
    ----------
    members : list of (TrialResult, float)
        Trials and weights, most important first; the best trial alone where no mean is better.
    valid_rmse : float or None
        Of the mean; optimistic, see `tune.refit.selection.greedy`.
    retrained : list of str
        Trials that had to be trained once more, as the study had not kept their factors.
    """

    members: list[tuple[TrialResult, float]]
    valid_rmse: float | None
    retrained: list[str]


def choose(study: Study, data: RatingsDataset, n: int, tell: StepProgress) -> Choice:
    """Choose up to `n` trials of a search for the least RMSE, as `tune.refit.selection.greedy` does.

    Parameters
    ----------
    study : Study
        A study with a finished trial.
    data : RatingsDataset
        Its dataset.
    n : int
        Most trials to average.
    tell : callable
        Told the stage, the candidates that have predicted, and all of them.

    Returns
    -------
    Choice

    Raises
    ------
    StudyError
        When the MLflow store, which has the factors, does not answer.
    """
    from tune.record.runs import trial_factors

    metric, valid = study.spec.metric, data.valid
    candidates = [trial for trial in study.trials() if loss(trial, metric) < math.inf][:_CANDIDATES]
    predictions = np.empty((len(candidates), valid.nnz), np.float32)
    scales, retrained = [], []
    for at, trial in enumerate(candidates):
        tell("validation", at, len(candidates))
        factors = trial_factors(study, trial)
        if factors is None:
            retrained.append(trial["trial"])
            factors = model_of(trial, study).fit(data.train).factors
        predictions[at] = predict_pairs(factors, valid.row, valid.col, np, clip=False)
        scales.append(factors.scale)
    tell("validation", len(candidates), len(candidates))
    found, best = greedy(predictions, valid.data, n, scale=common_scale(scales)), candidates[0]
    if len(found.members) == 1 or not found.path[-1] < (best["valid_rmse"] or 0.0):
        return Choice([(best, 1.0)], best["valid_rmse"], retrained)
    members = sorted(found.members, key=lambda member: (-member[1], member[0]))
    return Choice([(candidates[row], weight) for row, weight in members], found.path[-1], retrained)


def model_of(trial: TrialResult, study: Study) -> WALS:
    """Return an untrained model of a trial's configuration, for as many iterations as its RMSE belongs to."""
    config = WALSConfig.from_dict(trial["config"]).replace(iterations=trial["iterations"])
    return WALS(config, RunOptions(seed=study.spec.seed, backend=study.spec.backend))
