"""The journal of a study: a file of one event a line that is only ever appended to.

A resume goes by the journal alone. This module also holds the meaning of the events: when a trial has ended,
and when MLflow has it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from tune.study.events import decoded, encoded
from tune.study.trial import TrialResult


class Journal:
    """A file of events, whose form `tune.study.events` defines.

    A process writes a line in one go. A line that a killed process left unfinished is passed over, so that a
    process that dies at any moment loses no more than the event it was about to write.

    Parameters
    ----------
    path : Path
        The file. The first event creates it.
    label : str, optional
        What messages call the file; its path when not given.
    """

    def __init__(self, path: Path, label: str | None = None) -> None:
        self.path = path
        self._label = label or str(path)
        self._lock = threading.Lock()

    def append(self, event: str, *, durable: bool = False, **facts: Any) -> None:
        """Write an event.

        Parameters
        ----------
        event : str
            A name in `tune.study.events.EVENTS`.
        durable : bool, default False
            Whether the event must also survive a power cut, which costs a few milliseconds.
        **facts
            The other keys of the event, as JSON values.

        Raises
        ------
        StudyError
            When the event is not one of the contract.
        OSError
            When the disk takes nothing, or only a part of the line. Nothing of it is left then.
        """
        line = encoded(event, facts)
        with self._lock, self.path.open("a+b", buffering=0) as file:
            # An unfinished line of a killed process must not swallow this one.
            if file.tell() and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                line = b"\n" + line
            end = file.seek(0, os.SEEK_END)
            if file.write(line) != len(line):
                file.truncate(end)
                raise OSError(f"{self.path}: the disk took only a part of a line: is it full?")
            if durable:
                os.fsync(file.fileno())

    def events(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """Yield the events of these kinds in the order they were written.

        Raises
        ------
        StudyError
            When a line is JSON, but no event of the contract.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return
        for number, line in enumerate(content.split(b"\n"), 1):
            entry = decoded(line, f"{self._label}, line {number},")
            if entry is not None and entry["event"] in kinds:
                yield entry

    def lines_after(self, position: int) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
        """Yield the complete lines behind a position in bytes, each with its event.

        The event is None for a line that a killed process left unfinished.
        """
        try:
            file = self.path.open("rb")
        except FileNotFoundError:
            return
        with file:
            file.seek(position)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                yield line, decoded(line, self._label)

    def ended(self) -> list[TrialResult]:
        """Return the trials that ended, each with its run in MLflow; the last line about a trial counts."""
        runs = self.runs()
        trials: dict[str, TrialResult] = {}
        for event in self.events("ended"):
            facts = {key: value for key, value in event.items() if key not in {"event", "version"}}
            trials[event["trial"]] = cast("TrialResult", {**facts, "run_id": runs.get(event["trial"])})
        return list(trials.values())

    def proposed(self) -> dict[str, dict[str, Any]]:
        """Return the proposals by trial, in their order."""
        proposals = {event["trial"]: event for event in self.events("proposed")}
        return dict(sorted(proposals.items(), key=lambda item: item[1]["number"]))

    def runs(self) -> dict[str, str]:
        """Return the MLflow run of each trial that has one."""
        return {event["trial"]: event["run_id"] for event in self.events("run")}

    def recorded(self) -> set[str]:
        """Return the trials that MLflow has everything of."""
        return {event["trial"] for event in self.events("recorded")}


def ended_trial(event: dict[str, Any]) -> str | None:
    """Return the trial that ended with an event, or None."""
    return str(event["trial"]) if event["event"] == "ended" else None


def recorded_trial(event: dict[str, Any]) -> str | None:
    """Return the trial that MLflow has everything of since an event, or None."""
    return str(event["trial"]) if event["event"] == "recorded" else None
