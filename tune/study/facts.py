"""The facts of a study, in three files that three commands write.

``study.json``
    What was asked. It is written once, when the study is made, and never changed.
``state.json``
    How the study stands, and what was asked for since. The run of the study writes it, under the lock.
``refit.json``
    The last refit. `walslab refit` replaces it in one step, without the lock.

No file has two writers, so that no command loses what another wrote.
"""

from __future__ import annotations

import json
from typing import Any

from toolkit.errors import StudyError
from tune.study.folder import read_file
from tune.study.location import Location
from tune.study.schema import Key, mistakes

FORMAT, VERSION = "walslab-study", 4

_ASKED = {
    "id": Key("text", "random identity of the study"),
    "created": Key("number", "seconds since 1970"),
    "name": Key("text", "name of the study", required=False),
    "dataset": Key("text", "path or address of the dataset", required=False),
    "digest": Key("text", "digest of the dataset", required=False),
    "derived": Key("list of objects", "of a sample of users: what it is of, nearest first", required=False),
    "counts": Key("object of whole numbers", "numbers of ratings, users and items", required=False),
    "spec": Key("object", "the specification as it was asked for", required=False),
    "start": Key("object", "what the search starts from", required=False),
    "versions": Key("object", "versions of libraries", required=False),
    "tracking_uri": Key("text", "MLflow store", required=False),
    "experiment": Key("text", "MLflow experiment", required=False),
}
_STATE = {
    "status": Key("text", "running, finished, interrupted or failed", required=False),
    "seconds": Key("number", "how long the study has run", required=False),
    "experiment_id": Key("text", "identity of the MLflow experiment", required=False),
    "parent_run_id": Key("text", "identity of the parent run", required=False),
    "view": Key("text", "key of the view of the trials that MLflow's page shares", required=False),
    "tracking_uri": Key("text", "MLflow store, where it has moved since", required=False),
    "baselines": Key(
        "object of numbers", "mean_rmse and bias_rmse on the validation ratings, and damping", required=False
    ),
    "changed": Key("object", "keys of the specification that were changed since", required=False),
}
STATE_KEYS = frozenset(_STATE)


class Facts(dict[str, Any]):
    """The facts of a study by name; one that is missing raises `StudyError` with the file that lacks it."""

    def __init__(self, label: str, *parts: dict[str, Any]) -> None:
        super().__init__()
        self._label = label
        for part in parts:
            self.update(part)

    def __missing__(self, key: str) -> Any:
        file = "state.json" if key in STATE_KEYS else "study.json"
        raise StudyError(
            f"{self._label}/{file} has no {key!r}: restore that file from a copy, or start a new study"
        )


def read_asked(location: Location) -> dict[str, Any]:
    """Return the content of ``study.json``.

    Raises
    ------
    StudyError
        When it cannot be read, has another shape, or is of another version.
    """
    asked = _read(location, "study.json")
    stated = (asked.get("format"), asked.get("format_version"))
    if stated != (FORMAT, VERSION):
        raise StudyError(
            f"{location.label} must be of format {FORMAT} version {VERSION}, but states {stated[0]} "
            f"{stated[1]}: start a new study (its trials are in MLflow as they were)"
        )
    return _checked(asked, _ASKED, f"{location.label}/study.json")


def read_state(location: Location, *, now: bool = False) -> dict[str, Any]:
    """Return the content of ``state.json``, and nothing where no run has begun.

    Parameters
    ----------
    location : Location
    now : bool, default False
        Whether to ask the location again instead of the directory that was fetched.

    Raises
    ------
    StudyError
        When it cannot be read, or has another shape.
    """
    return _checked(_read(location, "state.json", now=now), _STATE, f"{location.label}/state.json")


def read_refit(location: Location) -> dict[str, Any]:
    """Return the content of ``refit.json`` under the name refit, and nothing before the first refit.

    Raises
    ------
    StudyError
        When it cannot be read, or has another shape.
    """
    refit = _read(location, "refit.json")
    return {"refit": refit} if refit else {}


def _read(location: Location, name: str, *, now: bool = False) -> dict[str, Any]:
    where = f"{location.label}/{name}"
    content = location.read(name) if now else read_file(location.folder / name)
    if content is None:
        return {}
    try:
        facts = json.loads(content.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise StudyError(f"{where} is not valid UTF-8: {error}; restore that file from a copy") from error
    except (ValueError, RecursionError) as error:
        raise StudyError(f"{where} is not valid JSON: {error}; restore that file from a copy") from error
    if not isinstance(facts, dict):
        raise StudyError(f"{where} must hold a JSON object, but holds {type(facts).__name__}")
    return facts


def _checked(facts: dict[str, Any], keys: dict[str, Key], where: str) -> dict[str, Any]:
    problems = mistakes(facts, keys)
    if problems:
        raise StudyError(f"{where} was damaged: {'; '.join(problems)}; restore that file from a copy")
    return facts
