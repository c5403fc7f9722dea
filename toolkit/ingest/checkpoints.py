"""The stages of an ingest on disk: what a task has finished is not done again after a kill."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from toolkit.engines.threads import Engine

# Told the stage, the tasks that are done, and all tasks.
Progress = Callable[[str, int, int], None]
_T = TypeVar("_T")
FOLDER = ".work"
_PLAN = "plan.sha256"


class Work:
    """The scratch directory of one ingest.

    Parameters
    ----------
    folder : Path
        Made here, or left by an ingest of the same plan that was killed.
    plan : dict
        All that decides what tasks do.
    engine : Engine
        Where they run.
    progress : callable
        Told how far they are.
    """

    def __init__(self, folder: Path, plan: dict[str, Any], engine: Engine, progress: Progress) -> None:
        self.folder = folder
        self.engine = engine
        self.progress = progress
        if not folder.exists():
            folder.mkdir()
            (folder / _PLAN).write_text(_text(plan), encoding="utf-8")

    @staticmethod
    def fits(folder: Path, plan: dict[str, Any]) -> bool:
        """Tell whether a directory that was left behind is of this plan."""
        try:
            return (folder / _PLAN).read_text(encoding="utf-8") == _text(plan)
        except (OSError, UnicodeDecodeError):
            return False

    def run(self, stage: str, label: str, calls: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Return what each call returns, in order.

        Parameters
        ----------
        stage : str
            Names the files that say which tasks have ended.
        label : str
            What is done, for people.
        calls : sequence of tuple
            A function of a module, and its arguments; it may run in another process, and again after it was
            interrupted.
        """
        results = {at: self.result(stage, at) for at in range(len(calls)) if self._note(stage, at).exists()}
        done = len(results)
        self.progress(label, done, len(calls))

        def tick() -> None:
            nonlocal done
            done += 1
            self.progress(label, done, len(calls))

        rest = [at for at in range(len(calls)) if at not in results]
        tasks = [(self._note(stage, at), calls[at]) for at in rest]
        found = self.engine.map(_once, tasks, tick) if rest else []
        results.update(zip(rest, found, strict=True))
        return [results[at] for at in range(len(calls))]

    def once(self, step: str, make: Callable[[], _T]) -> _T:
        """Return what `make` returns, or returned before the ingest was killed: what it read may be gone."""
        note = self.folder / f"{step}.done"
        if not note.exists():
            _write(note, make())
        found: _T = _read(note)
        return found

    def done(self, stage: str, at: int) -> bool:
        """Tell whether a task has ended well."""
        return self._note(stage, at).exists()

    def result(self, stage: str, at: int) -> Any:
        """Return what a task that has ended returned."""
        return _read(self._note(stage, at))

    def forget(self, pattern: str) -> None:
        """Remove files that no later stage needs."""
        for path in self.folder.glob(pattern):
            path.unlink(missing_ok=True)

    def remove(self) -> None:
        """Remove everything: the dataset is complete."""
        shutil.rmtree(self.folder)

    def _note(self, stage: str, at: int) -> Path:
        return self.folder / f"{stage}-{at:06d}.done"


def _once(task: tuple[Path, tuple[Any, ...]]) -> Any:
    note, (function, *arguments) = task
    result = function(*arguments)
    _write(note, result)
    return result


def _write(note: Path, result: Any) -> None:
    # Of a worker's own, as a cluster may run a task that it believes lost a second time.
    part = note.with_suffix(f".{os.getpid()}.part")
    with part.open("wb") as file:
        _Pickler(file).dump(result)
    part.replace(note)


def _read(note: Path) -> Any:
    with note.open("rb") as file:
        return _Unpickler(file, note.parent).load()


class _Pickler(pickle.Pickler):
    """Leaves open which the scratch directory is: who goes on with it has given it another name."""

    def persistent_id(self, obj: Any) -> str | None:
        return FOLDER if isinstance(obj, Path) and obj.name == FOLDER else None


class _Unpickler(pickle.Unpickler):
    # Reads what this program has written for this user, in a directory of its own.
    def __init__(self, file: BinaryIO, folder: Path) -> None:
        super().__init__(file)
        self.folder = folder

    def persistent_load(self, pid: str) -> Path:
        return self.folder


def _text(plan: dict[str, Any]) -> str:
    # Not the plan itself: addresses in it may carry passwords.
    return hashlib.sha256(json.dumps(plan, sort_keys=True).encode()).hexdigest()
