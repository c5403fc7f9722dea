"""Axes of hyperparameters: positions and ticks, from 0 to 1, on the scale that was searched."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tune.spec import Choices, Domain, Fixed, Interval

_STEPS = (1, 2, 5)
_CLOSE = 0.09  # ticks nearer than that have labels that touch
_LONGEST = 12  # characters of a choice


def searched(space: Mapping[str, Domain]) -> dict[str, Domain]:
    """Return the part of a space that has more than one value."""
    return {name: domain for name, domain in space.items() if domain.searched}


def title(name: str, width: int = 16) -> str:
    """Return a hyperparameter's name in words, wrapped."""
    return textwrap.fill(name.replace("_", " "), width)


def short(value: object) -> str:
    """Return a value in a few characters."""
    if isinstance(value, float):
        return f"{value:.3g}"
    return textwrap.shorten(str(value), _LONGEST, placeholder="…")


@dataclass(frozen=True)
class Scale:
    """The axis of one searched hyperparameter.

    Attributes
    ----------
    domain : Domain
        The values that are searched.
    """

    domain: Domain

    def position(self, value: object) -> float:
        """Return the position of a value, 0 to 1: at an end where it is beyond it, NaN where it is none."""
        domain = self.domain
        if not isinstance(domain, Interval):
            values = _different(domain)
            return (values.index(value) + 0.5) / len(values) if value in values else math.nan
        if isinstance(value, bool) or not isinstance(value, int | float) or math.isnan(value):
            return math.nan
        if not domain.searched:
            return 0.5
        low, high = float(domain.low), float(domain.high)
        inside = min(max(float(value), low), high)
        if domain.scale == "linear":
            return (inside - low) / (high - low)
        # Rounding may carry the reversed one below the low end.
        log = math.log(max(inside if domain.scale == "log" else low + high - inside, low) / low)
        return log / math.log(high / low) if domain.scale == "log" else 1 - log / math.log(high / low)

    def positions(self, values: Sequence[object]) -> list[float]:
        """Return the positions of several values; equal choices are spread, so that none hides another."""
        room = 0.5 / len(set(self.domain.values)) if isinstance(self.domain, Choices) else 0.0
        # Multiples of the golden ratio, modulo 1, spread evenly however many there are.
        return [
            self.position(value) + room * ((n * 0.618034 + 0.5) % 1 - 0.5) for n, value in enumerate(values)
        ]

    def ticks(self) -> list[tuple[float, str]]:
        """Return positions and labels of ticks: both ends, and round values between that keep a distance."""
        domain = self.domain
        if not isinstance(domain, Interval):
            return [(self.position(value), short(value)) for value in _different(domain)]
        kept = [(0.0, short(domain.low)), (1.0, short(domain.high))]
        for value in _round_values(domain):
            at = self.position(value)
            if all(abs(at - other) > _CLOSE for other, _ in kept):
                kept.append((at, f"{value:g}"))
        return sorted(kept)


def _different(domain: Fixed | Choices) -> list[object]:
    return [domain.value] if isinstance(domain, Fixed) else list(dict.fromkeys(domain.values))


def _round_values(domain: Interval) -> list[float]:
    """Return round values inside an interval, those of fewest digits first."""
    low, high = float(domain.low), float(domain.high)
    if domain.scale == "linear":
        step = 10.0 ** math.floor(math.log10((high - low) / 2))
        step *= next(k for k in (1, 2, 2.5, 5, 10) if (high - low) / (step * k) <= 5)
        values = np.arange(math.ceil(low / step), math.floor(high / step) + 1) * step
        return [float(f"{value:.10g}") for value in values if not domain.integer or value == round(value)]
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [k * 10.0**p for k in _STEPS for p in powers]
    if domain.scale == "reverse_log":
        # Its fine end is the upper one: round distances from there.
        found = [float(f"{low + high - value:.6g}") for value in found]
    return [value for value in found if low < value < high]
