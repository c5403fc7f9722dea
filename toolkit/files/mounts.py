"""Whether a folder is on a disk of this machine."""

from __future__ import annotations

import os
from pathlib import Path

_MOUNTS = "/proc/self/mounts"
_LOCAL = {"bcachefs", "btrfs", "ext2", "ext3", "ext4", "f2fs", "overlay", "tmpfs", "xfs", "zfs"}


def mounts_are_known() -> bool:
    """Return whether this system lists its mounted disks; only Linux does."""
    return Path(_MOUNTS).exists()


def on_local_disk(path: str | Path) -> bool:
    """Return whether an existing folder is on a disk that is known to belong to this machine.

    Network disks and unknown kinds of file system give False, and so do all folders of a system that does
    not list its disks.
    """
    if not mounts_are_known():
        return False
    real = os.path.realpath(path)
    kind, longest = "", -1
    for line in Path(_MOUNTS).read_text(encoding="utf-8", errors="replace").splitlines():
        mount_point, file_system = line.split(" ")[1:3]
        mount_point = mount_point.replace("\\040", " ")
        # The last disk that is mounted on a folder hides the earlier ones.
        if f"{real}/".startswith(f"{mount_point.rstrip('/')}/") and len(mount_point) >= longest:
            kind, longest = file_system, len(mount_point)
    return kind in _LOCAL
