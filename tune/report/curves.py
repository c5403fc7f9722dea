"""Picture of how trials learned: their metric by iteration."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from tune.report import drawing
from tune.report.drawing import BEST, FAILED, PAPER, TRIAL
from tune.report.search_plots import bias_only, direction, finite
from tune.spec import SearchMetric
from tune.study import TrialResult, best_first, loss

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_POINTS = 16_000  # of all curves together: nobody sees more, and they make a page slow


@drawing.styled
def curves(trials: Sequence[TrialResult], metric: SearchMetric, to_beat: float | None = None) -> Figure:
    """Draw the metric of every trial by iteration, the best trial's on top of the others.

    Parameters
    ----------
    trials : sequence of TrialResult
        In any order; of long histories every n-th iteration is drawn, and the last.
    metric : SearchMetric
        What the trials are compared by.
    to_beat : float, optional
        The error of biases alone: a line where the picture reaches it.

    Returns
    -------
    Figure
    """
    figure = drawing.new()
    known = [(trial, found) for trial in best_first(trials, metric) if (found := _history(trial, metric))]
    if not known:
        return drawing.note(figure, "No trial has reported an iteration.")
    axes = figure.subplots()
    most = max(12, _POINTS // len(known))
    faint = min(0.75, max(0.25, 12 / len(known)))
    labelled = set()
    for trial, found in reversed(known):
        x = np.unique(np.linspace(0, len(found) - 1, min(len(found), most)).round().astype(int))
        y = np.array(found)[x]
        is_best = trial is known[0][0] and math.isfinite(loss(trial, metric))
        failed = trial["status"] != "FINISHED"
        label = f"{trial['trial']}, the best" if is_best else "failed" if failed else "trial"
        axes.plot(
            x + 1,
            y,
            color=BEST if is_best else FAILED if failed else TRIAL,
            ls=":" if failed else "-",
            lw=2.4 if is_best else 0.8,
            alpha=1 if is_best else faint,
            label=None if label in labelled else label,
        )
        labelled.add(label)
        if trial["stopped"] or len(found) == 1:
            early = "stopped early" if trial["stopped"] else None
            axes.plot(
                [x[-1] + 1],
                [y[-1]],
                "o",
                ms=3.5 if len(known) <= 60 else 2.5,
                mfc=PAPER,
                mec=BEST if is_best else TRIAL,
                mew=0.8,
                label=None if early in labelled else early,
            )
            labelled.add(str(early))
    # Where curves end is what differs; the first iterations are far off, and may leave the picture.
    skipped = max(len(found) for _, found in known) // 5
    ends = [y for _, found in known for y in found[skipped:] or found[-1:]]
    low, high = drawing.window(ends, mode=metric.mode)
    axes.set_ylim(low, high)
    bias_only(axes, to_beat, low, high)
    axes.set(xlabel="iteration", ylabel=direction(metric))
    drawing.whole(axes)
    drawing.tidy(axes)
    handles, labels = axes.get_legend_handles_labels()
    legend = figure.legend(handles[::-1], labels[::-1], loc="outside upper left", ncols=4, fontsize=9)
    for handle in legend.legend_handles:
        if handle is not None:
            handle.set_alpha(1)
    return figure


def _history(trial: TrialResult, metric: SearchMetric) -> list[float]:
    return [finite(found) for found in trial["history"].get(metric.key, [])]
