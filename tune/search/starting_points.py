"""Resolves the `start` of a specification: presets, values, and trials of earlier studies."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypedDict

from toolkit.config import PRESETS, WALSConfig
from toolkit.errors import StudyError, did_you_mean
from tune.spec import SearchSpec
from tune.study import TrialResult, loss

# How many of the best trials are tried again of an earlier study whose figures do not hold here.
_BEST = 3


class Point(TypedDict):
    """Hyperparameters to try, as they are sampled, some or all of them, and the entry that they come from."""

    sampled: dict[str, Any]
    source: str


class KnownPoint(TypedDict):
    """A trial of an earlier study that counts as a trial of this study; smaller losses are better."""

    sampled: dict[str, Any]
    loss: float
    source: str


@dataclass
class Start:
    """Points that a study tries first, in this order, and trials that it knows; JSON can hold both."""

    points: list[Point] = field(default_factory=list)
    known: list[KnownPoint] = field(default_factory=list)


class EarlierStudy(Protocol):
    """An earlier study, of which a start is read; `tune.study.study.Study` is one."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what the study's files of facts say."""

    @property
    def name(self) -> str:
        """Return the name of the study."""

    @property
    def spec(self) -> SearchSpec:
        """Return the specification that it searched by."""

    def trials(self) -> list[TrialResult]:
        """Return the trials of the study, best first."""


def resolve(spec: SearchSpec, digest: str, open_study: Callable[[str], EarlierStudy]) -> Start:
    """Return the points to try and the known trials that the ``start`` of a specification names.

    A trial of an earlier study is known if that study had the same data and metric, and if the trial could be
    one of this study and did all its iterations. A known trial is not tried again. The best of the other
    trials, and the best trials of a study on other data, are points to try.

    Parameters
    ----------
    spec : SearchSpec
    digest : str
        Digest of the dataset to be searched on.
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
    known = [trial["sampled"] for trial in start.known]
    start.points = [point for point in start.points if point["sampled"] not in known]
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
