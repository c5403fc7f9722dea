"""What a study starts from: presets, values, and what earlier studies found."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from toolkit.config import PRESETS, WALSConfig
from toolkit.errors import StudyError, did_you_mean
from tune.spec.search_spec import SearchSpec
from tune.study import TrialResult, loss

# Of an earlier study whose figures do not hold here, so many of the best trials are tried again.
_BEST = 3


class Point(TypedDict):
    """Something to try: hyperparameters as they are sampled, not always all of them, and where it is from."""

    sampled: dict[str, Any]
    source: str


class KnownPoint(TypedDict):
    """A trial of an earlier study that counts as one of this one; smaller losses are better."""

    sampled: dict[str, Any]
    loss: float
    source: str


@dataclass
class Start:
    """What is tried first, in this order, and what is known from the start; JSON can hold both."""

    points: list[Point] = field(default_factory=list)
    known: list[KnownPoint] = field(default_factory=list)


class EarlierStudy(Protocol):
    """What is read of an earlier study; `tune.study.study.Study` has it."""

    facts: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def spec(self) -> SearchSpec:
        """What it searched."""

    def trials(self) -> list[TrialResult]:
        """Return its trials, best first."""


def resolve(spec: SearchSpec, digest: str, open_study: Callable[[str], EarlierStudy]) -> Start:
    """Return what the ``start`` of a specification stands for.

    Of an earlier study on the same data and by the same metric, every trial that could be one of this study,
    and did all its iterations, is known: a point that is one of them is not tried again. The best of the
    others, and of a study on other data, are points to try.

    Parameters
    ----------
    spec : SearchSpec
    digest : str
        Of the dataset to be searched on.
    open_study : callable
        Returns the study of a name or path.

    Raises
    ------
    StudyError
        When an entry is neither a preset nor a study.
    """
    start = Start()
    for entry in spec.start:
        if not isinstance(entry, str):
            _add_point(start, _encoded(spec, entry), "point")
        elif entry in PRESETS:
            _add_point(start, spec.sample_of(PRESETS[entry])[0], f"preset {entry}")
        else:
            _add_study(start, spec, digest, _opened(entry, open_study))
    found = [known["sampled"] for known in start.known]
    start.points = [point for point in start.points if point["sampled"] not in found]
    return start


def _encoded(spec: SearchSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: spec.space[name].encode(value) for name, value in values.items()}


def _opened(entry: str, open_study: Callable[[str], EarlierStudy]) -> EarlierStudy:
    try:
        return open_study(entry)
    except StudyError as error:
        raise StudyError(
            f"start: {entry!r} is neither a preset ({', '.join(PRESETS)}){did_you_mean(entry, PRESETS)} "
            f"nor an earlier study, which is given by its name below studies/ or by its directory: {error}"
        ) from error


def _add_study(start: Start, spec: SearchSpec, digest: str, study: EarlierStudy) -> None:
    metric = study.spec.metric
    comparable = study.facts["digest"] == digest and metric == spec.metric
    to_try = _BEST
    for result in study.trials():
        figure = loss(result, metric)
        if not math.isfinite(figure):
            continue
        config = WALSConfig.from_dict(result["config"])
        sampled, exact = spec.sample_of(config)
        source = f"study {study.name} {result['trial']}"
        if comparable and exact:
            if result["stopped"] is None or result["iterations"] >= config.iterations:
                start.known.append({"sampled": sampled, "loss": figure, "source": source})
        elif to_try:
            to_try -= 1
            _add_point(start, sampled, source)


def _add_point(start: Start, sampled: dict[str, Any], source: str) -> None:
    if sampled and all(sampled != point["sampled"] for point in start.points):
        start.points.append({"sampled": sampled, "source": source})
