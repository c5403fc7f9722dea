"""AI Platform tuning files, read as they are: how the TensorFlow tutorial states its search."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import SpecError, did_you_mean

# The tutorial's names of our hyperparameters.
NAMES = {
    "latent_factors": "factors",
    "num_iters": "iterations",
    "regularization": "regularization",
    "unobs_weight": "unobserved_weight",
    "feature_wt_factor": "observed_weight",
    "feature_wt_exp": "weight_exponent",
}
_SCALES = {"UNIT_LINEAR_SCALE": "linear", "UNIT_LOG_SCALE": "log", "UNIT_REVERSE_LOG_SCALE": "reverse_log"}


def translate(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return our specification for an AI Platform tuning file.

    Hyperparameters that the file does not name keep the tutorial's defaults; where it searches
    ``feature_wt_factor`` and not ``feature_wt_exp``, the weights are the tutorial's linear ones
    (``weight_exponent`` 1).

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
    if tuning.get("goal", "MINIMIZE") != "MINIMIZE":
        problems.append(
            f"{path}.goal must be MINIMIZE, since an RMSE is searched, but got {tuning['goal']!r}"
        )
    space = _space(params, f"{path}.params", problems)
    if problems:
        raise SpecError(f"{source} has {len(problems)} mistake(s):\n  " + "\n  ".join(problems))
    if "observed_weight" in space and "weight_exponent" not in space:
        space["weight_exponent"] = 1.0
    spec: dict[str, Any] = {"preset": "tutorial-default", "space": space}
    for theirs, our_key in (("maxTrials", "trials"), ("maxParallelTrials", "concurrency")):
        if theirs in tuning:
            spec[our_key] = _number(tuning[theirs], f"{path}.{theirs}", problems, integer=True)
    if problems:
        raise SpecError(f"{source}: " + "; ".join(problems))
    return spec


def _space(params: Any, path: str, problems: list[str]) -> dict[str, Any]:
    space: dict[str, Any] = {}
    for number, param in enumerate(params if isinstance(params, list) else []):
        key = f"{path}[{number}]"
        if not isinstance(param, Mapping) or "parameterName" not in param:
            problems.append(f"{key} must be a mapping with a parameterName, but got {param!r}")
            continue
        name = param["parameterName"]
        ours = NAMES.get(name, name if name in NAMES.values() else None)
        if ours is None:
            problems.append(
                f"{key}.parameterName: unknown {name!r}{did_you_mean(str(name), NAMES)}; "
                f"valid: {', '.join(NAMES)}"
            )
            continue
        space[ours] = _domain(param, key, problems)
    return space


def _domain(param: Mapping[str, Any], key: str, problems: list[str]) -> Any:
    kind = param.get("type")
    if kind in ("INTEGER", "DOUBLE"):
        scale = param.get("scaleType", "UNIT_LINEAR_SCALE")
        if scale not in _SCALES:
            problems.append(f"{key}.scaleType must be one of {', '.join(_SCALES)}, but got {scale!r}")
            return None
        ends = {
            ours: _number(param.get(theirs), f"{key}.{theirs}", problems, integer=kind == "INTEGER")
            for ours, theirs in (("low", "minValue"), ("high", "maxValue"))
        }
        return {**ends, "scale": _SCALES[scale]}
    if kind == "DISCRETE":
        values = param.get("discreteValues") or []
        return {"choices": [_number(v, f"{key}.discreteValues[{n}]", problems) for n, v in enumerate(values)]}
    if kind == "CATEGORICAL":
        return {"choices": list(param.get("categoricalValues") or [])}
    problems.append(f"{key}.type must be one of INTEGER, DOUBLE, DISCRETE, CATEGORICAL, but got {kind!r}")
    return None


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
