"""Importance of each searched hyperparameter for the losses of the trials."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tune.report.scales import searched
from tune.spec import Domain, SearchMetric
from tune.study import TrialResult, loss

LEAST_TRIALS = 4
_TREES = 32
_LEAST_TREES = 12
_TREES_TIMES_TRIALS = 6400  # the time of fANOVA grows with trees times trials, a little faster


def importances(
    trials: Sequence[TrialResult], space: Mapping[str, Domain], metric: SearchMetric, *, seed: int = 0
) -> dict[str, float]:
    """Measure which part of the variance of the trials' losses each searched hyperparameter explains.

    This is fANOVA (Hutter, Hoos, Leyton-Brown, ICML 2014) on a random forest, as Optuna computes it. Its
    PED-ANOVA is faster, but reads the ranking off the best tenth of the trials: of a made-up loss whose
    ranking is known it named the wrong hyperparameter first in 4 of 6 studies of 12 and 24 trials, where
    fANOVA was right in all. Losses beyond Tukey's upper fence (third quartile plus 1.5 interquartile ranges)
    count as the fence: a few trials that diverged would otherwise be all the variance there is. Of more than
    200 trials the forest has fewer trees, so that 500 trials take two seconds.

    Parameters
    ----------
    trials : sequence of TrialResult
        Trials count that finished, also early, with a figure, and with all searched hyperparameters inside
        their domains.
    space : mapping of str to Domain
        What was searched.
    metric : SearchMetric
        What the trials are compared by.
    seed : int, default 0
        Seed of the forest; equal trials in equal order and an equal seed give an equal result.

    Returns
    -------
    dict of str to float
        Searched hyperparameter to its part, most important first. The parts add up to 1, and are all 0 where
        the trials do not differ. Empty with fewer than 4 trials, or where nothing was searched.
    """
    import optuna

    names = searched(space)
    distributions = {name: found for name, domain in names.items() if (found := domain.to_optuna())}
    counted = []
    for trial in trials:
        value, raw = loss(trial, metric), _raw(trial["config"], names)
        if math.isfinite(value) and raw is not None:
            counted.append((raw, value))
    if len(counted) < LEAST_TRIALS or not names:
        return {}
    values = np.array([value for _, value in counted])
    q1, q3 = np.quantile(values, [0.25, 0.75])
    values = values.clip(max=q3 + 1.5 * (q3 - q1))
    if np.ptp(values) == 0:
        return dict.fromkeys(distributions, 0.0)
    if len(distributions) == 1:
        return dict.fromkeys(distributions, 1.0)
    trees = min(_TREES, max(_LEAST_TREES, _TREES_TIMES_TRIALS // len(counted)))
    evaluator = optuna.importance.FanovaImportanceEvaluator(n_trees=trees, seed=seed)
    with _quiet():
        study = optuna.create_study()
        study.add_trials(
            [
                optuna.trial.create_trial(params=raw, distributions=distributions, value=float(value))
                for (raw, _), value in zip(counted, values, strict=True)
            ]
        )
        explained = optuna.importance.get_param_importances(study, evaluator=evaluator)
    parts = {name: max(0.0, float(part)) if math.isfinite(part) else 0.0 for name, part in explained.items()}
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Suppress Optuna's message that it made a study in memory."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _raw(config: Mapping[str, Any], names: Mapping[str, Domain]) -> dict[str, Any] | None:
    """Return the sampled values that `Domain.decode` turns into a configuration; None outside of the space.

    The trial's own record of what was sampled is not read: the configuration is what was trained.
    """
    if any(name not in config or domain.problem(config[name]) for name, domain in names.items()):
        return None
    return {name: domain.encode(config[name]) for name, domain in names.items()}
