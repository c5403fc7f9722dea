"""What a study shows of itself in a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from toolkit.figure_text import shown
from toolkit.notebook_html import card, line_chart, table, text
from tune.spec import SearchSpec
from tune.study.trial import TrialResult, best_so_far
from tune.study.trial_table import EARLY, cells, headings

_ROWS = 10


def study_html(
    name: str,
    status: str,
    spec: SearchSpec,
    trials: Sequence[TrialResult],
    baselines: Mapping[str, Any] | None,
) -> str:
    """Return a study as HTML: how far it is, its best trials, and what they had to beat.

    Parameters
    ----------
    name, status : str
        The study's.
    spec : SearchSpec
        What is searched.
    trials : sequence of TrialResult
        Best first.
    baselines : mapping or None
        ``bias_rmse`` and ``mean_rmse`` on the validation ratings.
    """
    failed = sum(trial["status"] != "FINISHED" for trial in trials)
    early = sum(trial["stopped"] is not None for trial in trials)
    counts = f"{status}: {len(trials)} of {spec.trials} trials, {early} stopped early{EARLY}, {failed} failed"
    parts = []
    if trials:
        has_best = trials[0]["status"] == "FINISHED"
        rows = [cells(trial, spec) for trial in trials[:_ROWS]]
        parts.append(table(headings(spec), rows, marked=0 if has_best else None))
        if len(trials) > _ROWS:
            parts.append(text(f"The best {_ROWS} of {len(trials)}."))
        label = f"best {spec.metric.label} so far, trial by trial"
        parts.append(line_chart(best_so_far(trials, spec.metric), label))
    if baselines:
        bias, mean = shown(baselines["bias_rmse"]), shown(baselines["mean_rmse"])
        parts.append(text(f"Valid RMSE of mean and biases alone: {bias}; of the mean rating: {mean}."))
    return card(f"study {name}", counts, *parts)
