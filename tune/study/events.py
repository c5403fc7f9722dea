"""The contract of the journal: its events and their keys, which ``docs/journal.md`` explains."""

from __future__ import annotations

import json
from typing import Any

from toolkit.errors import StudyError
from tune.study.schema import Key, mistakes

# Rises when a key changes its meaning or goes. A reader of version N refuses lines of any other version.
VERSION = 1

_TRIAL = Key("text", "name of the trial in the study and in MLflow, such as `trial-007`")
_NUMBER = Key("whole number", "place of the trial in the order of proposals, from 1")
_SAMPLED = Key("object", "values of the searched hyperparameters, as the sampler knows them")
_SOURCE = Key(
    "text", "who proposed the trial: `tpe`, `gp`, `random`, the class of another sampler, or a starting point"
)

EVENTS: dict[str, dict[str, Key]] = {
    "proposed": {"trial": _TRIAL, "number": _NUMBER, "sampled": _SAMPLED, "source": _SOURCE},
    "run": {"trial": _TRIAL, "run_id": Key("text", "identity of the trial's run in MLflow")},
    "ended": {
        "trial": _TRIAL,
        "number": _NUMBER,
        "status": Key("text", "`FINISHED` or `FAILED`, as in MLflow"),
        "stopped": Key(
            "text or null", "what stopped the trial early: `halving`, `scheduler`, `plateau`, or null"
        ),
        "valid_rmse": Key("number or null", "validation RMSE of the kept factors, in rating units"),
        "train_rmse": Key("number or null", "training RMSE of the kept factors, in rating units"),
        "ranking": Key("object of numbers", "ranking figures on the validation ratings, empty for RMSE"),
        "iterations": Key("whole number", "iterations behind the kept factors"),
        "seconds": Key("number", "training time of all iterations"),
        "history": Key("object of lists of numbers", "every figure after each iteration"),
        "sampled": _SAMPLED,
        "config": Key("object", "all hyperparameters of the trial"),
        "source": _SOURCE,
        "reason": Key("text or null", "why the trial failed"),
        "started": Key("number", "begin of the last attempt, in seconds since 1970"),
        "ended": Key("number", "end of the trial, in seconds since 1970"),
        "attempts": Key("whole number", "how often the trial was begun"),
        "system": Key("object or null", "backend, solver, device, host and peak memory; null if unknown"),
        "trace": Key("text or null", "traceback of a failure", required=False),
    },
    "recorded": {"trial": _TRIAL},
    "pruned": {"trial": _TRIAL},
}
# What happened, in a sentence for the documentation.
MEANINGS: dict[str, str] = {
    "proposed": "The sampler, or a starting point, proposed a trial.",
    "run": "A trial got a run in MLflow. A later line replaces an earlier one.",
    "ended": "A trial ended, and its factors are kept. A later line replaces an earlier one.",
    "recorded": "MLflow has everything of the trial.",
    "pruned": "`walslab prune` removed the run, the artifacts and the factors of the trial. Its lines stay.",
}


def encoded(event: str, facts: dict[str, Any]) -> bytes:
    """Return an event as a line of the journal, with its line end.

    Raises
    ------
    StudyError
        When there is no such event, or its facts are not those that the contract names.
    """
    entry = {"event": event, "version": VERSION, **facts}
    problem = _problem(entry)
    if problem:
        raise StudyError(f"the journal takes no such event: {problem}")
    return json.dumps(entry).encode() + b"\n"


def decoded(line: bytes, where: str) -> dict[str, Any] | None:
    """Return the event of a line, or None for a line that a killed process left unfinished.

    Parameters
    ----------
    line : bytes
        One line of the journal.
    where : str
        File and line number, for messages.

    Raises
    ------
    StudyError
        When the line is JSON of another shape, or of another version.
    """
    try:
        entry = json.loads(line)
    except (ValueError, RecursionError):
        return None
    problem = _problem(entry)
    if problem:
        raise StudyError(
            f"{where} is no event of a walslab journal: {problem}; read it with the walslab that wrote it, "
            "or remove the line: a resume then runs again what the line said"
        )
    found: dict[str, Any] = entry
    return found


def _problem(entry: object) -> str | None:
    """Return what is wrong with an entry, or None."""
    if not isinstance(entry, dict):
        return f"it must be a JSON object, but is {type(entry).__name__}"
    event, version = entry.get("event"), entry.get("version")
    if version != VERSION:
        newer = isinstance(version, int) and version > VERSION
        return f"'version' must be {VERSION}, but is {version!r}" + (", of a newer walslab" if newer else "")
    if event not in EVENTS:
        return f"'event' must be one of {', '.join(EVENTS)}, but is {event!r}"
    return "; ".join(mistakes(entry, EVENTS[event])) or None
