"""How much each searched hyperparameter matters to what trials reached."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tune.metric import SearchMetric
from tune.report.scales import searched
from tune.results import TrialResult, loss
from tune.space import Choices, Domain, Interval

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

LEAST_TRIALS = 4
_TREES = 64
_LEAST_TREES = 12
_TREES_TIMES_TRIALS = 6400  # the time of fANOVA grows with trees times trials, a little faster


def importances(
    trials: Sequence[TrialResult], space: Mapping[str, Domain], metric: SearchMetric, *, seed: int = 0
) -> dict[str, float]:
    """Measure which part of the variance of the trials' losses each searched hyperparameter explains.

    This is fANOVA (Hutter, Hoos, Leyton-Brown, ICML 2014) on a random forest, as Optuna computes it. Its
    PED-ANOVA is faster, but reads the ranking off the best tenth of the trials: of a made-up loss with a known
    ranking it named the wrong hyperparameter first in 4 of 6 studies of 12 and 24 trials, where fANOVA was
    right in all. Losses beyond Tukey's upper fence (third quartile plus 1.5 interquartile ranges) count as
    the fence: a few trials that diverged would otherwise be all the variance there is. Of more than 100
    trials the forest has fewer trees, so that 500 trials take two seconds.

    Parameters
    ----------
    trials : sequence of TrialResult
        Those that finished, also early, with a figure and with all searched hyperparameters inside their
        domains count.
    space : mapping of str to Domain
        What was searched.
    metric : SearchMetric
        What the trials are compared by.
    seed : int, default 0
        Of the forest; equal trials in equal order and an equal seed give an equal result.

    Returns
    -------
    dict of str to float
        Searched hyperparameter to its part, most important first. The parts add up to 1, and are all 0 where
        the trials do not differ. Empty with fewer than 4 trials, or where nothing was searched.
    """
    import optuna

    distributions = {name: _distribution(domain) for name, domain in searched(space).items()}
    counted = [
        (raw, value)
        for trial in trials
        if math.isfinite(value := loss(trial, metric)) and (raw := _raw(trial["config"], space, distributions))
    ]
    if len(counted) < LEAST_TRIALS or not distributions:
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
        found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    parts = {name: max(0.0, float(part)) if math.isfinite(part) else 0.0 for name, part in found.items()}
    return dict(sorted(parts.items(), key=lambda item: -item[1]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna from telling that it made a study in memory."""
    import optuna

    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)


def _distribution(domain: Domain) -> BaseDistribution:
    """Return the domain as Optuna samples it: a reversed scale is a logarithmic one that is turned around."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if isinstance(domain, Choices):
        return CategoricalDistribution(domain.values)
    low, high = domain.bounds
    log = isinstance(domain, Interval) and domain.scale != "linear"
    if isinstance(domain, Interval) and domain.integer:
        return IntDistribution(int(low), int(high), log=log)
    return FloatDistribution(low, high, log=log)


def _raw(
    config: Mapping[str, Any], space: Mapping[str, Domain], distributions: Mapping[str, BaseDistribution]
) -> dict[str, Any] | None:
    """Return what `Domain.decode` makes this configuration of; None where it lies outside of the space.

    Not what the trial says was sampled: a start point of a user's was never sampled.
    """
    raw = {}
    for name, distribution in distributions.items():
        domain, value = space[name], config.get(name)
        if isinstance(domain, Interval):
            if not isinstance(value, int | float) or not domain.low <= value <= domain.high:
                return None
            if domain.scale == "reverse_log":
                # Rounding may carry it over an end.
                value = min(max(domain.low + domain.high - value, domain.low), domain.high)
        elif isinstance(domain, Choices) and value not in domain.values:
            return None
        raw[name] = value
    return raw if distributions else None
