"""Strict reading of a specification's values: every mistake is noted with its key path, none is raised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.errors import did_you_mean


class Reader:
    """Reads the values of a document's keys.

    Every method returns a valid value, whatever it was given: where `problems` has a new entry, a stand-in.

    Attributes
    ----------
    problems : list of str
        The mistakes found so far.
    """

    def __init__(self) -> None:
        self.problems: list[str] = []

    def whole(self, value: Any, key: str, low: int, alternative: str = "") -> int:
        """Return a whole number of at least `low`."""
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            self.problems.append(
                f"{key} must be a whole number of at least {low}{alternative}, but got {value!r}"
                f"{exponent_hint(value)}"
            )
            return low
        return value

    def real(self, value: Any, key: str, low: float, *, above: bool = False, alternative: str = "") -> float:
        """Return a finite number of at least `low`, or `above` it."""
        number = not isinstance(value, bool) and isinstance(value, int | float)
        if not number or not low <= value < math.inf or (above and value == low):
            rule = f"above {low:g}" if above else f"of at least {low:g}"
            self.problems.append(
                f"{key} must be a number {rule}{alternative}, but got {value!r}{exponent_hint(value)}"
            )
            return low
        return float(value)

    def word(self, value: Any, key: str, words: Sequence[str]) -> Any:
        """Return one of `words`."""
        if value not in words:
            self.problems.append(
                f"{key} must be one of {', '.join(words)}, but got {value!r}{did_you_mean(str(value), words)}"
            )
            return words[0]
        return value

    def section(self, value: Any, key: str, default: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return a mapping with the keys of `default`; those left out keep its values."""
        if not isinstance(value, Mapping):
            *first, last = default
            self.problems.append(f"{key} must map {', '.join(first)} and {last} to values, but got {value!r}")
            return dict(default)
        refuse_unknown(value, default, f"{key}.", self.problems)
        return {**default, **value}


def absent(value: Any) -> bool:
    """Tell whether a value is the word for no value, or YAML's or JSON's null."""
    return value is None or value == "none"


def refuse_unknown(entry: Mapping[Any, Any], keys: Iterable[str], prefix: str, problems: list[str]) -> None:
    """Note each key that is not one of `keys`, with the nearest valid one."""
    keys = tuple(keys)
    problems.extend(
        f"{prefix}{key}: unknown key{did_you_mean(str(key), keys)}; valid: {', '.join(keys)}"
        for key in entry
        if key not in keys
    )


def exponent_hint(value: Any) -> str:
    """Return a hint where a number is text: YAML 1.1 reads ``1e-3`` so, and nobody expects it."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return " (YAML takes that for text: write it with a point, such as 1.0e-3, and without quotes)"
    return ""
