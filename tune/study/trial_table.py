"""Trials as tables: every fact of theirs in flat rows, and the few that people compare, as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from toolkit.figure_text import shown
from tune.spec import SearchMetric, SearchSpec
from tune.study.trial import TrialResult

_FIRST = ("trial", "number", "run_id", "status", "stopped", "source")
_FIGURES = ("valid_rmse", "train_rmse")
_LAST = ("iterations", "seconds", "started", "ended", "attempts", "reason")
_SYSTEM = ("backend", "device", "host", "peak_bytes")
EARLY = "*"
"""Stands behind the iterations of a trial that was stopped early."""


def flat_rows(trials: Sequence[TrialResult], metric: SearchMetric) -> tuple[list[str], list[list[object]]]:
    """Return the names of columns, and one row for each trial, in the order given; histories are left out.

    Columns of hyperparameters are ``config.NAME``, those of where a trial ran ``system.NAME``.
    """
    names = list(dict.fromkeys(name for trial in trials for name in trial["config"]))
    columns = [
        *_FIRST,
        *_FIGURES,
        *metric.keys,
        *_LAST,
        *(f"config.{name}" for name in names),
        *(f"system.{name}" for name in _SYSTEM),
    ]
    rows = []
    for trial in trials:
        plain: Mapping[str, object] = trial
        system: Mapping[str, object] = trial["system"] or {}
        rows.append(
            [
                *(plain[key] for key in (*_FIRST, *_FIGURES)),
                *(trial["ranking"].get(key) for key in metric.keys),
                *(plain[key] for key in _LAST),
                *(trial["config"].get(name) for name in names),
                *(system.get(name) for name in _SYSTEM),
            ]
        )
    return columns, rows


def headings(spec: SearchSpec) -> list[str]:
    """Return the headings over `cells`: figures, and the searched hyperparameters."""
    figures = (spec.metric.label, "valid RMSE") if spec.metric.k else ("valid RMSE", "train RMSE")
    return ["trial", *figures, "iter", "seconds", *_searched(spec)]


def cells(trial: TrialResult, spec: SearchSpec) -> list[str]:
    """Return a trial as people compare it: rounded, and its status where it has no figures."""
    done = f"{trial['iterations']}{EARLY if trial['stopped'] else ''}", f"{trial['seconds']:.1f}"
    valid, metric = trial["valid_rmse"], spec.metric
    if trial["status"] != "FINISHED":
        texts = [trial["status"].lower(), ""]
    else:
        figures = (metric.value(trial["ranking"]), valid) if metric.k else (valid, trial["train_rmse"])
        texts = ["" if figure is None else shown(figure) for figure in figures]
    sampled = (trial["config"].get(name, "") for name in _searched(spec))
    values = (f"{value:.3g}" if isinstance(value, float) else str(value) for value in sampled)
    return [trial["trial"], *texts, *done, *values]


def _searched(spec: SearchSpec) -> list[str]:
    return [name for name, domain in spec.space.items() if domain.searched]
