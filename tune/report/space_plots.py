"""Pictures of the searched space: parallel coordinates, and slices of one hyperparameter each."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from toolkit.figure_text import shown
from tune.report import drawing
from tune.report.drawing import BEST, FAINT, INK, PAPER, STEPS
from tune.report.scales import Scale, searched, title
from tune.report.search_plots import NOTHING_FINISHED, direction, dots, finite
from tune.spec import Domain, Interval, SearchMetric
from tune.study import TrialResult, best_first, loss, value

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_NOTHING_SEARCHED = "Every hyperparameter was fixed."
_COLUMNS = 3  # of slices


@drawing.styled
def parallel(trials: Sequence[TrialResult], space: Mapping[str, Domain], metric: SearchMetric) -> Figure:
    """Draw every finished trial as a line across the searched hyperparameters, to the metric.

    Each hyperparameter has an axis of its own, on the scale it was searched on. Lines are coloured by the
    metric, the better ones on top, the best one thick.

    Parameters
    ----------
    trials : sequence of TrialResult
        In any order.
    space : mapping of str to Domain
        What was searched.
    metric : SearchMetric
        What the trials are compared by.

    Returns
    -------
    Figure
    """
    names = searched(space)
    figure = drawing.new(width=max(6.6, 2.0 * (len(names) + 1)), height=4.4)
    finished = [trial for trial in best_first(trials, metric) if math.isfinite(loss(trial, metric))]
    if not finished or not names:
        return drawing.note(figure, _NOTHING_SEARCHED if finished else NOTHING_FINISHED)
    axes = figure.subplots()
    scales = [Scale(domain) for domain in names.values()]
    figures = [finite(value(trial, metric)) for trial in finished]
    low, high = drawing.window(figures, mode=metric.mode)
    colours = [STEPS[n] for n in drawing.steps(figures, mode=metric.mode)]
    faint = min(0.8, max(0.3, 40 / len(finished)))
    places = [
        scale.positions([trial["config"].get(name) for trial in finished])
        for name, scale in zip(names, scales, strict=True)
    ]
    places.append([min(max((found - low) / (high - low), 0), 1) for found in figures])
    lines = list(zip(finished, figures, colours, *places, strict=True))
    for trial, found, colour, *heights in reversed(lines):
        best = trial is finished[0]
        label = f"{trial['trial']}, the best: {metric.label} {shown(found)}" if best else None
        style = (
            {"color": BEST, "lw": 2.6, "zorder": 3} if best else {"color": colour, "lw": 0.9, "alpha": faint}
        )
        axes.plot(range(len(heights)), heights, solid_capstyle="round", label=label, **style)
    for place, (name, scale) in enumerate(zip(names, scales, strict=True)):
        _axis(axes, place, scale.ticks(), f"{title(name)}{_scale_name(scale.domain)}")
    _metric_axis(axes, len(names), metric, low, high)
    axes.set(xlim=(-0.35, len(names) + 0.45), ylim=(-0.03, 1.03))
    axes.set_axis_off()
    figure.legend(loc="outside upper left", fontsize=9)
    return figure


def _scale_name(domain: Domain) -> str:
    if isinstance(domain, Interval) and domain.scale != "linear":
        return f"\n({domain.scale.replace('_', ' ')} scale)"
    return ""


def _axis(axes: Axes, place: int, ticks: Sequence[tuple[float, str]], name: str) -> None:
    axes.vlines(place, 0, 1, color=INK, lw=1, zorder=4)
    box = {"facecolor": PAPER, "edgecolor": "none", "alpha": 0.8, "pad": 0.8}
    for at, label in ticks:
        axes.hlines(at, place - 0.025, place, color=INK, lw=1, zorder=4)
        axes.text(place - 0.045, at, label, ha="right", va="center", fontsize=8.5, bbox=box, zorder=5)
    axes.text(place, -0.06, name, ha="center", va="top", fontsize=9.5)


def _metric_axis(axes: Axes, place: int, metric: SearchMetric, low: float, high: float) -> None:
    """Draw the last axis, which is also the key to the colours."""
    from matplotlib.ticker import MaxNLocator

    for n, colour in enumerate(STEPS):
        part = n if metric.mode == "min" else len(STEPS) - 1 - n
        axes.vlines(
            place, part / len(STEPS), (part + 1) / len(STEPS), color=colour, lw=7, zorder=4, capstyle="butt"
        )
    for tick in MaxNLocator(6).tick_values(low, high):
        if low <= tick <= high:
            axes.text(place + 0.06, (tick - low) / (high - low), f"{tick:.6g}", va="center", fontsize=8.5)
    better = "less is better" if metric.mode == "min" else "more is better"
    axes.text(place, -0.06, f"{metric.label}\n({better})", ha="center", va="top", fontsize=9.5)


@drawing.styled
def slices(trials: Sequence[TrialResult], space: Mapping[str, Domain], metric: SearchMetric) -> Figure:
    """Draw the metric of the finished trials against each searched hyperparameter.

    Parameters
    ----------
    trials : sequence of TrialResult
        In any order.
    space : mapping of str to Domain
        What was searched.
    metric : SearchMetric
        What the trials are compared by.

    Returns
    -------
    Figure
    """
    names = searched(space)
    columns = min(_COLUMNS, max(1, len(names)))
    rows = max(1, math.ceil(len(names) / columns))
    figure = drawing.new(width=max(6.6, 3.9 * columns), height=0.5 + 2.9 * rows)
    finished = [trial for trial in best_first(trials, metric) if math.isfinite(loss(trial, metric))]
    if not finished or not names:
        return drawing.note(figure, _NOTHING_SEARCHED if finished else NOTHING_FINISHED)
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False).ravel()
    figures = [finite(value(trial, metric)) for trial in finished]
    low, high = drawing.window(figures, mode=metric.mode)
    for axes, (name, domain) in zip(grid, names.items(), strict=False):
        scale = Scale(domain)
        at = scale.positions([trial["config"].get(name) for trial in finished])
        dots(axes, list(zip(at, finished, figures, strict=True))[::-1], low, high)
        axes.plot(
            at[:1], figures[:1], "D", color=BEST, ms=8, mec=PAPER, label=f"{finished[0]['trial']}, the best"
        )
        ticks = scale.ticks()
        axes.set_xticks([x for x, _ in ticks], [label for _, label in ticks], fontsize=8.5)
        axes.set(xlim=(-0.05, 1.05), ylim=(low, high))
        axes.set_xlabel(f"{title(name, 40)}{_scale_name(domain).replace(chr(10), ' ')}")
        drawing.tidy(axes)
        axes.grid(axis="x", color=FAINT, lw=0.5)
    for axes in grid[len(names) :]:
        axes.set_visible(False)
    figure.supylabel(direction(metric), fontsize=10)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper left", ncols=5, fontsize=9)
    return figure
