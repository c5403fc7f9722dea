"""Reads the ``space`` and the ``start`` of a specification."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from toolkit.config import Choice, Range, WALSConfig
from toolkit.errors import did_you_mean
from tune.spec.checks import MistakesError, key_text, problem_of, unknown_keys
from tune.spec.space import SCALES, Choices, Domain, Fixed, Interval, Scale

# On a logarithmic scale. Nearer to 0, the ends that are added to a reversed scale leave the range of floats.
_LEAST = 1e-100


def parse_space(entries: object) -> dict[str, Domain]:
    """Return the domains of a ``space``.

    Parameters
    ----------
    entries : mapping
        Hyperparameter name to value, ``{low, high, scale}`` or ``{choices}``.

    Raises
    ------
    MistakesError
        Listing every mistake.
    """
    if not isinstance(entries, Mapping):
        raise MistakesError([f" must map hyperparameters to domains, but got {entries!r}"])
    valid = WALSConfig.valid()
    space: dict[str, Domain] = {}
    lines: list[str] = []
    for name, entry in entries.items():
        key = f".{key_text(name)}"
        if name not in valid:
            hint = did_you_mean(key_text(name), valid)
            lines.append(f"{key}: unknown hyperparameter{hint}; valid: {', '.join(valid)}")
            continue
        try:
            space[name] = _parse_domain(entry, valid[name])
        except MistakesError as mistakes:
            lines += mistakes.under(key)
    if not lines and not any(domain.searched for domain in space.values()):
        lines.append(" must search at least one hyperparameter, but all are fixed: use `walslab train`")
    if lines:
        raise MistakesError(lines)
    return space


def _parse_domain(entry: object, valid: Range | Choice) -> Domain:
    if not isinstance(entry, Mapping):
        if problem := problem_of(entry, valid):
            hint = f": write {{choices: {entry}}}" if isinstance(entry, list) else ""
            raise MistakesError([problem + hint])
        return Fixed(valid.cast(entry))
    if "choices" in entry:
        values = entry["choices"]
        lines = [*unknown_keys(entry, ["choices"]), *choice_problems("choices", values, valid)]
        if lines:
            raise MistakesError(lines)
        return Choices(tuple(valid.cast(value) for value in values))
    lines = unknown_keys(entry, ["low", "high", "scale", "choices"])
    if isinstance(valid, Choice):
        words = ", ".join(valid.words)
        raise MistakesError([*lines, f" takes words: write one of {words}, or {{choices: [...]}}"])
    scale = entry.get("scale", "linear")
    if problem := problem_of(scale, Choice(SCALES)):
        lines.append(f".scale{problem}")
    missing = [f".{end} is missing" for end in ("low", "high") if end not in entry]
    ends = {end: entry[end] for end in ("low", "high") if end in entry}
    lines += missing or interval_problems(ends, "linear" if problem else scale, valid)
    if lines:
        raise MistakesError(lines)
    return Interval(valid.number(ends["low"]), valid.number(ends["high"]), scale, valid.integer)


def choice_problems(key: str, values: object, valid: Range | Choice) -> list[str]:
    """Return what is wrong with the values that `key` lists."""
    if not isinstance(values, list) or not values:
        return [f".{key} must be a list of at least one value, but got {values!r}"]
    problems = (problem_of(value, valid) for value in values)
    return [f".{key}[{number}]{problem}" for number, problem in enumerate(problems) if problem]


def interval_problems(ends: Mapping[str, Any], scale: Scale, valid: Range) -> list[str]:
    """Return what is wrong with an interval; `ends` holds its keys, that of the low end first."""
    valid = replace(valid, optional=False)
    lines = [f".{key}{problem}" for key, value in ends.items() if (problem := problem_of(value, valid))]
    if lines:
        return lines
    (low_key, low), (high_key, high) = ends.items()
    got = f"({low_key}={low}, {high_key}={high})"
    if low > high:
        lines.append(f": {low_key} must not be above {high_key}, but got {got}")
    if low < high and math.isclose(low, high):  # a sampler's logarithms cannot tell them apart
        lines.append(f": {low_key} and {high_key} must be equal or farther apart, but got {got}")
    if scale != "linear" and low < _LEAST:
        lines.append(f".{low_key} must be at least {_LEAST:g} on a {scale} scale, but got {low}")
    return lines


def parse_start(entries: object, space: Mapping[str, Domain]) -> tuple[str | dict[str, Any], ...]:
    """Return the entries of a ``start``: names, and mappings of searched hyperparameters to values.

    Whether a name is a preset or a study is not asked here.

    Raises
    ------
    MistakesError
        Listing every mistake.
    """
    if not isinstance(entries, list):
        raise MistakesError(
            [f" must be a list of presets, studies and mappings of values, but got {entries!r}"]
        )
    start: list[str | dict[str, Any]] = []
    lines: list[str] = []
    for number, entry in enumerate(entries):
        if isinstance(entry, Mapping) and entry:
            try:
                start.append(_parse_point(entry, space))
            except MistakesError as mistakes:
                lines += mistakes.under(f"[{number}]")
        elif isinstance(entry, str) and entry.strip() and entry.isprintable():
            start.append(entry)
        else:
            lines.append(
                f"[{number}] must be a preset, a study's name or path, or a mapping of hyperparameters to "
                f"values, but got {entry!r}"
            )
    if lines:
        raise MistakesError(lines)
    return tuple(start)


def _parse_point(entry: Mapping[Any, Any], space: Mapping[str, Domain]) -> dict[str, Any]:
    valid = WALSConfig.valid()
    searched = [name for name, domain in space.items() if domain.searched]
    point: dict[str, Any] = {}
    lines: list[str] = []
    for name, value in entry.items():
        key = f".{key_text(name)}"
        if name not in searched:
            known = name in valid
            what = "`space` does not search it" if known else "unknown hyperparameter"
            hint = "" if known else did_you_mean(key_text(name), searched)
            lines.append(f"{key}: {what}{hint}; searched: {', '.join(searched)}")
        elif problem := problem_of(value, valid[name]):
            lines.append(key + problem)
        else:
            point[name] = valid[name].cast(value)
            if outside := space[name].problem(point[name]):
                lines.append(f"{key} {outside}, from `space`")
    if lines:
        raise MistakesError(lines)
    return point
