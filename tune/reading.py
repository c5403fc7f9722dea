"""Strict reading of a specification's values: every mistake is noted with its key path, none is raised."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.config import Choice, Range, WALSConfig
from toolkit.errors import did_you_mean
from tune.space import SCALES, Choices, Domain, Fixed, Interval


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


def parse_space(entries: Any, path: str, problems: list[str]) -> dict[str, Domain]:
    """Read the ``space`` of a specification.

    Parameters
    ----------
    entries : mapping
        Hyperparameter name to value, ``{low, high, scale}`` or ``{choices}``.
    path : str
        Key path of `entries`, for messages.
    problems : list of str
        Receives every mistake found.

    Returns
    -------
    dict of str to Domain
        The entries without mistakes.
    """
    if not isinstance(entries, Mapping):
        problems.append(f"{path} must map hyperparameters to domains, but got {entries!r}")
        return {}
    valid = WALSConfig.valid()
    space = {}
    for name, entry in entries.items():
        key = f"{path}.{name}"
        if name not in valid:
            problems.append(
                f"{key}: unknown hyperparameter{did_you_mean(str(name), valid)}; valid: {', '.join(valid)}"
            )
            continue
        found = len(problems)
        domain = _parse_domain(entry, key, valid[name], problems)
        if domain is not None and len(problems) == found:
            space[name] = domain
    return space


def _parse_domain(entry: Any, key: str, valid: Range | Choice, problems: list[str]) -> Domain | None:
    if not isinstance(entry, Mapping):
        if _check(entry, key, valid, problems):
            return Fixed(valid.cast(entry))
        if isinstance(entry, list):
            problems[-1] += f": write {{choices: {entry}}}"
        return None
    return (_parse_choices if "choices" in entry else _parse_interval)(entry, key, valid, problems)


def _parse_choices(
    entry: Mapping[Any, Any], key: str, valid: Range | Choice, problems: list[str]
) -> Choices | None:
    refuse_unknown(entry, ("choices",), f"{key}.", problems)
    values = entry["choices"]
    if not isinstance(values, list) or not values:
        problems.append(f"{key}.choices must be a list of at least one value, but got {values!r}")
        return None
    checked = [_check(value, f"{key}.choices[{n}]", valid, problems) for n, value in enumerate(values)]
    return Choices(tuple(valid.cast(value) for value in values)) if all(checked) else None


def _parse_interval(
    entry: Mapping[Any, Any], key: str, valid: Range | Choice, problems: list[str]
) -> Interval | None:
    refuse_unknown(entry, ("low", "high", "scale", "choices"), f"{key}.", problems)
    if isinstance(valid, Choice):
        problems.append(f"{key} takes words: write one of {', '.join(valid.words)}, or {{choices: [...]}}")
        return None
    missing = [f"{key}.{end} is missing" for end in ("low", "high") if end not in entry]
    problems.extend(missing)
    if missing or not _check_ends(entry, key, valid, problems):
        return None
    low, high, scale = entry["low"], entry["high"], entry.get("scale", "linear")
    if scale not in SCALES:
        problems.append(
            f"{key}.scale must be one of {', '.join(SCALES)}, but got {scale!r}"
            f"{did_you_mean(str(scale), SCALES)}"
        )
    if low > high:
        problems.append(f"{key}: low must not be above high, but got (low={low}, high={high})")
    if scale != "linear" and low <= 0:
        problems.append(f"{key}.low must be above 0 on a {scale} scale, but got {low}")
    return Interval(valid.cast(low), valid.cast(high), scale, valid.integer)


def _check_ends(entry: Mapping[Any, Any], key: str, valid: Range, problems: list[str]) -> bool:
    low, high = (_check(entry[end], f"{key}.{end}", valid, problems) for end in ("low", "high"))
    return low and high


def _check(value: Any, key: str, valid: Range | Choice, problems: list[str]) -> bool:
    problem = valid.problem(value)
    if problem:
        problems.append(f"{key} {problem}{exponent_hint(value)}")
    return problem is None


def exponent_hint(value: Any) -> str:
    """Return a hint where a number is text: YAML 1.1 reads ``1e-3`` so, and nobody expects it."""
    if isinstance(value, str):
        try:
            float(value)
        except ValueError:
            return ""
        return " (YAML takes that for text: write it with a point, such as 1.0e-3, and without quotes)"
    return ""


def parse_start(entries: Any, path: str, space: Mapping[str, Domain], problems: list[str]) -> list[Any]:
    """Read the ``start`` of a specification: names, and mappings of searched hyperparameters to values.

    Whether a name is a preset or a study is not asked here.
    """
    if not isinstance(entries, list):
        problems.append(
            f"{path} must be a list of presets, studies and mappings of values, but got {entries!r}"
        )
        return []
    read: list[Any] = []
    for number, entry in enumerate(entries):
        key = f"{path}[{number}]"
        if isinstance(entry, Mapping) and entry:
            read.append(_parse_point(entry, key, space, problems))
        elif isinstance(entry, str) and entry.strip():
            read.append(entry)
        else:
            problems.append(
                f"{key} must be a preset, a study's name or path, or a mapping of hyperparameters to values, "
                f"but got {entry!r}"
            )
    return read


def _parse_point(
    entry: Mapping[Any, Any], key: str, space: Mapping[str, Domain], problems: list[str]
) -> dict[str, Any]:
    valid = WALSConfig.valid()
    searched = [name for name, domain in space.items() if domain.searched]
    point = {}
    for name, value in entry.items():
        path = f"{key}.{name}"
        if name not in searched:
            problems.append(
                f"{path}: not a searched hyperparameter{did_you_mean(str(name), searched)}; "
                f"searched: {', '.join(searched)}"
            )
        elif _check(value, path, valid[name], problems):
            point[name] = valid[name].cast(value)
            problem = space[name].problem(point[name])
            problems.extend([f"{path} {problem}, from `space`"] if problem else [])
    return point
