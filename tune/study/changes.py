"""Change the specification of a study between two of its runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from toolkit.errors import StudyError
from tune.spec import SearchSpec

# Keys of the specification that may change between two runs of a study.
CHANGEABLE = ("trials", "concurrency", "resources", "max_seconds", "max_failures")


def changed_spec(study: str, spec: Mapping[str, Any], keys: Mapping[str, Any]) -> SearchSpec:
    """Return a specification with other values for some keys.

    Parameters
    ----------
    study : str
        Name of the study, for messages.
    spec : mapping
        The specification as it is now.
    keys : mapping
        The new values.

    Raises
    ------
    StudyError
        When a key must not change, as trials with another value would not be comparable, or the number of
        trials would become smaller than it is.
    SpecError
        When a value is not valid.
    """
    fixed = sorted(keys.keys() - set(CHANGEABLE))
    if fixed:
        raise StudyError(
            f"study {study} keeps its {', '.join(fixed)}, or its trials could not be compared: only "
            f"{', '.join(CHANGEABLE)} may change; start a new study for the rest"
        )
    after = SearchSpec.from_dict({**spec, **keys}, source=f"study {study}, changed")
    if after.trials < spec["trials"]:
        raise StudyError(
            f"study {study} has {spec['trials']} trials already, and {after.trials} are fewer: a study never "
            f"gives trials back. Ask for {spec['trials']} or more, or start a new study"
        )
    return after
