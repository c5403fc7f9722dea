"""The training of a refit: the best trial on training and validation ratings together."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.models import WALS, PlacedDataset, Progress, placed_with_valid
from toolkit.progress_bars import StepProgress
from toolkit.solver import BaselineErrors
from tune.refit.model_of_trial import model_of
from tune.refit.sampling import Sampled, sample_best
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset


class RetrainingPlan(NamedTuple):
    """What a refit is asked for.

    Attributes
    ----------
    posterior, keep : int
        As those of `tune.refit_best`.
    where : mapping
        Where the ratings shall be: ``memory``, ``dask_scheduler`` and ``dask``.
    unfinished : Path
        The directory of checkpoints.
    of_sample : bool
        Whether the study was run on a sample of the dataset: then no trial says how good its model is.
    """

    posterior: int
    keep: int
    where: Mapping[str, Any]
    unfinished: Path
    of_sample: bool


class Retrained(NamedTuple):
    """What a refit trained.

    Attributes
    ----------
    model : WALS
    valid_rmse : float or None
        That of the same configuration, trained without the validation ratings; None where it is not known.
    sampled : Sampled or None
        The posterior, where one was asked for.
    test_rmse : float or None
        RMSE on the test ratings; None when there are none.
    baselines : BaselineErrors or None
        Those of the simplest models.
    """

    model: WALS
    valid_rmse: float | None
    sampled: Sampled | None
    test_rmse: float | None
    baselines: BaselineErrors | None


def retrain(
    study: Study, data: RatingsDataset, out: Path, asked: RetrainingPlan, tell: StepProgress
) -> Retrained:
    """Train the best trial on training and validation ratings, or sample its posterior."""
    best, sampled = study.best(), None
    untrained = model_of(best, study)
    with placed_with_valid(data, untrained.config, untrained.options, beside=out, **asked.where) as ratings:
        if asked.posterior:
            sampled = sample_best(
                *(best, study, data, ratings, asked.where),
                samples=asked.posterior,
                keep=asked.keep,
                unfinished=asked.unfinished,
                tell=tell,
            )
            model, valid_rmse = sampled.model, sampled.facts["mean_factors_rmse"]
        else:
            model = _fit(best, ratings, study, asked.unfinished, tell)
            valid_rmse = None if asked.of_sample else best["valid_rmse"]
        test_rmse = ratings.rmse(model.factors, ratings.test)
        damping = (study.facts.get("baselines") or {}).get("damping")
        baselines = ratings.baselines(damping=damping).errors(ratings.test)
    return Retrained(model, valid_rmse, sampled, test_rmse, baselines)


def _fit(
    best: TrialResult, ratings: PlacedDataset, study: Study, unfinished: Path, tell: StepProgress
) -> WALS:
    """Train the configuration of the best trial on training and validation ratings."""
    total = best["iterations"]
    tell("training", 0, total)

    def count(progress: Progress) -> None:
        tell("training", progress["iteration"], total)

    return model_of(best, study).fit(
        ratings, checkpoint=unfinished / best["trial"], on_iteration=count, progress=False
    )
