"""A posterior in the place of the best trial: sampled twice, to be measured and to be kept."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from toolkit.config import PRESETS, WALSConfig
from toolkit.models import WALS, PlacedDataset, PosteriorFacts, SampleProgress
from toolkit.progress_bars import StepProgress
from tune.refit.model_of_trial import model_of
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset

# What a posterior takes from the best training. The rest are penalties, which it samples.
_TAKEN = ("factors", "pattern_weight", "bias", "scale", "clip", "weight_exponent")
_BURN_IN = 30
# Samples that count, unless the user says how many.
SAMPLES = 200


class Sampled(NamedTuple):
    """A model of the mean factors, and how the posterior held on the validation ratings.

    Attributes
    ----------
    model : WALS
        Of training and validation ratings. Its facts are those of the validation ratings.
    facts : PosteriorFacts
        Of the posterior of the training ratings alone.
    valid_rmse : list of float
        RMSE on the validation ratings of the mean of the predictions of all samples, by sample.
    """

    model: WALS
    facts: PosteriorFacts
    valid_rmse: list[float]


def sample_best(
    best: TrialResult,
    study: Study,
    data: RatingsDataset,
    with_valid: PlacedDataset,
    where: Mapping[str, Any],
    *,
    samples: int,
    keep: int,
    unfinished: Path,
    tell: StepProgress,
) -> Sampled:
    """Sample the posterior of the best trial's rank and pattern weight, or of the trial's own posterior.

    It is sampled for the training ratings, to be measured on the validation ratings, and then for both.

    Parameters
    ----------
    best : TrialResult
        The best trial of the study.
    study : Study
    data : RatingsDataset
        The dataset of the study; its test ratings are not read.
    with_valid : PlacedDataset
        Its training and validation ratings together.
    where : mapping
        Where its training ratings shall be: ``memory``, ``dask_scheduler`` and ``dask``.
    samples, keep : int
        As those of `toolkit.WALS.fit_posterior`.
    unfinished : Path
        A directory for checkpoints, which is not removed. What a killed process left there is gone on with.
    tell : callable
        Called with the stage, the sweeps that are done, and the number of all sweeps.

    Raises
    ------
    ConfigError
        When the trial's model has no posterior, `keep` is above `samples`, or `unfinished` has checkpoints
        of another sampling.
    ModelError
        When a checkpoint cannot be read or written.
    """
    chosen = WALSConfig.from_dict(best["config"])
    if study.spec.model != "posterior":
        chosen = PRESETS["posterior"].replace(**{name: getattr(chosen, name) for name in _TAKEN})
    options, sweeps = model_of(best, study).options, samples + _BURN_IN
    checkpoints = unfinished / best["trial"]

    def count_from(before: int) -> Callable[[SampleProgress], None]:
        return lambda sample: tell("sampling", before + sample["iteration"], 2 * sweeps)

    tell("sampling", 0, 2 * sweeps)
    measured, kept = WALS(chosen, options), WALS(chosen, options)
    measured.fit_posterior(
        data,
        samples=samples,
        burn_in=_BURN_IN,
        checkpoint=checkpoints / "train",
        on_sample=count_from(0),
        progress=False,
        **where,
    )
    kept.fit_posterior(
        with_valid,
        samples=samples,
        burn_in=_BURN_IN,
        keep=keep,
        checkpoint=checkpoints / "train-and-valid",
        on_sample=count_from(sweeps),
        progress=False,
    )
    assert measured.posterior is not None  # noqa: S101 - it was fitted
    assert kept.posterior is not None  # noqa: S101
    facts = measured.posterior.facts
    kept.posterior = dataclasses.replace(kept.posterior, facts=facts)
    errors = [each["valid_rmse"] for each in measured.history[_BURN_IN:]]
    return Sampled(kept, facts, [error for error in errors if error is not None])
