"""AI Platform tuning files, read as they are: how the TensorFlow tutorial states its search."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from toolkit.config import Range, WALSConfig
from toolkit.errors import SpecError, did_you_mean
from tune.spec.reader import refuse_unknown
from tune.spec.space_parser import parse_space

# The tutorial's names of our hyperparameters.
NAMES = {
    "latent_factors": "factors",
    "num_iters": "iterations",
    "regularization": "regularization",
    "unobs_weight": "unobserved_weight",
    "feature_wt_factor": "observed_weight",
    "feature_wt_exp": "weight_exponent",
}
_SCALES = {
    "NONE": "linear",
    "UNIT_LINEAR_SCALE": "linear",
    "UNIT_LOG_SCALE": "log",
    "UNIT_REVERSE_LOG_SCALE": "reverse_log",
}
_KEYS = (
    "parameterName",
    "type",
    "minValue",
    "maxValue",
    "discreteValues",
    "categoricalValues",
    "scaleType",
)
_TUNING_KEYS = (
    "goal",
    "params",
    "maxTrials",
    "maxParallelTrials",
    "maxFailedTrials",
    "hyperparameterMetricTag",
    "resumePreviousJobId",
    "enableTrialEarlyStopping",
    "algorithm",
)
# Our key and the least number that theirs may hold.
_LIMITS = {
    "maxTrials": ("trials", 1),
    "maxParallelTrials": ("concurrency", 1),
    "maxFailedTrials": ("max_failures", 0),
}
_ALGORITHMS = {"ALGORITHM_UNSPECIFIED": "tpe", "RANDOM_SEARCH": "random"}
# The name that AI Platform gives the figure of a file without a tag.
_DEFAULT_TAG = "training/hptuning/metric"


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
    path = "trainingInput.hyperparameters"
    try:
        tuning = document["trainingInput"]["hyperparameters"]
        params = tuning["params"]
    except (KeyError, TypeError) as error:
        raise SpecError(f"{source}: {path}.params is missing: nothing says what to search") from error
    problems: list[str] = []
    refuse_unknown(tuning, _TUNING_KEYS, f"{path}.", problems)
    _check_purpose(tuning, path, problems)
    space = _space(params, f"{path}.params", problems)
    if "observed_weight" in space and "weight_exponent" not in space:
        space["weight_exponent"] = 1.0
    spec = {
        "preset": "tutorial-default",
        "space": space,
        **_limits(tuning, path, problems),
        **_manner(tuning, path, problems),
    }
    if problems:
        raise SpecError(f"{source} has {len(problems)} mistake(s):\n  " + "\n  ".join(problems))
    return spec


def _check_purpose(tuning: Mapping[str, Any], path: str, problems: list[str]) -> None:
    """Find what the file wants other than a small RMSE, from the beginning."""
    if tuning.get("goal", "MINIMIZE") != "MINIMIZE":
        problems.append(
            f"{path}.goal must be MINIMIZE, since an RMSE is searched, but got {tuning['goal']!r}"
        )
    tag = tuning.get("hyperparameterMetricTag", "rmse")
    if tag != _DEFAULT_TAG and "rmse" not in str(tag).lower():
        problems.append(
            f"{path}.hyperparameterMetricTag must name an RMSE, since one is searched, but got {tag!r}: "
            "rankings are for specifications of our own (`metric: ndcg@10`)"
        )
    if "resumePreviousJobId" in tuning:
        problems.append(
            f"{path}.resumePreviousJobId cannot be followed: in a specification of our own, `start` "
            "lists the studies to go on from"
        )


def _limits(tuning: Mapping[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    spec = {}
    for theirs, (ours, low) in _LIMITS.items():
        if theirs in tuning:
            number = _number(tuning[theirs], f"{path}.{theirs}", problems, integer=True)
            if number is not None and number < low:
                problems.append(f"{path}.{theirs} must be at least {low}, but got {tuning[theirs]!r}")
            spec[ours] = number
    # With 0 the service decides how many are too many: our default does.
    if spec.get("max_failures") == 0:
        del spec["max_failures"]
    return spec


def _manner(tuning: Mapping[str, Any], path: str, problems: list[str]) -> dict[str, Any]:
    """Return how trials are proposed, and whether they are stopped early."""
    spec: dict[str, Any] = {}
    algorithm = tuning.get("algorithm", "ALGORITHM_UNSPECIFIED")
    if isinstance(algorithm, str) and algorithm in _ALGORITHMS:
        spec["sampler"] = _ALGORITHMS[algorithm]
    else:
        grid = ": grids are not searched here" if algorithm == "GRID_SEARCH" else ""
        problems.append(
            f"{path}.algorithm must be one of {', '.join(_ALGORITHMS)}, but got {algorithm!r}"
            f"{grid or did_you_mean(str(algorithm), _ALGORITHMS)}"
        )
    early = tuning.get("enableTrialEarlyStopping", False)
    if not isinstance(early, bool):
        problems.append(f"{path}.enableTrialEarlyStopping must be true or false, but got {early!r}")
    elif not early:
        spec["early_stopping"] = "none"
    return spec


def _space(params: Any, path: str, problems: list[str]) -> dict[str, Any]:
    if not isinstance(params, list) or not params:
        problems.append(f"{path} must be a list of at least one parameter, but got {params!r}")
        return {}
    space: dict[str, Any] = {}
    for number, param in enumerate(params):
        key = f"{path}[{number}]"
        if not isinstance(param, Mapping) or "parameterName" not in param:
            problems.append(f"{key} must be a mapping with a parameterName, but got {param!r}")
            continue
        refuse_unknown(param, _KEYS, f"{key}.", problems)
        name = str(param["parameterName"])
        ours = NAMES.get(name, name if name in NAMES.values() else None)
        if ours is None:
            problems.append(
                f"{key}.parameterName: unknown {name!r}{did_you_mean(name, NAMES)}; valid: {', '.join(NAMES)}"
            )
        elif ours in space:
            problems.append(f"{key}.parameterName: {name!r} occurs twice")
        else:
            space[ours] = _domain(ours, param, key, problems)
    return space


def _domain(ours: str, param: Mapping[str, Any], key: str, problems: list[str]) -> Any:
    """Return our form of a parameter's domain, checked here so that messages use the file's own keys."""
    found: list[str] = []
    kind = param.get("type")
    valid = WALSConfig.valid()[ours]
    integer = kind == "INTEGER" or (isinstance(valid, Range) and valid.integer)
    lists = {"DISCRETE": "discreteValues", "CATEGORICAL": "categoricalValues"}
    domain: dict[str, Any] = {}
    if kind in ("INTEGER", "DOUBLE"):
        scale = param.get("scaleType", "NONE")
        if scale not in _SCALES:
            found.append(
                f"{key}.scaleType must be one of {', '.join(_SCALES)}, but got {scale!r}"
                f"{did_you_mean(str(scale), _SCALES)}"
            )
        for end, theirs in (("low", "minValue"), ("high", "maxValue")):
            domain[end] = _number(param.get(theirs), f"{key}.{theirs}", found, integer=integer)
        domain["scale"] = _SCALES.get(str(scale))
    elif kind in lists:
        values = param.get(lists[kind])
        domain["choices"] = [
            _number(value, f"{key}.{lists[kind]}[{n}]", found, integer=integer)
            for n, value in enumerate(values if isinstance(values, list) else [])
        ]
    else:
        found.append(
            f"{key}.type must be one of INTEGER, DOUBLE, DISCRETE, CATEGORICAL, but got {kind!r}"
            f"{did_you_mean(str(kind), ('INTEGER', 'DOUBLE', *lists))}"
        )
    if not found:
        parse_space({ours: domain}, "", found)
        words = {"low": "minValue", "high": "maxValue", "choices": lists.get(str(kind), "")}
        found = [
            re.sub(
                rf"^\.{ours}(?:\.(low|high|choices))?",
                lambda match: key + (f".{words[match[1]]}" if match[1] else ""),
                text,
            )
            for text in found
        ]
    problems.extend(found)
    return domain


def _number(value: Any, key: str, problems: list[str], *, integer: bool = False) -> Any:
    """Read a number, which these files may write as a string."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        problems.append(f"{key} must be a number, but got {value!r}")
        return None
    if number.is_integer() and (integer or "." not in str(value)):
        return int(number)
    if integer:
        problems.append(f"{key} must be a whole number, but got {value!r}")
    return number
