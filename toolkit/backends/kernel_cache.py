"""The folder in which CuPy keeps the kernels that it compiles."""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from toolkit.errors import BackendError
from toolkit.files import mounts_are_known, on_local_disk

_CACHE = "CUPY_CACHE_DIR"


def keep_kernels_locally() -> None:
    """Have CuPy keep its compiled kernels on a disk of this machine; call this before CuPy is imported.

    Without ``CUPY_CACHE_DIR``, CuPy keeps them below the home folder. The nodes of a cluster often share that
    folder over the network: every kernel of every process is then slow, and counts against the user's quota.
    If the home is not known to be a writable local disk, this function sets the variable to a folder of this
    user below the system's temporary folder. To compile kernels anew after a reboot costs seconds.

    Raises
    ------
    BackendError
        When that folder belongs to somebody else, whose kernels this process would then run.
    """
    # Not by Path, which raises when the user's home is unknown.
    home = os.path.expanduser("~/.cupy/kernel_cache")  # noqa: PTH111
    # Only Linux lists its disks, and only Linux runs on the nodes of a cluster.
    if os.environ.get(_CACHE) or not mounts_are_known() or _is_local_and_writable(home):
        return
    folder = Path(tempfile.gettempdir()) / f"walslab-cupy-{os.getuid()}"
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        status = folder.lstat()
    except OSError as error:
        raise BackendError(
            f"a folder for compiled kernels cannot be made: {error}; set {_CACHE} to one on a local disk"
        ) from error
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise BackendError(
            f"the folder for compiled kernels must be open to user {os.getuid()} alone, but {folder} is of "
            f"user {status.st_uid} with mode {stat.filemode(status.st_mode)}: remove it, or set {_CACHE}"
        )
    os.environ[_CACHE] = str(folder)


def _is_local_and_writable(path: str) -> bool:
    """Return whether a folder, or the nearest one above it that exists, is a writable local disk."""
    existing = os.path.realpath(path)
    while not os.path.exists(existing):  # noqa: PTH110 - False also where permission to look is missing
        existing = os.path.dirname(existing)  # noqa: PTH120 - of text, as above
    return os.access(existing, os.W_OK | os.X_OK) and on_local_disk(existing)
