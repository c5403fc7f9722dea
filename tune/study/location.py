"""What a study asks of the place where it is kept, and which class serves which path."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Protocol

from toolkit.files import is_address, strip_file_scheme
from tune.study.folder import Folder
from tune.study.mirror import Mirror


class Location(Protocol):
    """Where one study is kept; `tune.conformance.LocationConformance` tests every implementation."""

    @property
    def folder(self) -> Path:
        """Absolute path of a directory with the study's files; at an address, of the copy on this machine."""

    @property
    def label(self) -> str:
        """The path or address for messages, without passwords."""

    @property
    def is_permanent(self) -> bool:
        """Whether the directory is still there after this process."""

    @property
    def taken_over(self) -> bool:
        """Whether another process has taken the study over from this one, which held it."""

    def reference(self, root: str) -> str:
        """Return the shortest text by which `Study.open` finds the study, if studies are kept in `root`."""

    def require_free(self) -> None:
        """Raise `StudyError` where there is something already."""

    def create(self) -> None:
        """Make a new study, whose ``study.json`` is in the directory, known to other processes.

        Raises `StudyError` when another process made one of that name first.
        """

    def fetch(self) -> bool:
        """Bring the directory up to date, and return whether there is a study. Never takes the lock."""

    def read(self, name: str) -> bytes | None:
        """Return the content of a file of the study as it is now; None where there is none."""

    def publish(self, name: str) -> None:
        """Make a file that was written to the directory known to other processes."""

    def bring_checkpoint(self, trial: str) -> None:
        """Bring ``checkpoints/TRIAL`` into the directory, if another process left it and it is not there.

        What a holder of the lock writes below ``checkpoints``, or removes there, is known to the next.
        """

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the study for this process; other processes know at the end all that was written.

        Raises `StudyError` when another process holds it.
        """

    def require_lock(self) -> None:
        """Raise `StudyError` once another process has taken the study over."""

    def is_locked(self) -> bool:
        """Return whether a process runs the study. Never takes the lock, and never refuses one to others."""

    def remove(self, study_id: str) -> None:
        """Remove the study if it has this identity."""


def location_of(path: str | Path) -> Location:
    """Return the location that a path or an address names."""
    path = strip_file_scheme(path)
    return Mirror(str(path)) if is_address(path) else Folder(path)
