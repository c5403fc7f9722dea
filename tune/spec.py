"""The search specification: one strict parser for YAML, JSON and AI Platform tuning files."""

from __future__ import annotations

import dataclasses
import importlib.resources
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.config import PRESETS, WALSConfig
from toolkit.errors import SpecError, did_you_mean
from tune.metric import SearchMetric
from tune.space import Domain, Fixed, exponent_hint, parse_space

_KEYS = (
    "preset",
    "space",
    "metric",
    "trials",
    "concurrency",
    "seed",
    "sampler",
    "startup_trials",
    "early_stopping",
    "resources",
    "backend",
)


@dataclass(frozen=True)
class EarlyStopping:
    """Asynchronous successive halving (Li et al., MLSys 2020).

    Attributes
    ----------
    grace_iterations : int
        Iterations that every trial gets.
    reduction_factor : float
        A trial goes on while it is among the best ``1 / reduction_factor`` at a rung.
    """

    grace_iterations: int
    reduction_factor: float


@dataclass(frozen=True, kw_only=True)
class SearchSpec:
    """What a study searches and how; ``tune/default.yaml`` explains every key and holds the defaults.

    Attributes
    ----------
    preset : str
        Where hyperparameters outside `space` come from.
    space : dict of str to Domain
        What is searched.
    metric : SearchMetric
        What trials are compared by.
    trials : int
        Configurations to try.
    concurrency : int or None
        Trials at once; None is as many as Ray's resources allow.
    seed : int
        Of the sampler and of every trial's start.
    sampler : {"tpe", "random"}
    startup_trials : int
        Random trials before the model takes over.
    early_stopping : EarlyStopping or None
    cpu, gpu : float
        Resources of each trial.
    backend : {"auto", "numpy", "numba", "cupy"}
    """

    preset: str
    space: dict[str, Domain]
    metric: SearchMetric
    trials: int
    concurrency: int | None
    seed: int
    sampler: Literal["tpe", "random"]
    startup_trials: int
    early_stopping: EarlyStopping | None
    cpu: float
    gpu: float
    backend: Literal["auto", "numpy", "numba", "cupy"]

    @classmethod
    def load(cls, path: str | Path | None = None, **overrides: Any) -> SearchSpec:
        """Read a specification file.

        Parameters
        ----------
        path : str or Path, optional
            YAML or JSON; the default specification when not given.
        **overrides
            Top-level keys that replace those of the file; None means not given.

        Raises
        ------
        SpecError
            When the file is missing or malformed, or has mistakes: all of them are listed.
        """
        import yaml

        source = str(path) if path else "default specification"
        try:
            text = Path(path).read_text(encoding="utf-8") if path else default_text()
            document = _parsed(text)
        except OSError as error:
            raise SpecError(f"cannot read the specification {source}: {error.strerror}") from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            raise SpecError(f"{source} is neither YAML nor JSON: {error}") from error
        if isinstance(document, Mapping) and "trainingInput" in document:
            from tune.aiplatform import translate

            document = translate(document, source)
        given = {key: value for key, value in overrides.items() if value is not None}
        if isinstance(document, Mapping):
            document = {**document, **given}
        return cls.from_dict(document, source=source)

    @classmethod
    def from_dict(cls, document: Any, *, source: str = "specification") -> SearchSpec:
        """Build a specification from a parsed document; keys it leaves out keep their defaults.

        Raises
        ------
        SpecError
            Listing every mistake with its key path.
        """
        import yaml

        if not isinstance(document, Mapping):
            raise SpecError(f"{source} must map keys to values, but holds {type(document).__name__}")
        problems = [
            f"{key}: unknown key{did_you_mean(str(key), _KEYS)}; valid: {', '.join(_KEYS)}"
            for key in document
            if key not in _KEYS
        ]
        defaults = yaml.safe_load(default_text())
        values = {**defaults, **document}
        _word(values, "preset", tuple(PRESETS), problems)
        found = len(problems)
        space = parse_space(values["space"], "space", problems)
        if len(problems) == found and all(low == high for low, high in (d.bounds for d in space.values())):
            problems.append(
                "space must search at least one hyperparameter, but all are fixed: use `walslab train`"
            )
        number = _NumberReader(problems)
        resources = _section(values, "resources", defaults, problems)
        spec = cls(
            preset=values["preset"],
            space=space,
            metric=_metric(values["metric"], problems),
            trials=number.whole(values["trials"], "trials", 1),
            concurrency=None
            if values["concurrency"] == "auto"
            else number.whole(values["concurrency"], "concurrency", 1, ", or auto"),
            seed=number.whole(values["seed"], "seed", 0),
            sampler=_word(values, "sampler", ("tpe", "random"), problems),
            startup_trials=number.whole(values["startup_trials"], "startup_trials", 1),
            early_stopping=_early_stopping(values, defaults, number, problems),
            cpu=number.real(resources["cpu"], "resources.cpu", 0),
            gpu=number.real(resources["gpu"], "resources.gpu", 0),
            backend=_word(values, "backend", ("auto", "numpy", "numba", "cupy"), problems),
        )
        if not problems:
            spec._check_weights(problems)
        if problems:
            raise SpecError(f"{source} has {len(problems)} mistake(s):\n  " + "\n  ".join(problems))
        return spec

    def _check_weights(self, problems: list[str]) -> None:
        """Find the combination that no single key shows: both weights 0."""
        names = ("unobserved_weight", "observed_weight")
        if all(self._domain(name).bounds[0] == 0 for name in names):
            problems.append(
                f"space: {' and '.join(names)} can both be 0, and then no rating counts: raise one low end"
            )

    def _domain(self, name: str) -> Domain:
        return self.space.get(name, Fixed(getattr(PRESETS[self.preset], name)))

    @property
    def param_space(self) -> dict[str, Any]:
        """What Ray Tune samples from: only what is searched."""
        return {k: d.to_ray() for k, d in self.space.items() if not isinstance(d, Fixed)}

    def config(self, sampled: Mapping[str, Any]) -> WALSConfig:
        """Return the hyperparameters for what Ray Tune sampled."""
        return PRESETS[self.preset].replace(
            **{
                k: d.decode(sampled.get(k))
                for k, d in self.space.items()
                if k in sampled or isinstance(d, Fixed)
            }
        )

    @property
    def max_iterations(self) -> int:
        """The most iterations that a trial can do."""
        return int(self._domain("iterations").bounds[1])

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `from_dict` reads back."""
        return {
            "preset": self.preset,
            "space": {name: domain.to_dict() for name, domain in self.space.items()},
            "metric": str(self.metric),
            "trials": self.trials,
            "concurrency": self.concurrency or "auto",
            "seed": self.seed,
            "sampler": self.sampler,
            "startup_trials": self.startup_trials,
            "early_stopping": dataclasses.asdict(self.early_stopping) if self.early_stopping else "none",
            "resources": {"cpu": self.cpu, "gpu": self.gpu},
            "backend": self.backend,
        }


def _parsed(text: str) -> Any:
    """Read JSON by its own rules: YAML 1.1 refuses tabs before a line, and takes ``1e-3`` for text."""
    import yaml

    try:
        return json.loads(text)
    except ValueError:
        return yaml.safe_load(text)


def default_text() -> str:
    """Return the commented default specification."""
    return importlib.resources.files("tune").joinpath("default.yaml").read_text(encoding="utf-8")


class _NumberReader:
    """Reads numbers of a document and notes what is wrong with them."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems

    def whole(self, value: Any, key: str, low: int, alternative: str = "") -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            self.problems.append(
                f"{key} must be a whole number of at least {low}{alternative}, but got {value!r}"
                f"{exponent_hint(value)}"
            )
            return low
        return value

    def real(self, value: Any, key: str, low: float) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value < math.inf:
            self.problems.append(
                f"{key} must be a number of at least {low:g}, but got {value!r}{exponent_hint(value)}"
            )
            return low
        return float(value)


