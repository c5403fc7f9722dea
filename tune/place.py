"""Where a study is: a directory here, or one that stands for an address; held by one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from toolkit.errors import StudyError
from toolkit.files import is_address, strip_file_scheme
from tune.mirror import Mirror


class Place(Protocol):
    """What a study asks of where it is."""

    @property
    def folder(self) -> Path:
        """The directory, absolute."""

    @property
    def shown(self) -> str:
        """What messages call it."""

    @property
    def lasts(self) -> bool:
        """Whether the directory is there after this process."""

    @property
    def lost(self) -> bool:
        """Whether another process has taken the study from this one."""

    def within(self, root: str) -> str:
        """Return the shortest text that finds it where studies are kept in `root`."""

    def require_free(self) -> None:
        """Refuse a place where there is something; raises `StudyError`."""

    def create(self) -> None:
        """Make known the study that was written to the directory."""

    def fetch(self) -> bool:
        """Bring the directory up to date; False where there is no study."""

    def held(self) -> contextlib.AbstractContextManager[None]:
        """Hold the study for this process; raises `StudyError` when another holds it."""

    def require_held(self) -> None:
        """Refuse to go on for a process that another has taken the study from; raises `StudyError`."""

    def being_run(self) -> bool:
        """Tell whether a process seems to run the study."""

    def push(self) -> None:
        """Make known what was written to the directory."""

    def remove(self, study_id: str) -> None:
        """Remove the study of this identity."""


class Folder:
    """A directory on this machine, or on a disk that machines share; the lock is the system's.

    Parameters
    ----------
    path : str or Path
    """

    lasts, lost = True, False

    def __init__(self, path: str | Path) -> None:
        self._given = Path(path)
        self.folder = self._given.resolve()

    @property
    def shown(self) -> str:
        """The directory."""
        return str(self.folder)

    def within(self, root: str) -> str:
        """Return its name, or its path from here."""
        if self.folder.parent == Path(root).resolve():
            return self.folder.name
        here = Path.cwd()
        return str(self.folder.relative_to(here) if self.folder.is_relative_to(here) else self.folder)

    def require_free(self) -> None:
        """Refuse a path where there is something."""
        if self.fetch():
            raise StudyError(
                f"there is a study {self._given} already: choose another --name, or "
                f"`walslab resume {self._given}`"
            )
        if self.folder.exists():
            raise StudyError(
                f"{self._given} exists already and is no study: choose another --name, or remove it"
            )

    def create(self) -> None:
        """Nothing is left to do."""

    def fetch(self) -> bool:
        """Tell whether there is a study."""
        return (self.folder / "study.json").is_file()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Hold the study; the system lets go of it when the process ends, however it ends."""
        with (self.folder / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StudyError(
                    f"study {self.folder.name} is being run by another process: wait for it"
                ) from error
            yield

    def require_held(self) -> None:
        """Nobody can take it."""

    def being_run(self) -> bool:
        """Tell whether a process runs the study."""
        try:
            with self.held():
                return False
        except StudyError:
            return True

    def push(self) -> None:
        """Nothing is left to do."""

    def remove(self, study_id: str) -> None:
        """Remove the directory."""
        shutil.rmtree(self.folder)


def place_of(path: str | Path) -> Place:
    """Return the place that a path or an address names."""
    path = strip_file_scheme(path)
    return Mirror(str(path)) if is_address(path) else Folder(path)
