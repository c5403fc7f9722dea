"""Directories and files that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path


def write_text(path: str | Path, text: str) -> None:
    """Replace the file `path` by `text` in one step: a reader sees the old content or the new."""
    path = Path(path)
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    with part.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


@contextlib.contextmanager
def directory(path: str | Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : str or Path
        The directory to make; its parents are made too.
    overwrite : bool, default False
        Whether an existing `path` is replaced, which happens only once the new one is complete.

    Raises
    ------
    FileExistsError
        When `path` exists and `overwrite` is false.
    """
    path = Path(path)
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already")
    path.parent.mkdir(parents=True, exist_ok=True)
    discard_leftovers(path)
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")
    part.mkdir()
    try:
        yield part
        for file in part.rglob("*"):
            _sync(file)
        _sync(part)
        old = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        if path.exists():
            path.rename(old)
        part.rename(path)
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def discard_leftovers(path: Path) -> None:
    """Remove what processes that are gone left beside `path`; put back what they were about to replace."""
    for left in path.parent.glob(f".{path.name}.*-*"):
        pid = left.name.rpartition("-")[2]
        if not pid.isdigit() or Path("/proc", pid).exists() or int(pid) == os.getpid():
            continue
        if left.name.endswith(f".replaced-{pid}") and not path.exists():
            left.rename(path)
        else:
            shutil.rmtree(left, ignore_errors=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
