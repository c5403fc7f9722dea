"""A study in a directory on this machine, or on a disk that machines share."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from pathlib import Path

from toolkit.errors import StudyError
from tune.study import folder_lock


def read_file(path: Path) -> bytes | None:
    """Return the content of a file of a study, or None where there is none.

    Raises
    ------
    StudyError
        When it cannot be read.
    """
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StudyError(
            f"{path} cannot be read: {error.strerror}; restore that file from a copy, or start a new study"
        ) from error


class Folder:
    """A `Location` in a directory: what is written there is known to all at once.

    Parameters
    ----------
    path : str or Path
        The directory.

    Attributes
    ----------
    folder : Path
        The directory, absolute.
    """

    is_permanent, taken_over = True, False

    def __init__(self, path: str | Path) -> None:
        self._given = Path(path)
        # Unlike Path.resolve, it takes a link that points at itself.
        self.folder = Path(os.path.realpath(path))

    @property
    def label(self) -> str:
        """The directory."""
        return str(self.folder)

    def reference(self, root: str) -> str:
        """Return the study's name if it is kept in `root`, else the path from the current directory."""
        if self.folder.parent == Path(os.path.realpath(root)):
            return self.folder.name
        here = Path.cwd()
        return str(self.folder.relative_to(here) if self.folder.is_relative_to(here) else self.folder)

    def require_free(self) -> None:
        """Refuse a path where there is something.

        Raises
        ------
        StudyError
            When there is.
        """
        if self.fetch():
            raise StudyError(
                f"there is a study {self._given} already: choose another --name, or "
                f"`walslab resume {self._given}`"
            )
        if os.path.lexists(self.folder):
            raise StudyError(
                f"{self._given} exists already and is no study: choose another --name, or remove it"
            )

    def create(self) -> None:
        """Do nothing: the directory is the study."""

    def fetch(self) -> bool:
        """Return whether there is a study."""
        return os.path.lexists(self.folder / "study.json")

    def read(self, name: str) -> bytes | None:
        """Return the content of a file, or None where there is none.

        Raises
        ------
        StudyError
            When it cannot be read.
        """
        return read_file(self.folder / name)

    def publish(self, name: str) -> None:
        """Do nothing: the file is where others read it."""

    def bring_checkpoint(self, trial: str) -> None:
        """Do nothing: the directory is the study."""

    def lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the study for this process.

        Raises
        ------
        StudyError
            When another process holds it, or the directory cannot be written to.
        """
        return folder_lock.folder_lock(self.folder)

    def require_lock(self) -> None:
        """Do nothing: nobody can take the system's lock over."""

    def is_locked(self) -> bool:
        """Return whether a process runs the study."""
        return folder_lock.is_locked(self.folder)

    def remove(self, study_id: str) -> None:
        """Remove the directory if its study has this identity."""
        content = self.read("study.json")
        if content is not None and json.loads(content).get("id") == study_id:
            shutil.rmtree(self.folder)
