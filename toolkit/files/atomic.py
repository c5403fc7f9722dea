"""Directories and files that are either complete or not there."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

# What this process has not finished.
_in_use: set[Path] = set()


def write_text(path: str | Path, text: str) -> None:
    """Replace the file `path` by `text` in one step: a reader sees the old content or the new."""
    with file(path, overwrite=True) as opened:
        opened.write(text.encode())


@contextlib.contextmanager
def file(path: str | Path, *, overwrite: bool = False) -> Iterator[BinaryIO]:
    """Yield a file open for writing that becomes `path` when the block ends well, and vanishes otherwise.

    Parameters
    ----------
    path : str or Path
        The file to make; its parents are made too.
    overwrite : bool, default False
        Whether an existing file is replaced, which happens only once the new one is complete.

    Raises
    ------
    FileExistsError
        When `path` is a directory, or a file that is not to be replaced.
    """
    path = Path(path).resolve()
    for left in _leftovers(path, "partial"):
        left.unlink()
    _check_file(path, overwrite=overwrite)
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")
    _in_use.add(part)
    try:
        with part.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        _check_file(path, overwrite=overwrite)  # it may have come up meanwhile
        part.replace(path)
        _sync(path.parent)
    finally:
        part.unlink(missing_ok=True)
        _in_use.discard(part)


@contextlib.contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """Yield an empty directory beside `path`, for what is needed while it is made; it vanishes at the end."""
    path = Path(path).resolve()
    folder = path.with_name(f".{path.name}.scratch-{os.getpid()}")
    # One of this very number is of a process that had it before: only one can be at work on `path` here.
    for left in (*_leftovers(path, "scratch"), folder):
        shutil.rmtree(left, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _check_file(path: Path, *, overwrite: bool) -> None:
    if path.is_dir():
        raise FileExistsError(f"{path} is a directory, and a file is to be made there: choose another path")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already: choose another path, or overwrite it")


@contextlib.contextmanager
def directory(
    path: str | Path,
    *,
    overwrite: bool = False,
    holding: str | None = None,
    resume: Callable[[Path], bool] | None = None,
) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : str or Path
        The directory to make; its parents are made too.
    overwrite : bool, default False
        Whether an existing `path` is replaced, which happens only once the new one is complete.
    holding : str, optional
        As `check_free`.
    resume : callable, optional
        Told a directory that a process left unfinished when it was killed, says whether it is to be gone on
        with; it is then yielded as it is.

    Raises
    ------
    FileExistsError
        When `path` is not free to be made.
    """
    # Resolved, so that "." has a name and a symbolic link keeps pointing at what it pointed at.
    path = Path(path).resolve()
    part = path.with_name(f".{path.name}.partial-{os.getpid()}")
    # One that is gone on with is taken over before the others are cleared away.
    taken = next((left for left in _leftovers(path, "partial") if resume and resume(left)), None)
    if taken:
        if part != taken:
            taken.rename(part)
        _in_use.add(part)
    try:
        # Leftovers first: what a dead process was about to replace is there again, and is not replaced
        # unasked.
        discard_leftovers(path)
        check_free(path, overwrite=overwrite, holding=holding)
        path.parent.mkdir(parents=True, exist_ok=True)
        part.mkdir(exist_ok=bool(taken))
        _in_use.add(part)
        yield part
        for file in part.rglob("*"):
            _sync(file)
        _sync(part)
        old = path.with_name(f".{path.name}.replaced-{os.getpid()}")
        check_free(path, overwrite=overwrite, holding=holding)  # it may have come up meanwhile
        if path.exists():
            path.rename(old)
        try:
            part.rename(path)
        except BaseException:
            # Such as Ctrl-C between the two.
            if old.exists() and not path.exists():
                old.rename(path)
            raise
        _sync(path.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        if part in _in_use:
            shutil.rmtree(part, ignore_errors=True)
            _in_use.discard(part)


def check_free(path: Path, *, overwrite: bool = False, holding: str | None = None) -> None:
    """Refuse to make a directory where there is something that must stay.

    Parameters
    ----------
    path : Path
        The directory to make.
    overwrite : bool, default False
        Whether a directory of its kind may be replaced.
    holding : str, optional
        A file that every directory of its kind holds: any other than that is not replaced, unless it is
        empty.

    Raises
    ------
    FileExistsError
        When `path` has to stay.
    """
    if not path.exists():
        return
    if not path.is_dir():
        raise FileExistsError(f"{path} is a file, and a directory is to be made there: choose another path")
    if not overwrite:
        raise FileExistsError(f"{path} exists already: choose another path, or overwrite it")
    if holding and not (path / holding).exists() and any(path.iterdir()):
        raise FileExistsError(
            f"{path} holds other things (it has no {holding}) and is not overwritten: choose another path"
        )


def discard_leftovers(path: Path) -> None:
    """Remove what processes that are gone left beside `path`; put back what they were about to replace."""
    path = path.resolve()
    for left in _leftovers(path, "replaced"):
        if path.exists():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.rename(path)
    for left in _leftovers(path, "partial"):
        shutil.rmtree(left, ignore_errors=True)


def _leftovers(path: Path, kind: str) -> list[Path]:
    """Return the directories of a kind beside `path` that processes which are gone have left."""
    name = re.compile(re.escape(f".{path.name}.{kind}-") + r"(\d{1,9})")
    beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    found = [(left, name.fullmatch(left.name)) for left in beside]
    return [
        left
        for left, match in found
        if match and not _alive(int(match[1]), path.with_name(f".{path.name}.partial-{match[1]}"))
    ]


def _alive(pid: int, part: Path) -> bool:
    # In a container every process may have the number of the one before it: our own is no sign of life.
    if pid == os.getpid():
        return part in _in_use
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
