"""Copies the checkpoints of a study at an address: up while it runs, and down when a trial goes on."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TypeAlias

from toolkit.files import ObjectStore
from tune.study.store_lock import StoreLock

_FOLDER = "checkpoints"
_Identity: TypeAlias = tuple[str, int]


class CheckpointCopy:
    """The folders ``checkpoints/TRIAL/ITERATIONS`` at an address.

    Of each trial the last checkpoint is at the address, and an older one until the last is complete. A trial
    has a folder here as soon as it has one at the address; the folder is empty until somebody needs what is
    in it, as a checkpoint is large. Where it is removed here, it is removed there.

    Parameters
    ----------
    store : ObjectStore
        The study's address.
    lock : StoreLock
        The lock, which is asked before anything is written.
    folder : Path
        The study's directory on this machine.
    """

    def __init__(self, store: ObjectStore, lock: StoreLock, folder: Path) -> None:
        self._store, self._lock, self._folder = store, lock, folder / _FOLDER
        # Of each trial that has checkpoints at the address: which one here is there, too.
        self._copied: dict[str, _Identity | None] = {}

    def note(self, names: Iterable[str]) -> None:
        """Take up which objects are at the address, and forget all checkpoints here."""
        shutil.rmtree(self._folder, ignore_errors=True)
        trials = {name.split("/")[1] for name in names if name.startswith(f"{_FOLDER}/")}
        self._copied = dict.fromkeys(trials)
        for trial in trials:
            (self._folder / trial).mkdir(parents=True)

    def bring(self, trial: str) -> None:
        """Copy the checkpoints of a trial to this machine, where they are at the address alone."""
        folder = self._folder / trial
        if trial not in self._copied or any(folder.glob("*")):
            return
        for name in self._store.names(f"{_FOLDER}/{trial}"):
            path = self._folder.parent / name
            path.parent.mkdir(parents=True, exist_ok=True)
            self._store.download(name, path)
        self._copied[trial] = _identity(_last(folder))

    def push(self) -> None:
        """Copy new checkpoints to the address, and remove those of trials that need none any more."""
        for folder in self._folder.glob("*"):
            # The study may replace it meanwhile; then the next call copies the newer one.
            with contextlib.suppress(FileNotFoundError):
                last = _last(folder)
                if last and _identity(last) != self._copied.get(folder.name):
                    self._lock.require()
                    self._upload(folder.name, last)
        for trial in [trial for trial in self._copied if not (self._folder / trial).is_dir()]:
            self._lock.require()
            with contextlib.suppress(FileNotFoundError):
                self._store.remove(f"{_FOLDER}/{trial}")
            del self._copied[trial]

    def _upload(self, trial: str, checkpoint: Path) -> None:
        """Copy one checkpoint, then remove all others of the trial."""
        identity, prefix = _identity(checkpoint), f"{_FOLDER}/{trial}/{checkpoint.name}/"
        self._copied.setdefault(trial, None)
        for file in sorted(path for path in checkpoint.rglob("*") if path.is_file()):
            self._store.upload(prefix + file.relative_to(checkpoint).as_posix(), file)
        for name in self._store.names(f"{_FOLDER}/{trial}"):
            if not name.startswith(prefix):
                self._store.remove(name)
        self._copied[trial] = identity


def _last(folder: Path) -> Path | None:
    """Return the last complete checkpoint in the folder of a trial."""
    return max(folder.glob("[0-9]*"), default=None)


def _identity(checkpoint: Path | None) -> _Identity | None:
    """Return what tells a checkpoint from another after as many iterations."""
    return (checkpoint.name, checkpoint.stat().st_mtime_ns) if checkpoint else None
