"""Reads the tuning files of AI Platform, in which the TensorFlow tutorial states its search."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from pydantic import PlainValidator

from toolkit.config import Choice, Range, WALSConfig
from toolkit.errors import SpecError, did_you_mean
from tune.spec.checks import (
    CONCURRENCY,
    COUNT,
    MistakesError,
    Part,
    checked,
    problem_of,
    read,
    spec_error,
)
from tune.spec.space import Choices, Domain, Interval, Scale
from tune.spec.space_parser import choice_problems, interval_problems

# The tutorial's names of our hyperparameters.
NAMES = {
    "latent_factors": "factors",
    "num_iters": "iterations",
    "regularization": "regularization",
    "unobs_weight": "unobserved_weight",
    "feature_wt_factor": "observed_weight",
    "feature_wt_exp": "weight_exponent",
}
_SCALES: dict[str, Scale] = {
    "NONE": "linear",
    "UNIT_LINEAR_SCALE": "linear",
    "UNIT_LOG_SCALE": "log",
    "UNIT_REVERSE_LOG_SCALE": "reverse_log",
}
_LISTS = {"DISCRETE": "discreteValues", "CATEGORICAL": "categoricalValues"}
_ALGORITHMS = {"ALGORITHM_UNSPECIFIED": "tpe", "RANDOM_SEARCH": "random"}
# The name that AI Platform gives the figure of a file without a tag.
_DEFAULT_TAG = "training/hptuning/metric"
_PATH = "trainingInput.hyperparameters"


def translate(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return our specification for an AI Platform tuning file.

    Hyperparameters that the file does not name keep the tutorial's defaults; where it searches
    ``feature_wt_factor`` and not ``feature_wt_exp``, the weights are the tutorial's linear ones
    (``weight_exponent`` 1). Trials do all their iterations, unless the file enables early stopping.

    Parameters
    ----------
    document : mapping
        The file: ``{"trainingInput": {"hyperparameters": {"params": [...], ...}}}``.
    source : str
        The file's name, for messages.

    Returns
    -------
    dict
        A document for `SearchSpec.from_dict`.

    Raises
    ------
    SpecError
        Listing every mistake with its key path.
    """
    tuning = document["trainingInput"]
    tuning = tuning.get("hyperparameters") if isinstance(tuning, Mapping) else None
    if not isinstance(tuning, Mapping) or "params" not in tuning:
        raise SpecError(f"{source}: {_PATH}.params is missing: nothing says what to search")
    try:
        search = read(_Search, tuning)
    except MistakesError as mistakes:
        raise spec_error(source, mistakes.under(_PATH)) from None
    space: dict[str, Any] = {name: domain.to_dict() for name, domain in search.params.items()}
    if "observed_weight" in space and "weight_exponent" not in space:
        space["weight_exponent"] = 1.0
    ours: dict[str, Any] = {
        "trials": search.maxTrials,
        "concurrency": search.maxParallelTrials,
        # With 0 the service decides how many are too many: our default does.
        "max_failures": search.maxFailedTrials or None,
        "early_stopping": None if search.enableTrialEarlyStopping else "none",
    }
    given = {key: value for key, value in ours.items() if value is not None}
    return {"preset": "tutorial-default", "space": space, "sampler": _ALGORITHMS[search.algorithm], **given}


def _number(value: object) -> object:
    """Return the number that a value states, which these files may write as a string; or else the value."""
    try:
        number = float(cast("str", value))
    except (TypeError, ValueError, OverflowError):
        return value
    if isinstance(value, bool):
        return value
    return int(number) if number.is_integer() else number


def _count(valid: Range) -> PlainValidator:
    def check(value: object) -> int:
        if problem := problem_of(_number(value), valid):
            raise MistakesError([problem])
        return int(cast("int", _number(value)))

    return PlainValidator(check)


def _must(rule: str, holds: Callable[[object], bool]) -> PlainValidator:
    def check(value: object) -> object:
        if not holds(value):
            raise MistakesError([f" must {rule}, but got {value!r}"])
        return value

    return PlainValidator(check)


