"""Judges a trial by its own figures: which iteration is the best, and when the trial ends."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.errors import WalslabError
from toolkit.solver import stopping
from tune.search import History, TrialSettings


class NotFiniteError(WalslabError, ArithmeticError):
    """The figure of a trial is no finite number."""


class TrialLosses:
    """The loss of a trial after each iteration.

    Parameters
    ----------
    settings : TrialSettings
        Gives the metric, the patience and the rungs.
    iterations : int
        After how many the trial is through.
    history : dict of str to list of float, optional
        Figures of the iterations that an earlier attempt did.
    """

    def __init__(self, settings: TrialSettings, iterations: int, history: History | None = None) -> None:
        self._settings, self._iterations = settings, iterations
        self._losses = settings.metric.losses(history or {})

    def add(self, figures: Mapping[str, float | None]) -> None:
        """Take the figures of the next iteration.

        Raises
        ------
        NotFiniteError
            When the figure that the trial is judged by is missing or not finite.
        """
        metric = self._settings.metric
        loss = metric.loss(metric.value(figures))
        if loss == float("inf"):
            raise NotFiniteError(
                f"{metric.label} is not finite after iteration {len(self._losses) + 1}: more "
                "regularization is needed"
            )
        self._losses.append(loss)

    @property
    def is_best(self) -> bool:
        """Tell whether the trial would end with the last iteration: the best one, or any without patience."""
        return not self._settings.patience or stopping.best(self._losses) == len(self._losses) - 1

    @property
    def stalled(self) -> bool:
        """Tell whether the trial has made no progress for as long as its patience lasts."""
        return stopping.stalled(self._losses, self._settings.patience)

    @property
    def through(self) -> bool:
        """Tell whether all iterations are done."""
        return len(self._losses) >= self._iterations

    @property
    def at_rung(self) -> bool:
        """Tell whether the verdict of other trials is due."""
        return len(self._losses) in self._settings.rungs
