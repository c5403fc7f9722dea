"""Asynchronous successive halving (Li et al., MLSys 2020): a rule on losses, and nothing else."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np


def rungs(grace: int, factor: float, max_iterations: int) -> tuple[int, ...]:
    """Return the iterations after which a trial may be stopped, ascending, all below `max_iterations`.

    Parameters
    ----------
    grace : int
        The first rung.
    factor : float
        How many times farther each next rung is, above 1; one between two iterations is at the later.
    max_iterations : int
        Where every trial ends.
    """
    # Rounded first: 10 · 1.1 is a little above 11 in binary.
    places = (math.ceil(round(grace * factor**n, 9)) for n in itertools.count())
    below = itertools.takewhile(lambda place: place < max_iterations, places)
    return tuple(dict.fromkeys(below))


def stops(losses_at_rung: Sequence[float], loss: float, factor: float) -> bool:
    """Tell whether a trial that reaches a rung is stopped there; the rule of Ray Tune's scheduler.

    Parameters
    ----------
    losses_at_rung : sequence of float
        Of the trials that reached the rung before, those that were stopped there included. NaN and infinite
        ones are left out.
    loss : float
        The trial's own. It goes on while it is no worse than the quantile ``1 / factor`` of the others, and
        where there are none; with NaN or an infinite loss it never does.
    factor : float
        Above 1.
    """
    if not math.isfinite(loss):
        return True
    others = [-other for other in losses_at_rung if math.isfinite(other)]
    # Negated, as Ray has it: interpolated from the other end, a quantile can differ in its last digit.
    return bool(others) and -loss < float(np.percentile(others, (1 - 1 / factor) * 100))