def _name(value: object) -> str:
    """Return our name of a hyperparameter."""
    name = str(value)
    if name not in NAMES and name not in NAMES.values():
        raise MistakesError([f": unknown {name!r}{did_you_mean(name, NAMES)}; valid: {', '.join(NAMES)}"])
    return NAMES.get(name, name)


@dataclass(frozen=True)
class _Param(Part):
    """One entry of ``params``; its values stay as the file has them until its name and type are known."""

    parameterName: Annotated[str, PlainValidator(_name)]
    type: Annotated[str, checked(Choice(("INTEGER", "DOUBLE", *_LISTS)))]
    minValue: Any = None
    maxValue: Any = None
    discreteValues: Any = None
    categoricalValues: Any = None
    scaleType: Annotated[str, checked(Choice(tuple(_SCALES)))] = "NONE"

    def contradictions(self) -> Iterator[str]:
        """Yield what is wrong with the values, which the name and the type decide."""
        if self.type in _LISTS:
            yield from choice_problems(_LISTS[self.type], self._values, self._valid)
            return
        scale = _SCALES[self.scaleType]
        problems = interval_problems(self._ends, scale, self._valid)
        if self.type == "INTEGER" and not problems:
            problems = interval_problems(self._ends, scale, dataclasses.replace(self._valid, integer=True))
        yield from problems

    def domain(self) -> Domain:
        """Return the domain that is searched."""
        if self.type in _LISTS:
            return Choices(tuple(self._valid.cast(value) for value in self._values))
        low, high = map(self._valid.number, self._ends.values())
        return Interval(low, high, _SCALES[self.scaleType], self._valid.integer)

    @property
    def _valid(self) -> Range:
        """The valid values of the hyperparameter; those of these files are numbers."""
        return cast("Range", WALSConfig.valid()[self.parameterName])

    @property
    def _values(self) -> Any:
        listed = getattr(self, _LISTS[self.type])
        return [_number(value) for value in listed] if isinstance(listed, list) else listed

    @property
    def _ends(self) -> dict[str, Any]:
        return {"minValue": _number(self.minValue), "maxValue": _number(self.maxValue)}


def _params(entries: object) -> dict[str, Domain]:
    if not isinstance(entries, list) or not entries:
        raise MistakesError([f" must be a list of at least one parameter, but got {entries!r}"])
    space: dict[str, Domain] = {}
    lines: list[str] = []
    named: list[str] = []
    for number, entry in enumerate(entries):
        theirs = str(entry.get("parameterName")) if isinstance(entry, Mapping) else ""
        named.append(NAMES.get(theirs, theirs))
        try:
            param = read(_Param, entry)
            if param.parameterName in named[:-1]:
                lines.append(f"[{number}].parameterName: {theirs!r} occurs twice")
            space[param.parameterName] = param.domain()
        except MistakesError as mistakes:
            lines += mistakes.under(f"[{number}]")
    if lines:
        raise MistakesError(lines)
    return space


@dataclass(frozen=True)
class _Search(Part):
    """The part of the file that states the search."""

    params: Annotated[dict[str, Domain], PlainValidator(_params)]
    goal: Annotated[Any, _must("be MINIMIZE, since an RMSE is searched", lambda goal: goal == "MINIMIZE")] = (
        None
    )
    maxTrials: Annotated[int | None, _count(COUNT)] = None
    maxParallelTrials: Annotated[int | None, _count(CONCURRENCY)] = None
    maxFailedTrials: Annotated[int | None, _count(dataclasses.replace(COUNT, low=0))] = None
    hyperparameterMetricTag: Annotated[
        Any,
        _must(
            "name an RMSE, since one is searched (a specification of our own has `metric: ndcg@10`)",
            lambda tag: tag == _DEFAULT_TAG or "rmse" in str(tag).lower(),
        ),
    ] = None
    resumePreviousJobId: Annotated[
        Any,
        _must("be left out (in a specification of our own, `start` names studies)", lambda _: False),
    ] = None
    enableTrialEarlyStopping: Annotated[
        bool, _must("be true or false", lambda flag: isinstance(flag, bool))
    ] = False
    algorithm: Annotated[str, checked(Choice(tuple(_ALGORITHMS)))] = "ALGORITHM_UNSPECIFIED"
