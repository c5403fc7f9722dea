"""The budgets of a study: when no further trial is handed out."""

from __future__ import annotations

import math
from collections.abc import Iterable

from tune.search.clock import Clock
from tune.spec import SearchSpec


class Budget:
    """Tells which budget of a study is used up.

    Parameters
    ----------
    spec : SearchSpec
        Its `max_failures`, `max_seconds` and `trials` are the budgets.
    clock : Clock
        Measures the seconds of this run.
    seconds_before : float
        How long earlier runs of the study took.
    """

    def __init__(self, spec: SearchSpec, clock: Clock, seconds_before: float) -> None:
        self._spec, self._clock, self._before = spec, clock, seconds_before
        self._began = clock.monotonic()

    @property
    def seconds(self) -> float:
        """How long the study has run, earlier runs included."""
        return self._before + self._clock.monotonic() - self._began

    def too_many_failed(self, n_failed: int) -> bool:
        """Tell whether `max_failures` is reached."""
        return bool(self._spec.max_failures and n_failed >= self._spec.max_failures)

    def used_up(self, n_failed: int, n_proposed: int) -> str | None:
        """Return the budget that is used up, in words, or None.

        Parameters
        ----------
        n_failed : int
            Trials that failed.
        n_proposed : int
            Trials that were handed out and do not wait to be handed out again.
        """
        spec = self._spec
        if self.too_many_failed(n_failed):
            return f"{n_failed} trials failed (max_failures)"
        if spec.max_seconds and self.seconds >= spec.max_seconds:
            return f"{spec.max_seconds:g} seconds are over (max_seconds)"
        if n_proposed >= spec.trials:
            return f"all {spec.trials} trials were handed out"
        return None


def covered_seconds(spans: Iterable[tuple[float, float]]) -> float:
    """Return how long at least one of the spans (begin, end) was under way, in seconds."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
