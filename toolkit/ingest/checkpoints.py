"""The stages of an ingest on disk: a task that has finished is not done again after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from toolkit.engines import Engine
from toolkit.ingest.notes import read_note, write_note
from toolkit.progress_bars import StepProgress

_Value = TypeVar("_Value")
FOLDER = ".work"
_PLAN = "plan.sha256"


class Checkpoints:
    """The scratch directory of one ingest, which only its user may enter.

    Parameters
    ----------
    folder : Path
        Made here, or left by an ingest of the same plan that was killed (`can_resume`).
    plan : dict
        Everything that decides what the tasks do.
    engine : Engine
        Runs them.
    progress : callable
        Called as each task ends.
    """

    def __init__(self, folder: Path, plan: dict[str, Any], engine: Engine, progress: StepProgress) -> None:
        self.folder = folder
        self.engine = engine
        self.progress = progress
        if not folder.exists():
            folder.mkdir(mode=0o700)
            (folder / _PLAN).write_text(_hash(plan), encoding="utf-8")

    def run(self, stage: str, label: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return what each call returns, in order.

        Parameters
        ----------
        stage : str
            Beginning of the names of the notes on tasks that have ended.
        label : str
            Name of the stage for people.
        calls : sequence of tuple
            A function of a module, and its arguments. It may run in another process, and again after it was
            interrupted.
        """
        results = {at: self.result(stage, at) for at in range(len(calls)) if self.has_ended(stage, at)}
        done = len(results)
        self.progress(label, done, len(calls))

        def tick() -> None:
            nonlocal done
            done += 1
            self.progress(label, done, len(calls))

        rest = [at for at in range(len(calls)) if at not in results]
        tasks = [(self._note(stage, at), calls[at]) for at in rest]
        results.update(zip(rest, self.engine.map(_once, tasks, tick) if rest else [], strict=True))
        return [results[at] for at in range(len(calls))]

    def once(self, step: str, make: Callable[[], _Value]) -> _Value:
        """Return what `make` returns, or returned before a kill: its input may be gone by now."""
        note = self.folder / f"{step}.done"
        if not note.exists():
            write_note(note, make())
        value: _Value = read_note(note)
        return value

    def has_ended(self, stage: str, at: int) -> bool:
        """Tell whether a task has ended well."""
        return self._note(stage, at).exists()

    def result(self, stage: str, at: int) -> Any:
        """Return the result of a task that has ended."""
        return read_note(self._note(stage, at))

    def forget(self, pattern: str) -> None:
        """Remove files that no later stage needs."""
        for path in self.folder.glob(pattern):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove the directory: the dataset is complete."""
        # Without its plan, what is left by a kill in the middle of this is not gone on with.
        (self.folder / _PLAN).unlink()
        shutil.rmtree(self.folder)

    def _note(self, stage: str, at: int) -> Path:
        return self.folder / f"{stage}-{at:06d}.done"


def can_resume(folder: Path, plan: dict[str, Any]) -> bool:
    """Tell whether a scratch directory is of this plan and of nobody but this user.

    Another user may put a directory under any name beside the output. Its files would become a part of this
    user's dataset.
    """
    try:
        for path in (folder.parent, folder):
            facts = path.lstat()
            if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
                return False
        if stat.S_IMODE(facts.st_mode) & 0o077:
            return False
        return (folder / _PLAN).read_text(encoding="utf-8") == _hash(plan)
    except (OSError, UnicodeDecodeError):
        return False


def _once(task: tuple[Path, tuple[Any, ...]]) -> Any:
    note, (function, *arguments) = task
    result = function(*arguments)
    write_note(note, result)
    return result


def _hash(plan: dict[str, Any]) -> str:
    # The plan itself is not kept, as addresses in it may carry passwords.
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
