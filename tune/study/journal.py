"""The journal of a study: one JSON object a line, only ever appended to; what a resume goes by."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any


class Journal:
    """A file of events.

    A line is written in one go, and a line that a killed process left half-written is passed over, so that a
    process that dies at any moment loses no more than what it was about to say.

    Parameters
    ----------
    path : Path
        The file; made with the first event.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def append(self, event: str, *, durable: bool = False, **facts: Any) -> None:
        """Write an event.

        Parameters
        ----------
        event : str
            What happened.
        durable : bool, default False
            Whether it must also survive the machine's power being cut, which costs a few milliseconds.
        **facts
            JSON values that belong to it.
        """
        line = json.dumps({"event": event, **facts}).encode() + b"\n"
        with self._lock, self.path.open("a+b", buffering=0) as file:
            # What was cut off must not take this line with it.
            if file.tell() and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                line = b"\n" + line
            end = file.seek(0, os.SEEK_END)
            if file.write(line) != len(line):
                file.truncate(end)
                raise OSError(f"{self.path}: the disk took only a part of a line: is it full?")
            if durable:
                os.fsync(file.fileno())

    def events(self, *kinds: str) -> Iterator[dict[str, Any]]:
        """Yield the events of these kinds in the order they were written."""
        try:
            text = self.path.read_bytes()
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                entry = json.loads(line)
            except ValueError:  # cut off
                continue
            if isinstance(entry, dict) and entry.get("event") in kinds:
                yield entry
