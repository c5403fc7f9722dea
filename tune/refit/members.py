"""Choose the trials of a study to average, by what the best of them predict of the validation ratings."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from toolkit.config import RunOptions, WALSConfig
from toolkit.models import WALS, common_scale
from toolkit.predictor import predict_pairs
from toolkit.progress_bars import StepProgress
from tune.refit.selection import greedy
from tune.study import Study, TrialResult, loss

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset

_CANDIDATES = 25  # trials whose predictions are in memory at once


class ChosenMembers(NamedTuple):
    """The mean that predicts the validation ratings best.

    Attributes
    ----------
    members : list of (TrialResult, float)
        Trials and weights, most important first; the best trial alone where no mean is better.
    valid_rmse : float or None
        RMSE of the mean; optimistic, see `tune.refit.selection.greedy`.
    retrained : list of str
        Trials that had to be trained once more, as the study had not kept their factors.
    """

    members: list[tuple[TrialResult, float]]
    valid_rmse: float | None
    retrained: list[str]


def choose_members(study: Study, data: RatingsDataset, n: int, tell: StepProgress) -> ChosenMembers:
    """Choose up to `n` trials whose mean has the least RMSE, by `tune.refit.selection.greedy`.

    Parameters
    ----------
    study : Study
        A study with a finished trial.
    data : RatingsDataset
        The dataset of the study.
    n : int
        Most trials to average.
    tell : callable
        Called with the stage, the number of candidates that have predicted, and of all candidates.

    Returns
    -------
    ChosenMembers

    Raises
    ------
    StudyError
        When the MLflow store, which keeps the factors, does not answer.
    """
    from tune.record import trial_factors

    metric, valid = study.spec.metric, data.valid
    candidates = [trial for trial in study.trials() if loss(trial, metric) < math.inf][:_CANDIDATES]
    predictions = np.empty((len(candidates), valid.nnz), np.float32)
    scales, retrained = [], []
    for at, trial in enumerate(candidates):
        tell("validation", at, len(candidates))
        factors = trial_factors(study, trial)
        if factors is None:
            retrained.append(trial["trial"])
            factors = model_of(trial, study).fit(data.train, progress=False).factors
        predictions[at] = predict_pairs(factors, valid.row, valid.col, np, clip=False)
        scales.append(factors.scale)
    tell("validation", len(candidates), len(candidates))
    selection, best = greedy(predictions, valid.data, n, scale=common_scale(scales)), candidates[0]
    if len(selection.members) == 1 or not selection.path[-1] < (best["valid_rmse"] or 0.0):
        return ChosenMembers([(best, 1.0)], best["valid_rmse"], retrained)
    members = sorted(selection.members, key=lambda member: (-member[1], member[0]))
    return ChosenMembers(
        [(candidates[row], weight) for row, weight in members], selection.path[-1], retrained
    )


def model_of(trial: TrialResult, study: Study) -> WALS:
    """Return an untrained model of a trial's configuration, with the number of iterations of its RMSE."""
    config = WALSConfig.from_dict(trial["config"]).replace(iterations=trial["iterations"])
    return WALS(config, RunOptions(seed=study.spec.seed, backend=study.spec.backend))
