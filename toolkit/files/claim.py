"""A path that one process works for, and no other at the same time."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def claimed(path: str | Path) -> Iterator[None]:
    """Keep other processes from making what this one makes, as long as the block runs.

    The claim is a lock on the hidden file ``.NAME.claim`` beside the path. The system releases it when the
    process ends, however that happens, and the next process takes the file over.

    Parameters
    ----------
    path : str or Path
        A path of this machine; its parents are made.

    Raises
    ------
    FileExistsError
        When another process has claimed it. On a disk without locks none is noticed.
    """
    path = Path(path).resolve()
    path.parent.mkdir(parents=True, exist_ok=True)
    file = path.with_name(f".{path.name}.claim")
    handle = _locked(file)
    if handle is None:
        raise FileExistsError(f"another process is making {path}: wait for its end, or choose another path")
    try:
        yield
    finally:
        # Removed before it is unlocked: whoever opened it meanwhile sees that it is gone, and makes another.
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(handle)


def _locked(file: Path) -> int | None:
    """Return a file open and locked, or None where another process has it."""
    while True:
        handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:
            return handle
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(handle), file.stat()):
                return handle
        os.close(handle)
