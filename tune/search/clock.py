"""The clock that a run of a study reads."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """A source of the time; the standard library's module ``time`` is one."""

    def time(self) -> float:
        """Return the seconds since the epoch."""

    def monotonic(self) -> float:
        """Return seconds that never go backwards; their zero means nothing."""
