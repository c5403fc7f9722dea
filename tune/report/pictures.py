"""All pictures of a study, each with a heading, a caption and a description in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from toolkit.figure_text import shown
from toolkit.solver import BaselineErrors
from tune.report import drawing, search_plots, space_plots
from tune.report.curves import curves
from tune.report.importance import importances
from tune.report.study_remarks import to_beat
from tune.spec import SearchSpec
from tune.study import TrialResult, best_so_far

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Picture:
    """One picture.

    Attributes
    ----------
    heading : str
    caption : str
        How to read it.
    description : str
        What it shows, for those who do not see it.
    figure : Figure
    wide : bool
        Whether it needs a row of its own.
    """

    heading: str
    caption: str
    description: str
    figure: Figure
    wide: bool = False

    @cached_property
    def document(self) -> str:
        """The figure as an SVG document. Drawing takes a tenth of a second, so it is done once."""
        return drawing.document(self.figure)


def pictures(
    spec: SearchSpec, trials: Sequence[TrialResult], baselines: BaselineErrors | None = None
) -> dict[str, Picture]:
    """Draw a study's trials.

    Parameters
    ----------
    spec : SearchSpec
        What was searched, and by which metric.
    trials : sequence of TrialResult
        In any order; also none.
    baselines : BaselineErrors, optional
        What the trials have to beat: the error of biases alone is a line where the picture reaches it.

    Returns
    -------
    dict of str to Picture
        ``history``, ``curves``, ``importances``, ``slices`` and ``parallel``.
    """
    metric, space = spec.metric, spec.space
    least = to_beat(metric, baselines)
    parts = importances(trials, space, metric)
    reached = [figure for figure in best_so_far(trials, metric) if figure is not None]
    went = (
        f"The best so far went from {shown(reached[0])} to {shown(reached[-1])}"
        if reached
        else "None has finished"
    )
    shares = ", ".join(f"{name} {part:.0%}" for name, part in parts.items()) or "too few trials"
    return {
        "history": Picture(
            "Trials, and the best so far",
            "Hollow: stopped early. A triangle is far worse than the axis reaches.",
            f"{metric.label} of {len(trials)} trials in the order they ended. {went}.",
            search_plots.history(trials, metric, least),
        ),
        "curves": Picture(
            f"{metric.label[0].upper()}{metric.label[1:]} by iteration",
            "One line for each trial; a circle where it was stopped early.",
            f"{metric.label} after each iteration, one line for each of {len(trials)} trials.",
            curves(trials, metric, least),
        ),
        "importances": Picture(
            "Importances",
            "fANOVA: part of the differences between finished trials, in this space. It says nothing of the "
            "direction, and little with few trials.",
            f"Importances: {shares}.",
            search_plots.importance_bars(parts),
        ),
        "slices": Picture(
            "Each hyperparameter by itself",
            "The same trials in each; equal choices are spread sideways.",
            f"{metric.label} against each searched hyperparameter.",
            space_plots.slices(trials, space, metric),
            wide=True,
        ),
        "parallel": Picture(
            "Hyperparameters together",
            "One line for each finished trial, the colour by the last axis.",
            f"Parallel coordinates of the searched hyperparameters and {metric.label}.",
            space_plots.parallel(trials, space, metric),
            wide=True,
        ),
    }
