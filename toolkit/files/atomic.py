"""Directories and files that are either complete or not there."""

from __future__ import annotations

import contextlib
import errno
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

from toolkit.errors import ConfigError
from toolkit.files.masking import mask
from toolkit.files.work_folder import WorkFolder, remove


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
        Whether an existing file is replaced. That happens only once the new file is complete.

    Raises
    ------
    FileExistsError
        When `path` is a directory, or a file and `overwrite` is false.
    """
    path = _of_this_machine(path)
    _clean_up(path)
    _check_file(path, overwrite=overwrite)
    work = WorkFolder.create(path)
    try:
        with work.new.open("wb") as opened:
            yield opened
            opened.flush()
            os.fsync(opened.fileno())
        _check_file(path, overwrite=overwrite)  # another process may have made it meanwhile
        work.new.replace(path)
        _sync(path.parent)
    finally:
        work.remove()


@contextlib.contextmanager
def scratch(path: str | Path) -> Iterator[Path]:
    """Yield an empty directory beside `path` for temporary files; it vanishes when the block ends."""
    path = _of_this_machine(path)
    _clean_up(path)
    work = WorkFolder.create(path)
    try:
        work.new.mkdir()
        yield work.new
    finally:
        work.remove()


@contextlib.contextmanager
def directory(
    path: str | Path,
    *,
    overwrite: bool = False,
    holding: str | None = None,
    resume: Callable[[Path], bool] | None = None,
    keep: type[BaseException] | tuple[()] = (),
) -> Iterator[Path]:
    """Yield an empty directory that becomes `path` when the block ends well, and vanishes when it does not.

    Parameters
    ----------
    path : str or Path
        The directory to make; its parents are made too.
    overwrite : bool, default False
        Whether an existing directory is replaced. That happens only once the new one is complete.
    holding : str, optional
        The name of a file that every directory of this kind holds. A directory without it is not replaced,
        unless it is empty.
    resume : callable, optional
        Takes an unfinished directory of a process that was killed, and returns whether to continue it. That
        directory is then yielded with its content.
    keep : type, optional
        The class of errors in the block that leave the unfinished directory to a process that resumes it.

    Raises
    ------
    FileExistsError
        When there is something at `path` that has to stay.
    """
    # Resolved, so that "." has a name and a symbolic link keeps pointing at what it pointed at.
    path = _of_this_machine(path)
    # First of all: a directory that a dead process was about to replace is put back, and needs `overwrite`.
    work = _clean_up(path, resume)
    try:
        check_free(path, overwrite=overwrite, holding=holding)
        if work is None:
            work = WorkFolder.create(path)
            work.new.mkdir()
        yield work.new
        for each in work.new.rglob("*"):
            _sync(each)
        _sync(work.new)
        check_free(path, overwrite=overwrite, holding=holding)  # another process may have made it meanwhile
        _replace(path, work)
        _sync(path.parent)
    except keep:
        if work is not None:
            work.leave()
            work = None
        raise
    finally:
        if work is not None:
            work.remove()


def check_free(path: Path, *, overwrite: bool = False, holding: str | None = None) -> None:
    """Refuse to make a directory where there is something that must stay.

    Parameters
    ----------
    path : Path
        The directory to make.
    overwrite : bool, default False
        Whether a directory of its kind may be replaced.
    holding : str, optional
        The name of a file that every directory of its kind holds. A directory without it is not replaced,
        unless it is empty.

    Raises
    ------
    FileExistsError
        When there is something at `path` that has to stay, or it is below a file.
    OSError
        When this process may not write there, or the disk is read-only.
    ConfigError
        When `path` is an address.
    """
    path = _of_this_machine(path)
    _check_above(path)
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


def _of_this_machine(path: str | Path) -> Path:
    """Return a path resolved; raises `ConfigError` for an address, which would make a folder ``s3:``."""
    # A Path has one slash where an address has two.
    if scheme := re.match(r"([A-Za-z][A-Za-z0-9+.-]+):/+", str(path)):
        address = f"{scheme[1]}://{str(path)[scheme.end() :]}"
        raise ConfigError(
            f"{mask(address)} is an address, but this is written on this machine alone: give a path, and "
            "copy what is complete there to the address"
        )
    return Path(path).resolve()


def _check_above(path: Path) -> None:
    """Refuse a path that nothing can be made at, before any work is done for it."""
    above = next(each for each in path.parents if each.exists())
    if not above.is_dir():
        raise FileExistsError(f"{above} is a file, and nothing can be made below it: choose another path")
    if not os.access(above, os.W_OK | os.X_OK):
        code = errno.EROFS if os.statvfs(above).f_flag & os.ST_RDONLY else errno.EACCES
        raise OSError(code, f"{os.strerror(code)}, choose another path", str(above))


def _check_file(path: Path, *, overwrite: bool) -> None:
    _check_above(path)
    if path.is_dir():
        raise FileExistsError(f"{path} is a directory, and a file is to be made there: choose another path")
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists already: choose another path, or overwrite it")


def _clean_up(path: Path, resume: Callable[[Path], bool] | None = None) -> WorkFolder | None:
    """Remove the work folders of dead processes beside `path`; put back the directory they were replacing.

    Returns
    -------
    WorkFolder or None
        The first one that `resume` wants to continue.
    """
    resumed = None
    for left in WorkFolder.take_over(path):
        if left.old.exists():
            if path.exists():
                remove(left.old)
            else:
                left.old.rename(path)
        if resumed is None and resume and left.new.is_dir() and resume(left.new):
            resumed = left
        else:
            left.remove()
    return resumed


def _replace(path: Path, work: WorkFolder) -> None:
    """Give the finished directory its name; put the directory before it back when that fails."""
    if path.exists():
        path.rename(work.old)
    try:
        work.new.rename(path)
    except BaseException:  # such as Ctrl-C between the two
        if work.old.exists() and not path.exists():
            work.old.rename(path)
        raise


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
