"""When to stop training, decided from the errors so far."""

from __future__ import annotations

import math
from collections.abc import Sequence


def stalled(errors: Sequence[float], patience: int, tolerance: float = 1e-5) -> bool:
    """Return whether none of the last `patience` errors is better than the best error before them.

    Parameters
    ----------
    errors : sequence of float
        Validation error after each iteration; NaN is never better.
    patience : int
        Iterations without progress to wait for; 0 never stops.
    tolerance : float, default 1e-5
        An improvement that is smaller does not count.
    """
    if patience < 1 or len(errors) <= patience:
        return False
    before, last = errors[:-patience], errors[-patience:]
    return not _least(last) < _least(before) - tolerance


def best(errors: Sequence[float]) -> int:
    """Return the position of the smallest error, the first of equal ones; NaN counts as infinite."""
    return min(range(len(errors)), key=lambda at: (_comparable(errors[at]), at))


def _least(errors: Sequence[float]) -> float:
    return min(map(_comparable, errors))


def _comparable(error: float) -> float:
    return math.inf if math.isnan(error) else error
