"""The ``space`` and the ``start`` of a specification, read from its document."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.config import Choice, Range, WALSConfig
from toolkit.errors import did_you_mean
from tune.spec.reader import exponent_hint, refuse_unknown
from tune.spec.space import SCALES, Choices, Domain, Fixed, Interval


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
            what = "`space` does not search it" if name in valid else "unknown hyperparameter"
            hint = "" if name in valid else did_you_mean(str(name), searched)
            problems.append(f"{path}: {what}{hint}; searched: {', '.join(searched)}")
        elif _check(value, path, valid[name], problems):
            point[name] = valid[name].cast(value)
            problem = space[name].problem(point[name])
            problems.extend([f"{path} {problem}, from `space`"] if problem else [])
    return point
