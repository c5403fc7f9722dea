"""The three files of facts of one study: read together, each written by itself."""

from __future__ import annotations

import json
from typing import Any

from toolkit.errors import StudyError
from toolkit.files import atomic
from tune.study import relative_paths
from tune.study.facts import STATE_KEYS, Facts, read_asked, read_refit, read_state
from tune.study.location import Location


class FactFiles:
    """What ``study.json``, ``state.json`` and ``refit.json`` of a study said when they were read last.

    Parameters
    ----------
    location : Location
        Where the study is.

    Attributes
    ----------
    asked : dict of str to object
        What ``study.json`` says.
    joined : Facts
        The facts of all three files, with the changes in the specification.

    Raises
    ------
    StudyError
        When a file is damaged, or of another format version.
    """

    def __init__(self, location: Location) -> None:
        self._location = location
        self.load()

    def load(self) -> None:
        """Read the files as they are in the study's directory now."""
        self.asked, self._state = read_asked(self._location), read_state(self._location)
        self._refit = read_refit(self._location)
        self._join()

    @property
    def changed(self) -> dict[str, Any]:
        """Keys of the specification that were changed since the study was made."""
        changed: dict[str, Any] = self._state.get("changed", {})
        return changed

    def status(self, *, now: bool) -> str:
        """Return the status that ``state.json`` has; `now` reads it again where the study is."""
        if now:
            self._state = read_state(self._location, now=True)
        return str(self._state.get("status", "running"))

    def write_state(self, state: dict[str, Any]) -> None:
        """Change facts of ``state.json`` in one step; the study must be held.

        Raises
        ------
        StudyError
            When a fact is not one of the state.
        """
        if others := sorted(state.keys() - STATE_KEYS):
            known = ", ".join(sorted(STATE_KEYS))
            raise StudyError(f"a study's state has {known}, but got {', '.join(others)}")
        self._state = {**self._state, **state}
        self._write("state.json", self._state)
        self._join()

    def write_refit(self, refit: dict[str, Any]) -> None:
        """Replace ``refit.json`` in one step, and let others know."""
        self._write("refit.json", refit)
        self._location.publish("refit.json")
        self._refit = {"refit": refit}
        self._join()

    def _write(self, name: str, facts: dict[str, Any]) -> None:
        if self._location.is_permanent:
            facts = relative_paths.kept(facts, self._location.folder)
        atomic.write_text(self._location.folder / name, json.dumps(facts, indent=2) + "\n")

    def _join(self) -> None:
        first = {"status": "running", "seconds": 0.0}
        parts = [self.asked, self._state, self._refit.get("refit", {})]
        if self._location.is_permanent:
            parts = [relative_paths.resolved(part, self._location.folder) for part in parts]
        refit = {"refit": parts.pop()} if self._refit else {}
        joined = Facts(self._location.label, first, *parts, refit)
        if "spec" in self.asked:
            joined["spec"] = {**self.asked["spec"], **self.changed}
        # Replaced as a whole: other threads read the facts while a study runs.
        self.joined = joined
