"""Plots of a study as matplotlib figures: the pictures of its report, to look at in a notebook or to save.

Each function takes a study, also one that still runs, and returns a new `matplotlib.figure.Figure`. A
notebook shows it, ``figure.savefig("name.png")`` writes it, and ``figure.axes`` are there to change. pyplot
knows nothing of it, so nothing has to be closed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from toolkit.inputs import checked_type
from tune.report import baselines_of, curves, importance, search_plots, space_plots, study_remarks
from tune.study import Study

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "hyperparameter_importances",
    "learning_curves",
    "optimization_history",
    "parallel_coordinates",
    "slices",
]


def optimization_history(study: Study) -> Figure:
    """Draw the figure of each trial in the order in which the trials ended, and the best so far.

    Parameters
    ----------
    study : Study
        As `Study.open` returns it.

    Returns
    -------
    matplotlib.figure.Figure
        Trials that were stopped early are hollow. Those far worse than most are triangles at the edge. The
        error of mean and biases alone is a line where the figure reaches it.

    Raises
    ------
    ConfigError
        When `study` is no study.
    """
    study = _checked(study)
    return search_plots.history(study.trials(), study.spec.metric, _to_beat(study))


def learning_curves(study: Study) -> Figure:
    """Draw the metric of each trial by iteration: the RMSE, or the ranking metric that is searched.

    Parameters
    ----------
    study : Study
        As `Study.open` returns it.

    Returns
    -------
    matplotlib.figure.Figure
        A line for each trial, the best on top. A circle ends a trial that was stopped early.

    Raises
    ------
    ConfigError
        When `study` is no study.
    """
    study = _checked(study)
    return curves.curves(study.trials(), study.spec.metric, _to_beat(study))


def hyperparameter_importances(study: Study) -> Figure:
    """Draw which part of the differences between trials each searched hyperparameter explains, by fANOVA.

    Parameters
    ----------
    study : Study
        As `Study.open` returns it, with at least four finished trials.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ConfigError
        When `study` is no study.

    References
    ----------
    F. Hutter, H. Hoos and K. Leyton-Brown, "An efficient approach for assessing hyperparameter importance",
    ICML 2014.
    """
    study = _checked(study)
    parts = importance.importances(study.trials(), study.spec.space, study.spec.metric)
    return search_plots.importance_bars(parts)


def slices(study: Study) -> Figure:
    """Draw the metric of the finished trials against each searched hyperparameter.

    Parameters
    ----------
    study : Study
        As `Study.open` returns it.

    Returns
    -------
    matplotlib.figure.Figure
        Axes for each hyperparameter, on the scale it was searched on. Equal choices are spread sideways.

    Raises
    ------
    ConfigError
        When `study` is no study.
    """
    study = _checked(study)
    return space_plots.slices(study.trials(), study.spec.space, study.spec.metric)


def parallel_coordinates(study: Study) -> Figure:
    """Draw every finished trial as a line across the searched hyperparameters, to the metric.

    Parameters
    ----------
    study : Study
        As `Study.open` returns it.

    Returns
    -------
    matplotlib.figure.Figure
        Each hyperparameter has an axis, on the scale it was searched on. The colour of a line is by the last
        axis, the metric. The best trial is thick.

    Raises
    ------
    ConfigError
        When `study` is no study.
    """
    study = _checked(study)
    return space_plots.parallel(study.trials(), study.spec.space, study.spec.metric)


def _to_beat(study: Study) -> float | None:
    return study_remarks.to_beat(study.spec.metric, baselines_of(study.facts))


def _checked(study: Study) -> Study:
    return checked_type("study", study, Study, "what Study.open or create_study returns")
