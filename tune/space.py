"""The domains a hyperparameter is searched in, and their form in Ray Tune."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from toolkit.config import Choice, Range, WALSConfig
from toolkit.errors import did_you_mean

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

    def to_ray(self) -> Any:
        """Return what stands in Ray Tune's ``param_space``."""
        return self.value

    def decode(self, raw: Any) -> Any:
        """Return the hyperparameter for what Ray Tune sampled."""
        return self.value

    def to_dict(self) -> Any:
        """Return the form it has in a specification."""
        return self.value


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

    def to_ray(self) -> Any:
        """Return the Ray Tune domain; a reversed one is sampled unreversed and turned around by `decode`."""
        import ray.tune as ray_tune

        if self.low == self.high:
            return self.low
        if self.integer:
            # The upper bound of Ray's integer domains is exclusive.
            low, high = int(self.low), int(self.high) + 1
            return ray_tune.randint(low, high) if self.scale == "linear" else ray_tune.lograndint(low, high)
        uniform = ray_tune.uniform if self.scale == "linear" else ray_tune.loguniform
        return uniform(self.low, self.high)

    def decode(self, raw: Any) -> Any:
        """Return the hyperparameter for what Ray Tune sampled."""
        value = self.low + self.high - raw if self.scale == "reverse_log" else raw
        value = min(max(value, self.low), self.high)
        return round(value) if self.integer else float(value)

    def to_dict(self) -> dict[str, Any]:
        """Return the form it has in a specification."""
        return {"low": self.low, "high": self.high, "scale": self.scale}


@dataclass(frozen=True)
class Choices:
    """One of several values."""

    values: tuple[Any, ...]

    @property
    def bounds(self) -> tuple[Any, Any]:
        """Smallest and largest value."""
        return min(self.values), max(self.values)

    def to_ray(self) -> Any:
        """Return the Ray Tune domain."""
        import ray.tune as ray_tune

        return ray_tune.choice(list(self.values))

    def decode(self, raw: Any) -> Any:
        """Return the hyperparameter for what Ray Tune sampled."""
        return raw

    def to_dict(self) -> dict[str, Any]:
        """Return the form it has in a specification."""
        return {"choices": list(self.values)}


Domain = Fixed | Interval | Choices


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
    _refuse_unknown(entry, ("choices",), key, problems)
    values = entry["choices"]
    if not isinstance(values, list) or not values:
        problems.append(f"{key}.choices must be a list of at least one value, but got {values!r}")
        return None
    checked = [_check(value, f"{key}.choices[{n}]", valid, problems) for n, value in enumerate(values)]
    return Choices(tuple(valid.cast(value) for value in values)) if all(checked) else None


def _parse_interval(
    entry: Mapping[Any, Any], key: str, valid: Range | Choice, problems: list[str]
) -> Interval | None:
    _refuse_unknown(entry, ("low", "high", "scale", "choices"), key, problems)
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


def _refuse_unknown(entry: Mapping[Any, Any], keys: tuple[str, ...], path: str, problems: list[str]) -> None:
    problems.extend(
        f"{path}.{key}: unknown key{did_you_mean(str(key), keys)}; valid: {', '.join(keys)}"
        for key in entry
        if key not in keys
    )
