"""Hidden folders in which files and directories are made, and the proof of who is making them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import platform
import re
import secrets
import shutil
import time
from pathlib import Path
from typing import TypedDict

from toolkit.files.mounts import on_local_disk

_log = logging.getLogger(__name__)
_FORMAT = "walslab work folder"
_BOOT = Path("/proc/sys/kernel/random/boot_id")
_reported: set[Path] = set()


class _Owner(TypedDict):
    """Content of the file ``owner``: the process that works in a folder."""

    format: str
    host: str
    boot: str
    device: int
    process: int
    since: str
    locked: bool


class WorkFolder:
    """A hidden folder beside a path, in which one process makes the file or directory of that path.

    ::

        .NAME.partial-3f2a9c1e/
            owner    names the process that works here, which locks this file as long as it lives
            new      the file or directory that is being made
            old      the directory that `new` is about to replace

    A process number does not tell whether the owner lives, because another container or machine may share
    the disk. The lock does: the system releases it when its process ends, however that happens. A folder
    without an ``owner`` of this form was not made here, whatever its name, and is never touched.

    Parameters
    ----------
    folder : Path
        The hidden folder.
    owner : int
        The open and locked file ``owner``.

    Attributes
    ----------
    new, old : Path
        As drawn above. Neither exists in a folder that was just created.
    """

    def __init__(self, folder: Path, owner: int) -> None:
        self._folder, self._owner = folder, owner
        self.new, self.old = folder / "new", folder / "old"

    @classmethod
    def create(cls, path: Path) -> WorkFolder:
        """Make a folder for this process beside `path`, and the parents of `path` too."""
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = path.with_name(f".{path.name}.partial-{secrets.token_hex(4)}")
        folder.mkdir()
        owner = -1
        try:
            owner = os.open(folder / "owner", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
            # Locked before it is written: nobody else locks a file without content.
            locked = _lock(owner, fcntl.LOCK_EX)
            content = _Owner(
                format=_FORMAT,
                host=platform.node(),
                boot=_boot(),
                device=os.fstat(owner).st_dev,
                process=os.getpid(),
                since=time.strftime("%Y-%m-%d %H:%M:%S %z"),
                locked=bool(locked),
            )
            os.write(owner, json.dumps(content).encode())
        except BaseException:
            if owner >= 0:
                os.close(owner)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        return cls(folder, owner)

    @classmethod
    def take_over(cls, path: Path) -> list[WorkFolder]:
        """Return the folders beside `path` whose owners are gone; this process owns them now.

        A folder stays as it is while its owner lives, and also when its owner cannot be proven gone. A
        warning then names the folder and its owner.
        """
        name = re.compile(re.escape(f".{path.name}.partial-") + "[0-9a-f]{8}")
        beside = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
        candidates = [_taken_over(folder) for folder in beside if name.fullmatch(folder.name)]
        return [work for work in candidates if work]

    def leave(self) -> None:
        """Leave the folder with everything in it to the next process, which may `take_over`."""
        os.close(self._owner)

    def remove(self) -> None:
        """Remove the folder with everything in it."""
        for path in (self.new, self.old):
            remove(path)
        os.close(self._owner)
        # A folder that cannot be emptied keeps its owner's name, so that the next process tries again.
        if not (self.new.exists() or self.old.exists()):
            shutil.rmtree(self._folder, ignore_errors=True)


def remove(path: Path) -> None:
    """Remove a file or a directory where there is one; leave behind what cannot be removed."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            path.unlink()


def _taken_over(folder: Path) -> WorkFolder | None:
    """Return a folder whose owner is provably gone, with its lock; None for any other."""
    try:
        handle = os.open(folder / "owner", os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    owner = _read_owner(handle)
    if owner is not None:
        locked = _lock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if locked is None:
            pass  # the owner is at work
        elif not (locked and _is_visible(owner, handle, folder)):
            _report(owner, folder)
        # Another process may have removed the folder before this one locked it.
        elif (folder / "owner").exists() and os.path.samestat(os.fstat(handle), (folder / "owner").stat()):
            return WorkFolder(folder, handle)
    os.close(handle)
    return None


def _read_owner(handle: int) -> _Owner | None:
    """Return the content of a file ``owner``, or None where it is not of our form."""
    try:
        content = json.loads(os.pread(handle, 4096, 0))
    except (OSError, ValueError):
        return None
    ours = isinstance(content, dict) and content.get("format") == _FORMAT
    return content if ours and content.keys() == _Owner.__annotations__.keys() else None


def _lock(handle: int, operation: int) -> bool | None:
    """Lock a file; return None where another process holds it, and False where its disk has no locks."""
    try:
        fcntl.flock(handle, operation)
    except BlockingIOError:
        return None
    except OSError:
        return False
    return True


def _is_visible(owner: _Owner, handle: int, folder: Path) -> bool:
    """Return whether this process would see the lock of a folder's owner if the owner lived.

    On some network disks a lock is not seen by other machines, nor through another mount of the disk. A
    folder of another user counts as unseen, because what it holds is not to be trusted.
    """
    status = os.fstat(handle)
    same_system = (owner["boot"], owner["device"]) == (_boot(), status.st_dev)
    return (
        owner["locked"] is True and status.st_uid == os.geteuid() and (same_system or on_local_disk(folder))
    )


def _report(owner: _Owner, folder: Path) -> None:
    """Say once that a folder stays, and why."""
    if folder not in _reported:
        _reported.add(folder)
        _log.warning(
            "%s was left by process %s of %s at %s. Nothing proves that this process has ended, so the "
            "folder stays: remove it if the process does not run any more",
            folder,
            owner["process"],
            owner["host"],
            owner["since"],
        )


def _boot() -> str:
    """Return what identifies the running system: each start of a machine has another one."""
    return _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else platform.node()
