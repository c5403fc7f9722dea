"""The lock of a study in a folder: one process at a time has the right to write there.

The system holds the lock, and takes it back when the process ends, however it ends. Two files serve it. A
process that wants to write locks ``.lock`` for itself alone, or is refused; the file says who holds it. Then
it locks ``.running``, too. A process that only looks tries a shared lock of ``.running`` for an instant: a
look never refuses a start. A disk that nodes share must support `flock`, as NFS does.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from toolkit.errors import StudyError
from tune.study.holder import process_text, this_process

# How long a start waits for those who look, in seconds; a look takes microseconds.
_PATIENCE = 2.0


@contextlib.contextmanager
def folder_lock(folder: Path) -> Iterator[None]:
    """Hold the lock of a study's folder.

    Raises
    ------
    StudyError
        When another process holds it, or the folder cannot be written to.
    """
    with contextlib.ExitStack() as files:
        try:
            lock = files.enter_context((folder / ".lock").open("a+"))
            running = files.enter_context((folder / ".running").open("a"))
        except OSError as error:
            raise StudyError(
                f"study {folder.name} cannot be changed: {error.strerror} ({error.filename}); ask its owner, "
                "or look at it with `walslab results`"
            ) from error
        if not _try(lock, fcntl.LOCK_EX):
            lock.seek(0)
            raise StudyError(
                f"study {folder.name} is being run by {_holder_text(lock.read())}: wait for it, or stop that "
                "process"
            )
        lock.truncate(0)
        lock.write(json.dumps(this_process()))
        lock.flush()
        deadline = time.monotonic() + _PATIENCE
        while not _try(running, fcntl.LOCK_EX) and time.monotonic() < deadline:
            time.sleep(0.01)
        yield


def is_locked(folder: Path) -> bool:
    """Return whether a process holds the lock of a study's folder; never stands in a process's way."""
    try:
        with (folder / ".running").open() as running:
            return not _try(running, fcntl.LOCK_SH)
    except OSError:
        # Nobody ever ran the study, or its owner lets nobody see.
        return False


def _try(file: IO[str], operation: int) -> bool:
    """Lock an open file; return whether that was possible at once."""
    try:
        fcntl.flock(file, operation | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder_text(content: str) -> str:
    try:
        return process_text(json.loads(content))
    except (ValueError, TypeError):  # it is just writing who it is
        return "another process"
