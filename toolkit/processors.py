"""The number of processors that this process may use."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_CGROUP = Path("/sys/fs/cgroup")


def usable_processors() -> int:
    """Return how many processors this process may use; a container's share of a processor counts as one."""
    count = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        count = len(os.sched_getaffinity(0))
    return max(1, min(count, _container_limit() or count))


def _container_limit() -> int | None:
    """Return the processors that the container may use, or None where it has no limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text(encoding="ascii").split()
        return -(-int(quota) // int(period))
    with contextlib.suppress(OSError, ValueError):
        quota, period = (
            (_CGROUP / "cpu" / f"cpu.cfs_{name}_us").read_text(encoding="ascii")
            for name in ("quota", "period")
        )
        return -(-int(quota) // int(period)) if int(quota) > 0 else None
    return None
