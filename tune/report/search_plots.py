"""Pictures of a search over time, and of importances."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from tune.report import drawing
from tune.report.drawing import BEST, FAILED, FAINT, INK, PAPER, TRIAL
from tune.report.scales import title
from tune.spec import SearchMetric
from tune.study import TrialResult, best_so_far, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NOTHING_FINISHED = "No trial has finished."
TOO_FEW = "Too few finished trials to tell importances: four are needed."


def direction(metric: SearchMetric) -> str:
    """Return the metric's name, and which way is better."""
    return f"{metric.label} ({'less' if metric.mode == 'min' else 'more'} is better)"


@drawing.styled
def history(trials: Sequence[TrialResult], metric: SearchMetric, to_beat: float | None = None) -> Figure:
    """Draw each trial's figure in the order in which they ended, and the best so far.

    Parameters
    ----------
    trials : sequence of TrialResult
        In any order.
    metric : SearchMetric
        What the trials are compared by.
    to_beat : float, optional
        The error of biases alone: a line where the picture reaches it.

    Returns
    -------
    Figure
    """
    figure = drawing.new()
    if not trials:
        return drawing.note(figure, "No trial has ended.")
    axes = figure.subplots()
    ended = sorted(trials, key=lambda trial: trial["ended"])
    figures = [finite(value(trial, metric)) for trial in ended]
    low, high = drawing.window(figures, mode=metric.mode)
    sofar = [math.nan if found is None else found for found in best_so_far(trials, metric)]
    number = range(1, len(ended) + 1)
    axes.step(number, sofar, where="post", color=BEST, lw=2, label="best so far", zorder=3)
    places = list(zip(number, ended, figures, strict=True))
    dots(axes, [(n, trial, found) for n, trial, found in places if not math.isnan(found)], low, high)
    bias_only(axes, to_beat, low, high)
    failed = [n for n, _, found in places if math.isnan(found)]
    if failed:
        axes.plot(
            failed,
            [0.03 if metric.mode == "min" else 0.08] * len(failed),  # far worse ones are at the edge
            "x",
            transform=axes.get_xaxis_transform(),
            color=FAILED,
            ms=6,
            label="failed, or no figure",
        )
    pad = 0.03 * len(ended) + 0.3
    axes.set(xlim=(1 - pad, len(ended) + pad), ylim=(low, high), xlabel="trials, in the order they ended")
    axes.set_ylabel(direction(metric))
    drawing.whole(axes)
    if len(failed) == len(ended):
        axes.set_yticks([])
        drawing.note(figure, NOTHING_FINISHED)
    drawing.tidy(axes)
    figure.legend(loc="outside upper left", ncols=5, fontsize=9, handletextpad=0.4, columnspacing=1.2)
    return figure


def finite(found: float | None) -> float:
    """Return a figure, NaN where there is none that can be drawn."""
    return found if found is not None and math.isfinite(found) else math.nan


def bias_only(axes: Axes, error: float | None, low: float, high: float) -> None:
    """Mark the error of biases alone by a line, where it is between the ends of the axis."""
    if error is not None and low <= error <= high:
        axes.axhline(error, color=INK, lw=1, ls="--", label="bias-only", zorder=1)


def dots(axes: Axes, places: Sequence[tuple[float, TrialResult, float]], low: float, high: float) -> None:
    """Mark trials at (x, figure): hollow if stopped early, at the edge and pointing out if beyond it."""
    size = 6.0 if len(places) <= 60 else 4.5 if len(places) <= 200 else 3.5
    kinds: tuple[tuple[str, str, str, Callable[[TrialResult, float], bool]], ...] = (
        ("trial", "o", TRIAL, lambda trial, y: not trial["stopped"] and low <= y <= high),
        ("stopped early", "o", PAPER, lambda trial, y: bool(trial["stopped"]) and low <= y <= high),
        ("far worse", "^", PAPER, lambda _, y: y > high),
        ("far worse", "v", PAPER, lambda _, y: y < low),
    )
    for label, marker, fill, belongs in kinds:
        these = [(x, y) for x, trial, y in places if belongs(trial, y)]
        if these:
            inset = 0.02 * (high - low)
            axes.plot(
                [x for x, _ in these],
                [min(max(y, low + inset), high - inset) for _, y in these],
                marker,
                ms=size,
                mfc=fill,
                mec=TRIAL,
                mew=1,
                label=label,
            )


@drawing.styled
def importance_bars(parts: Mapping[str, float]) -> Figure:
    """Draw importances as bars.

    Parameters
    ----------
    parts : mapping of str to float
        As `tune.report.importance.importances` returns.

    Returns
    -------
    Figure
    """
    figure = drawing.new(height=max(2.2, 0.9 + 0.42 * len(parts)))
    if not parts:
        return drawing.note(figure, TOO_FEW)
    axes = figure.subplots()
    names = list(parts)
    bars = axes.barh(range(len(names)), [parts[name] for name in names], color=TRIAL, height=0.62)
    axes.bar_label(bars, [f"{parts[name]:.0%}" for name in names], padding=4, color=INK)
    axes.set_yticks(range(len(names)), [title(name, 24) for name in names])
    axes.invert_yaxis()
    axes.set(xlim=(0, 1.08), xlabel="part of the differences between trials that it explains")
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "25%", "50%", "75%", "100%"])
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="x", color=FAINT, lw=0.7)
    axes.set_axisbelow(True)
    return figure
