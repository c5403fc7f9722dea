"""What a person should know of a study before she trusts its best trial, one line each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

from toolkit.config import Range, WALSConfig
from toolkit.solver import BaselineErrors, shortfall
from tune.report.scales import Scale, searched
from tune.spec import Domain, Interval, SearchMetric, SearchSpec
from tune.study import TrialResult, best_first, value

# Share of a range, on the scale that is sampled, that counts as its end.
_END = 0.02
# By how much an end of a logarithmic range is moved.
_WIDER = 4
End = Literal["low", "high"]
# Ends beyond which a model overfits more.
_FREER: dict[str, End] = {"factors": "high", "regularization": "low"}


def baselines_of(facts: Mapping[str, Any]) -> BaselineErrors | None:
    """Return what the trials of a study have to beat, by its facts; None where the study does not have it."""
    known = facts.get("baselines")
    if not known:
        return None
    return {"mean_rmse": float(known["mean_rmse"]), "bias_rmse": float(known["bias_rmse"])}


def to_beat(metric: SearchMetric, baselines: BaselineErrors | None) -> float | None:
    """Return the RMSE of biases alone, where it is known and an RMSE is what trials are compared by."""
    return None if metric.k or baselines is None else baselines["bias_rmse"]


def at_edge(config: Mapping[str, Any], space: Mapping[str, Domain]) -> dict[str, End]:
    """Return the hyperparameters whose value is at an end of the range that was searched, and which end.

    Parameters
    ----------
    config : mapping of str to object
        The hyperparameters of a trial.
    space : mapping of str to Domain
        What was searched.

    Returns
    -------
    dict of str to {"low", "high"}
        Numbers in the first or last 2 % of their range, on the scale that is sampled. An end beyond which no
        value is valid does not count.
    """
    ends: dict[str, End] = {}
    for name, domain in searched(space).items():
        if not isinstance(domain, Interval) or name not in config:
            continue
        position, valid = Scale(domain).position(config[name]), WALSConfig.valid()[name]
        if position <= _END and not (isinstance(valid, Range) and domain.low <= valid.low):
            ends[name] = "low"
        elif position >= 1 - _END and not (isinstance(valid, Range) and domain.high >= valid.high):
            ends[name] = "high"
    return ends


def remarks(spec: SearchSpec, trials: Sequence[TrialResult], baselines: BaselineErrors | None) -> list[str]:
    """Return what is odd about the best trial of a study, and what to do about it.

    Parameters
    ----------
    spec : SearchSpec
        What was searched.
    trials : sequence of TrialResult
        In any order.
    baselines : BaselineErrors or None
        What the trials have to beat, where the study has it.

    Returns
    -------
    list of str
        Sentences: that all trials have the best or the worst figure there is; that the best trial is no
        better than biases alone; that a hyperparameter of it is at an end of its range.
    """
    metric = spec.metric
    done = [(trial, figure) for trial in best_first(trials, metric) if _is(figure := value(trial, metric))]
    if not done:
        return []
    if stuck := _stuck({cast("float", figure) for _, figure in done}, metric):
        return [stuck]
    best, figure = done[0]
    of, sampled = f"The best trial, {best['trial']},", spec.model == "posterior"
    low = None if metric.k else shortfall(figure, baselines, of=of, sampled=sampled)
    ends = at_edge(best["config"], spec.space)
    edges = [
        _widen(name, end, cast("Interval", spec.space[name]))
        for name, end in ends.items()
        # What is no better than biases overfits, and wants the opposite.
        if not (low and _FREER.get(name) == end)
    ]
    return [*([low] if low else []), *edges]


def _is(figure: float | None) -> bool:
    return figure is not None and math.isfinite(figure)


def _stuck(figures: set[float], metric: SearchMetric) -> str | None:
    """Return a sentence about trials that all have the lowest or the highest figure there is."""
    if figures == {0.0} and not metric.k:
        return (
            f"Every trial has {metric.label} 0: see with `walslab describe` whether all ratings are the same"
        )
    if figures == {0.0}:
        return f"Every trial has {metric.label} 0, the least there is: search by rmse, or with a larger k"
    if figures == {1.0} and metric.k:
        return f"Every trial has {metric.label} 1, the most there is: search by rmse, or with a smaller k"
    return None


def _widen(name: str, end: End, domain: Interval) -> str:
    """Return a sentence about a hyperparameter at an end of its range, and a wider range for the file."""
    low, high, valid = domain.low, domain.high, WALSConfig.valid()[name]
    step = (high - low) / 2
    if end == "high":
        word, at, high = "upper", high, high * _WIDER if domain.scale == "log" else high + step
    else:
        word, at, low = "lower", low, low - step if domain.scale == "linear" else low / _WIDER
    if isinstance(valid, Range):
        low, high = max(low, valid.low), min(high, valid.high)
    if domain.integer:
        low, high = math.ceil(low), math.floor(high)
    scale = "" if domain.scale == "linear" else f", scale: {domain.scale}"
    return (
        f"{name} is at the {word} end of its range ({at:g}): widen it in --spec, such as "
        f"{name}: {{low: {low:.4g}, high: {high:.4g}{scale}}}"
    )