def _word(values: Mapping[str, Any], key: str, words: tuple[str, ...], problems: list[str]) -> Any:
    if values[key] not in words:
        problems.append(
            f"{key} must be one of {', '.join(words)}, but got {values[key]!r}"
            f"{did_you_mean(str(values[key]), words)}"
        )
    return values[key]


def _metric(text: Any, problems: list[str]) -> SearchMetric:
    found = SearchMetric.parse(text)
    if found is None:
        problems.append(f"metric must be rmse, recall@K or ndcg@K, such as ndcg@10, but got {text!r}")
    return found or SearchMetric()


def _section(
    values: Mapping[str, Any], key: str, defaults: Mapping[str, Any], problems: list[str]
) -> Mapping[str, Any]:
    section, default = values[key], defaults[key]
    if not isinstance(section, Mapping):
        problems.append(f"{key} must map {' and '.join(default)} to values, but got {section!r}")
        return dict(default)
    problems.extend(
        f"{key}.{k}: unknown key{did_you_mean(str(k), default)}; valid: {', '.join(default)}"
        for k in section
        if k not in default
    )
    return {**default, **section}


def _early_stopping(
    values: Mapping[str, Any], defaults: Mapping[str, Any], number: _NumberReader, problems: list[str]
) -> EarlyStopping | None:
    if values["early_stopping"] in ("none", None):
        return None
    section = _section(values, "early_stopping", defaults, problems)
    factor = number.real(section["reduction_factor"], "early_stopping.reduction_factor", 1)
    if section["reduction_factor"] == 1:
        problems.append(
            "early_stopping.reduction_factor must be above 1, but got 1: use `early_stopping: none`"
        )
    return EarlyStopping(
        number.whole(section["grace_iterations"], "early_stopping.grace_iterations", 1), factor
    )
