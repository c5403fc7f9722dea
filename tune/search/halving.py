"""Asynchronous successive halving (Li et al., MLSys 2020): which trials go on at a rung."""

from __future__ import annotations

import bisect
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tune.spec import EarlyStopping

if TYPE_CHECKING:
    from tune.study import TrialResult


def rungs(grace: int, factor: float, max_iterations: int) -> tuple[int, ...]:
    """Return the iterations after which a trial may be stopped, ascending, all below `max_iterations`.

    Parameters
    ----------
    grace : int
        The first rung.
    factor : float
        How many times farther each next rung is, above 1. A rung between two iterations is at the later one.
    max_iterations : int
        Where every trial ends.
    """
    # Rounded first: 10 · 1.1 is a little above 11 in binary.
    iterations = (math.ceil(round(grace * factor**n, 9)) for n in itertools.count())
    below = itertools.takewhile(lambda iteration: iteration < max_iterations, iterations)
    return tuple(dict.fromkeys(below))


def stops(losses_at_rung: Iterable[float], loss: float, factor: float) -> bool:
    """Tell whether a trial that reaches a rung is stopped there, by the rule of Ray Tune's scheduler.

    A trial goes on while its loss is no worse than the quantile ``1 / factor`` of the other losses, and where
    there are no others. A trial with NaN or an infinite loss never goes on.

    Parameters
    ----------
    losses_at_rung : iterable of float
        Losses of the trials that reached the rung before, including those that were stopped there. NaN and
        infinite ones do not count.
    loss : float
        The loss of the trial.
    factor : float
        Above 1.
    """
    rung = _Rung()
    for number, other in enumerate(losses_at_rung):
        rung.note(str(number), other)
    return rung.stops(loss, factor)


class Halving:
    """Remembers the losses at every rung, and decides who goes on.

    Parameters
    ----------
    stopping : EarlyStopping or None
        The rule of the study.
    max_iterations : int
        Where every trial ends.

    Attributes
    ----------
    rungs : tuple of int
        Iterations after which a verdict is due; empty where the study halves nothing.
    """

    name = "halving"

    def __init__(self, stopping: EarlyStopping | None, max_iterations: int) -> None:
        factor = stopping.reduction_factor if stopping else None
        self._factor = factor or math.inf
        self._patience = bool(stopping and stopping.patience)
        self.rungs = rungs(stopping.grace_iterations, factor, max_iterations) if stopping and factor else ()
        self._rungs = {rung: _Rung() for rung in self.rungs}

    def recall(self, trial: str, losses: Sequence[float], result: TrialResult | None = None) -> None:
        """Remember a trial of an earlier run by its loss after each iteration."""
        for iterations, rung in self._rungs.items():
            if len(losses) >= iterations:
                rung.note(trial, min(losses[:iterations]) if self._patience else losses[iterations - 1])

    def verdict(self, trial: str, iterations: int, loss: float) -> bool:
        """Tell whether a trial is stopped after so many iterations, and remember its loss there."""
        rung = self._rungs.get(iterations)
        if rung is None:
            return False
        # A trial whose process died may have been here before.
        rung.forget(trial)
        stopped = rung.stops(loss, self._factor)
        rung.note(trial, loss)
        return stopped

    def end(self, trial: str, iterations: int, loss: float | None) -> None:
        """Remember the loss of a trial that ended after so many iterations; None: it failed."""
        if loss is not None:
            self.verdict(trial, iterations, loss)


class _Rung:
    """The losses of the trials that reached a rung, kept in order: a verdict on thousands takes no sort."""

    def __init__(self) -> None:
        # Negated, as Ray has them: interpolated from the other end, a quantile can differ in its last digit.
        self._gains: list[float] = []
        self._gain: dict[str, float] = {}

    def note(self, trial: str, loss: float) -> None:
        """Remember a trial's loss, in place of the one that it had."""
        self.forget(trial)
        if math.isfinite(loss):
            self._gain[trial] = -loss
            bisect.insort(self._gains, -loss)

    def forget(self, trial: str) -> None:
        """Remove a trial."""
        if (gain := self._gain.pop(trial, None)) is not None:
            del self._gains[bisect.bisect_left(self._gains, gain)]

    def stops(self, loss: float, factor: float) -> bool:
        """Tell whether a loss is behind the quantile ``1 / factor`` of those here."""
        if not math.isfinite(loss):
            return True
        return bool(self._gains) and -loss < quantile(self._gains, (1 - 1 / factor) * 100 / 100)


def quantile(ordered: Sequence[float], share: float) -> float:
    """Return a quantile of ascending numbers, to the last digit as `numpy.percentile` interpolates it."""
    at = (len(ordered) - 1) * share
    below = math.floor(at)
    low, high, part = ordered[below], ordered[min(below + 1, len(ordered) - 1)], at - below
    # From the nearer end, so that the whole way is exactly the other end.
    return high - (high - low) * (1 - part) if part >= 0.5 else low + (high - low) * part
