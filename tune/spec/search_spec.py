"""The search specification: what a study searches, and how."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, cast

from pydantic import PlainValidator, ValidationInfo

from toolkit.config import BACKENDS, PRESETS, Choice, Range, WALSConfig
from toolkit.errors import SpecError
from toolkit.inputs import checked_path
from tune.spec.checks import CONCURRENCY, COUNT, MistakesError, Part, checked, read, spec_error
from tune.spec.default import default_text, posterior_text
from tune.spec.document import parse, read_document, require_small
from tune.spec.early_stopping import EarlyStopping
from tune.spec.metric import SearchMetric
from tune.spec.own_sampler import OwnSampler, read_sampler
from tune.spec.own_scheduler import OwnScheduler
from tune.spec.posterior_trials import posterior_problems
from tune.spec.resources import Resources
from tune.spec.space import Domain, Fixed
from tune.spec.space_parser import parse_space, parse_start

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

_MODELS = ("wals", "posterior")


def _metric(text: object) -> SearchMetric:
    metric = SearchMetric.parse(text)
    if metric is None:
        raise MistakesError([f" must be rmse, recall@K or ndcg@K, such as ndcg@10, but got {text!r}"])
    return metric


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise MistakesError([f" must be true or false, but got {value!r}"])
    return value


def _start(entries: object, info: ValidationInfo) -> tuple[str | dict[str, Any], ...]:
    """Read `start`; a space with mistakes would be blamed for the names that it lacks."""
    return parse_start(entries, info.data["space"]) if "space" in info.data else ()


@dataclass(frozen=True, kw_only=True)
class SearchSpec(Part):
    """What a study searches, and how.

    ``tune/spec/default.yaml`` explains every key and holds the defaults.

    Attributes
    ----------
    model : {"wals", "posterior"}
        What a trial is: a training, or a sampling of its posterior, whose iterations are its samples.
    preset : str
        The values of the hyperparameters outside `space`.
    space : dict of str to Domain
        The domain of each hyperparameter.
    metric : SearchMetric
        The figure that trials are compared by.
    trials : int
        How many configurations are tried.
    concurrency : int or None
        How many trials run at once; None: as many as Ray's resources allow.
    seed : int
        The seed of the sampler and of every trial's random start.
    sampler : {"tpe", "gp", "random"} or OwnSampler
    startup_trials : int
        How many trials are random, before the sampler has enough to model.
    start : tuple of str or dict
        The presets, studies and values that are tried first, or known from the start.
    early_stopping : EarlyStopping, OwnScheduler or None
    max_seconds : float or None
        No trial starts after so many seconds of running; None: no limit.
    max_failures : int or None
        The study stops when so many trials failed; None: never.
    keep_factors : {"all", "best", "none"}
        The trials whose factors are kept in MLflow; ``best``: those that were the best when they ended.
    posterior : bool
        Whether `walslab tune` and `resume` sample the posterior of the best trial, once all have ended.
    resources : Resources
        The processors and GPUs of each trial.
    backend : {"auto", "numpy", "numba", "cupy", "cuda"}
    """

    model: Annotated[Literal["wals", "posterior"], checked(Choice(_MODELS))]
    preset: Annotated[str, checked(Choice(tuple(PRESETS)))]
    space: Annotated[dict[str, Domain], PlainValidator(parse_space)]
    metric: Annotated[SearchMetric, PlainValidator(_metric)]
    trials: Annotated[int, checked(COUNT)]
    concurrency: Annotated[int | None, checked(CONCURRENCY, "auto")]
    seed: Annotated[int, checked(Range(0, 2**63 - 1, integer=True))]
    sampler: Annotated[str | OwnSampler, PlainValidator(read_sampler)]
    startup_trials: Annotated[int, checked(COUNT)]
    start: Annotated[tuple[str | dict[str, Any], ...], PlainValidator(_start)]
    early_stopping: Annotated[EarlyStopping | OwnScheduler | None, PlainValidator(EarlyStopping.read)]
    max_seconds: Annotated[float | None, checked(Range(0.01, 1e9), "none")]
    max_failures: Annotated[int | None, checked(COUNT, "none")]
    keep_factors: Annotated[Literal["all", "best", "none"], checked(Choice(("all", "best", "none")))]
    posterior: Annotated[bool, PlainValidator(_flag)]
    resources: Annotated[Resources, PlainValidator(functools.partial(read, Resources))]
    backend: Annotated[Literal["auto", "numpy", "numba", "cupy", "cuda"], checked(Choice(BACKENDS))]

    @classmethod
    def load(cls, path: str | Path | None = None, **overrides: Any) -> SearchSpec:
        """Read a specification file.

        Parameters
        ----------
        path : str or Path, optional
            YAML, JSON, or a tuning file of AI Platform; the default specification when not given.
        **overrides
            Top-level keys that replace those of the file; None means not given.

        Raises
        ------
        SpecError
            When the file is missing or malformed, or has mistakes: all of them are listed.
        """
        if path:
            checked_path("path", path)
        source = str(path) if path else "default specification"
        document = read_document(path) if path else {}
        if isinstance(document, Mapping):
            if "trainingInput" in document:
                from tune.spec.aiplatform import translate

                require_small(document, source)
                document = translate(document, source)
            given = {key: value for key, value in overrides.items() if value is not None}
            document = {**document, **given}
        return cls.from_dict(document, source=source)

    @classmethod
    def from_dict(
        cls, document: object, *, source: str = "specification", stored: bool = False
    ) -> SearchSpec:
        """Return the specification that a document states; keys that it leaves out keep their defaults.

        Parameters
        ----------
        document : mapping
            Keys and values as in a file.
        source : str
            The file's name, for messages.
        stored : bool
            Whether a study holds the document. Then keys that contradict each other are read, since earlier
            versions accepted them.

        Raises
        ------
        SpecError
            Listing every mistake with its key path.
        """
        if not isinstance(document, Mapping):
            raise SpecError(f"{source} must map keys to values, but holds {type(document).__name__}")
        require_small(document, source)
        defaults = _defaults(posterior=document.get("model") == "posterior")
        values = {**defaults, **document}
        for section in ("early_stopping", "resources"):
            if isinstance(values[section], Mapping) and "class" not in values[section]:
                values[section] = {**defaults[section], **values[section]}
        try:
            return read(cls, values, stored=stored)
        except MistakesError as mistakes:
            raise spec_error(source, mistakes.lines) from None

    def contradictions(self) -> Iterator[str]:
        """Yield the mistakes that no single key shows."""
        names = ("unobserved_weight", "observed_weight")
        if all(self.domain(name).bounds[0] == 0 for name in names):
            yield f".space: {' and '.join(names)} can both be 0, and then no rating counts: raise one low end"
        if self.model == "posterior":
            yield from posterior_problems(self.domain, self.space)
        if isinstance(self.sampler, OwnSampler):
            yield from (f".sampler{line}" for line in self.sampler.problems(self.seed))
        yield from (f".resources{line}" for line in self.resources.problems())
        rules = self.early_stopping
        if isinstance(rules, OwnScheduler):
            problems = rules.problems(self.metric, self.max_iterations)
            yield from (f".early_stopping{line}" for line in problems)
            return
        # The default is written into every study; the trials of some have fewer iterations.
        most = max(self.max_iterations, _defaults()["early_stopping"]["grace_iterations"])
        if rules and rules.reduction_factor and rules.grace_iterations > most:
            yield (
                f".early_stopping.grace_iterations must not be above the {self.max_iterations} iterations of "
                f"a trial, but got {rules.grace_iterations}: no trial would be stopped"
            )

    @property
    def cpu(self) -> float:
        """The processors of each trial."""
        return self.resources.cpu

    @property
    def gpu(self) -> float:
        """The GPUs of each trial."""
        return self.resources.gpu

    def domain(self, name: str) -> Domain:
        """Return the domain of a hyperparameter, also of one that the space leaves to the preset."""
        return self.space.get(name, Fixed(getattr(PRESETS[self.preset], name)))

    @property
    def distributions(self) -> dict[str, BaseDistribution]:
        """The distributions that a sampler draws the searched hyperparameters from."""
        of_all = {name: domain.to_optuna() for name, domain in self.space.items()}
        return {name: distribution for name, distribution in of_all.items() if distribution is not None}

    def config(self, sampled: Mapping[str, Any]) -> WALSConfig:
        """Return the hyperparameters for a sample; the preset has those that `sampled` leaves out."""
        return PRESETS[self.preset].replace(
            **{
                name: domain.decode(sampled.get(name))
                for name, domain in self.space.items()
                if name in sampled or not domain.searched
            }
        )

    def sample_of(self, config: WALSConfig) -> tuple[dict[str, Any], bool]:
        """Return the sample that a config would come from.

        Parameters
        ----------
        config : WALSConfig
            A value outside the space counts as the nearest one inside; a word that is not among the choices
            is left out.

        Returns
        -------
        sampled : dict
            What `config` takes.
        exact : bool
            Whether `config` makes the same hyperparameters of the sample, to nine digits.
        """
        searched = {name: domain for name, domain in self.space.items() if domain.searched}
        sampled = {}
        for name, domain in searched.items():
            with contextlib.suppress(ValueError):
                sampled[name] = domain.encode(getattr(config, name))
        again = self.config(sampled).to_dict()
        same = all(_same(again[name], value) for name, value in config.to_dict().items())
        return sampled, same and len(sampled) == len(searched)

    @property
    def max_iterations(self) -> int:
        """The most iterations that a trial can do."""
        return int(self.domain("iterations").bounds[1])

    def to_dict(self) -> dict[str, Any]:
        """Return the document that `from_dict` reads back."""
        return {
            "model": self.model,
            "preset": self.preset,
            "space": {name: domain.to_dict() for name, domain in self.space.items()},
            "metric": str(self.metric),
            "trials": self.trials,
            "concurrency": self.concurrency or "auto",
            "seed": self.seed,
            "sampler": self.sampler.to_dict() if isinstance(self.sampler, OwnSampler) else self.sampler,
            "startup_trials": self.startup_trials,
            "start": [entry if isinstance(entry, str) else dict(entry) for entry in self.start],
            "early_stopping": self.early_stopping.to_dict() if self.early_stopping else "none",
            "max_seconds": self.max_seconds or "none",
            "max_failures": self.max_failures or "none",
            "keep_factors": self.keep_factors,
            "posterior": self.posterior,
            "resources": dataclasses.asdict(self.resources),
            "backend": self.backend,
        }


@functools.cache
def _defaults(*, posterior: bool = False) -> dict[str, Any]:
    """Return the default specification's document, which nobody changes."""
    texts = [default_text(), posterior_text()] if posterior else [default_text()]
    documents = (cast("dict[str, Any]", parse(text, "default specification")) for text in texts)
    return {key: value for document in documents for key, value in document.items()}


def _same(one: Any, other: Any) -> bool:
    """Tell whether two values of a hyperparameter are the same, but for rounding."""
    return math.isclose(one, other, rel_tol=1e-9) if isinstance(one, float) else bool(one == other)
