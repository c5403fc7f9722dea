"""The search specification: one strict parser for YAML, JSON and AI Platform tuning files."""

from __future__ import annotations

import contextlib
import importlib.resources
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from toolkit.config import BACKENDS, PRESETS, WALSConfig
from toolkit.errors import SpecError
from tune.early_stopping import EarlyStopping
from tune.metric import SearchMetric
from tune.parsing import parse_space, parse_start
from tune.reading import Reader, absent, refuse_unknown
from tune.space import Domain, Fixed

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_KEYS = (
    "preset",
    "space",
    "metric",
    "trials",
    "concurrency",
    "seed",
    "sampler",
    "startup_trials",
    "start",
    "early_stopping",
    "max_seconds",
    "max_failures",
    "keep_factors",
    "resources",
    "backend",
)


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
    sampler : {"tpe", "gp", "random"}
    startup_trials : int
        Random trials before the model takes over.
    start : tuple of str or dict
        What is tried, or known, before anything is proposed: presets, studies, and hyperparameters' values.
    early_stopping : EarlyStopping or None
    max_seconds : float or None
        No trial starts after that many seconds of running; None is no limit.
    max_failures : int or None
        The study stops when that many trials failed; None is never.
    keep_factors : {"all", "best", "none"}
        Which trials' factors are kept in MLflow; ``best``: of those that were the best when they ended.
    cpu, gpu : float
        Resources of each trial.
    backend : {"auto", "numpy", "numba", "cupy", "cuda"}
    """

    preset: str
    space: dict[str, Domain]
    metric: SearchMetric
    trials: int
    concurrency: int | None
    seed: int
    sampler: Literal["tpe", "gp", "random"]
    startup_trials: int
    start: tuple[str | dict[str, Any], ...]
    early_stopping: EarlyStopping | None
    max_seconds: float | None
    max_failures: int | None
    keep_factors: Literal["all", "best", "none"]
    cpu: float
    gpu: float
    backend: Literal["auto", "numpy", "numba", "cupy", "cuda"]

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
        read = Reader()
        refuse_unknown(document, _KEYS, "", read.problems)
        defaults = yaml.safe_load(default_text())
        values = {**defaults, **document}
        preset = read.word(values["preset"], "preset", tuple(PRESETS))
        found = len(read.problems)
        space = parse_space(values["space"], "space", read.problems)
        if len(read.problems) == found:
            if not any(domain.searched for domain in space.values()):
                read.problems.append(
                    "space must search at least one hyperparameter, but all are fixed: use `walslab train`"
                )
            # A space with mistakes would be blamed for the names that it lacks.
            start = parse_start(values["start"], "start", space, read.problems)
        else:
            start = []
        resources = read.section(values["resources"], "resources", defaults["resources"])
        concurrency, max_seconds, max_failures = (
            values[key] for key in ("concurrency", "max_seconds", "max_failures")
        )
        spec = cls(
            preset=preset,
            space=space,
            metric=_metric(values["metric"], read.problems),
            trials=read.whole(values["trials"], "trials", 1),
            concurrency=None
            if concurrency == "auto"
            else read.whole(concurrency, "concurrency", 1, ", or auto"),
            seed=read.whole(values["seed"], "seed", 0),
            sampler=read.word(values["sampler"], "sampler", ("tpe", "gp", "random")),
            startup_trials=read.whole(values["startup_trials"], "startup_trials", 1),
            start=tuple(start),
            early_stopping=EarlyStopping.read(values["early_stopping"], defaults["early_stopping"], read),
            max_seconds=None
            if absent(max_seconds)
            else read.real(max_seconds, "max_seconds", 0, above=True, alternative=", or none"),
            max_failures=None
            if absent(max_failures)
            else read.whole(max_failures, "max_failures", 1, ", or none"),
            keep_factors=read.word(values["keep_factors"], "keep_factors", ("all", "best", "none")),
            cpu=read.real(resources["cpu"], "resources.cpu", 0),
            gpu=read.real(resources["gpu"], "resources.gpu", 0),
            backend=read.word(values["backend"], "backend", BACKENDS),
        )
        if not read.problems:
            spec._check_weights(read.problems)
        if read.problems:
            raise SpecError(f"{source} has {len(read.problems)} mistake(s):\n  " + "\n  ".join(read.problems))
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
    def distributions(self) -> dict[str, BaseDistribution]:
        """What a sampler draws from: the hyperparameters that are searched."""
        found = {name: domain.to_optuna() for name, domain in self.space.items()}
        return {name: distribution for name, distribution in found.items() if distribution is not None}

    def config(self, sampled: Mapping[str, Any]) -> WALSConfig:
        """Return the hyperparameters for what was sampled; what `sampled` leaves out is the preset's."""
        return PRESETS[self.preset].replace(
            **{
                name: domain.decode(sampled.get(name))
                for name, domain in self.space.items()
                if name in sampled or not domain.searched
            }
        )

    def sample_of(self, config: WALSConfig) -> tuple[dict[str, Any], bool]:
        """Return what would be sampled for a config.

        Parameters
        ----------
        config : WALSConfig
            Any; values outside the space count as its nearest ones, and words that are not among the choices
            are left out.

        Returns
        -------
        sampled : dict
            As `config` takes it.
        exact : bool
            Whether `config` makes the same hyperparameters of it, to nine digits.
        """
        searched = {name: domain for name, domain in self.space.items() if domain.searched}
        sampled = {}
        for name, domain in searched.items():
            with contextlib.suppress(ValueError):
                sampled[name] = domain.encode(getattr(config, name))
        found = self.config(sampled).to_dict()
        same = all(_same(found[name], value) for name, value in config.to_dict().items())
        return sampled, same and len(sampled) == len(searched)

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
            "start": [entry if isinstance(entry, str) else dict(entry) for entry in self.start],
            "early_stopping": self.early_stopping.to_dict() if self.early_stopping else "none",
            "max_seconds": self.max_seconds or "none",
            "max_failures": self.max_failures or "none",
            "keep_factors": self.keep_factors,
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


def _same(one: Any, other: Any) -> bool:
    """Compare two values of a hyperparameter; turning a reversed scale around can cost the last digits."""
    return math.isclose(one, other, rel_tol=1e-9) if isinstance(one, float) else bool(one == other)


def _metric(text: Any, problems: list[str]) -> SearchMetric:
    found = SearchMetric.parse(text)
    if found is None:
        problems.append(f"metric must be rmse, recall@K or ndcg@K, such as ndcg@10, but got {text!r}")
    return found or SearchMetric()
