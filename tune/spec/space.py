"""The domains in which hyperparameters are searched, and their form in Optuna."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Scale = Literal["linear", "log", "reverse_log"]
SCALES = ("linear", "log", "reverse_log")


@dataclass(frozen=True)
class Fixed:
    """One value."""

    value: Any

    @property
    def bounds(self) -> tuple[Any, Any]:
        """Smallest and largest value."""
        return self.value, self.value

    @property
    def searched(self) -> bool:
        """Whether there is more than one value."""
        return False

    def to_optuna(self) -> BaseDistribution | None:
        """Return None: there is nothing to sample."""
        return None

    def decode(self, raw: Any) -> Any:
        """Return the one value, whatever was sampled."""
        return self.value

    def encode(self, value: Any) -> Any:
        """Return the one value."""
        return self.value

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a hyperparameter's value, or None."""
        return None if value == self.value else f"must be {self.value}, but got {value!r}"

    def to_dict(self) -> Any:
        """Return the form that the domain has in a specification."""
        return self.value


# Share of a reversed scale that is added at each end.
_BEYOND = 0.05


@dataclass(frozen=True)
class Interval:
    """Numbers between two ends, both included.

    ``reverse_log`` samples densely at the upper end, as ``log`` does at the lower: it is ``low + high − x``
    for a log-uniform x, the UNIT_REVERSE_LOG_SCALE of AI Platform.
    """

    low: float
    high: float
    scale: Scale = "linear"
    integer: bool = False

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.low, self.high

    @property
    def searched(self) -> bool:
        """Whether there is more than one value."""
        return self.low < self.high

    @property
    def _sampled_bounds(self) -> tuple[float, float]:
        """Smallest and largest number that a sampler draws.

        A reversed scale of floats goes a little beyond both ends, which `decode` takes for the ends: half of
        the numbers on such a scale lie in its last hundredth, where the kernels of an estimator are too wide
        to lead.
        """
        if self.scale != "reverse_log" or self.integer:
            return self.low, self.high
        beyond = (self.high / self.low) ** _BEYOND
        return self.low / beyond, self.high * beyond

    def to_optuna(self) -> BaseDistribution | None:
        """Return what Optuna samples from, or None where both ends are one value.

        A reversed scale is sampled unreversed; `decode` turns it around.
        """
        from optuna.distributions import FloatDistribution, IntDistribution

        if not self.searched:
            return None
        low, high = self._sampled_bounds
        log = self.scale != "linear"
        return (
            IntDistribution(int(low), int(high), log=log)
            if self.integer
            else FloatDistribution(low, high, log=log)
        )

    def decode(self, raw: float | None) -> int | float:
        """Return the hyperparameter for what was sampled; None, where nothing is, gives the low end."""
        return self._turned(self.low if raw is None else raw)

    def encode(self, value: float) -> int | float:
        """Return what `decode` makes `value` of; a value outside counts as the end that it is beyond.

        Every number that `decode` returns comes back to its last digit. On a reversed scale of floats the
        difference is rounded, so that one of its neighbours, or a number just beyond an end, may be the one.
        """
        inside = min(max(value, self.low), self.high)
        raw = self._turned(inside)
        if self.decode(raw) == inside:
            return raw
        difference = self.low + self.high - inside
        near = (difference, math.nextafter(difference, -math.inf), math.nextafter(difference, math.inf))
        low, high = self._sampled_bounds
        sampled = (min(max(number, low), high) for number in near)
        return next((number for number in sampled if self.decode(number) == inside), raw)

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a hyperparameter's value, or None."""
        if self.low <= value <= self.high:
            return None
        return f"must be between {self.low:g} and {self.high:g}, but got {value!r}"

    def _turned(self, value: float) -> int | float:
        """Return a number turned around if the scale is reversed, which is the same in both directions."""
        turned = self.low + self.high - value if self.scale == "reverse_log" else value
        inside = min(max(turned, self.low), self.high)
        return round(inside) if self.integer else float(inside)

    def to_dict(self) -> dict[str, Any]:
        """Return the form that the domain has in a specification."""
        return {"low": self.low, "high": self.high, "scale": self.scale}


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def bounds(self) -> tuple[Any, Any]:
        """Smallest and largest value."""
        return min(self.values), max(self.values)

    @property
    def searched(self) -> bool:
        """Whether there is more than one value."""
        return len(set(self.values)) > 1

    def to_optuna(self) -> BaseDistribution | None:
        """Return what Optuna samples from, or None where there is one value only."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values) if self.searched else None

    def decode(self, raw: Any) -> Any:
        """Return the hyperparameter for what was sampled; None, where nothing is, gives the first choice."""
        return self.values[0] if raw is None else raw

    def encode(self, value: Any) -> Any:
        """Return the choice that `value` is, or for a number the nearest one.

        Raises
        ------
        ValueError
            When it is a word that is not among the choices.
        """
        problem = self.problem(value)
        if problem is None:
            return self.values[self.values.index(value)]
        if all(isinstance(number, int | float) for number in (value, *self.values)):
            return min(self.values, key=lambda choice: abs(choice - value))
        raise ValueError(problem)

    def problem(self, value: Any) -> str | None:
        """Return what is wrong with a hyperparameter's value, or None."""
        if value in self.values:
            return None
        return f"must be one of {', '.join(map(str, self.values))}, but got {value!r}"

    def to_dict(self) -> dict[str, Any]:
        """Return the form that the domain has in a specification."""
        return {"choices": list(self.values)}


# `decode` makes a hyperparameter of what a sampler drew, `encode` the other way round.
Domain = Fixed | Interval | Choices
