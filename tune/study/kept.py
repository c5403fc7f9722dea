"""Say where studies are kept, and which there are."""

from __future__ import annotations

import os
from pathlib import Path

from toolkit.errors import StudyError, did_you_mean
from toolkit.files import as_path, store_errors

# Where studies are kept, unless WALSLAB_STUDIES names another folder or an address.
STUDIES = "studies"


def kept_in() -> str:
    """Return the folder or address where studies are kept."""
    return (os.environ.get("WALSLAB_STUDIES") or STUDIES).rstrip("/")


def hint_of(name: str | Path) -> str:
    """Return the end of a message about a study that does not exist: the nearest name, or some names.

    Raises
    ------
    StudyError
        When the place where studies are kept cannot be reached.
    """
    root = as_path(kept_in(), StudyError)
    with store_errors(kept_in(), StudyError, "check WALSLAB_STUDIES"):
        known = [path.parent.name for path in root.glob("*/study.json")]
    if nearest := did_you_mean(Path(name).name, known):
        return nearest
    return f": known are {', '.join(sorted(known)[:8])}" if known else ""
