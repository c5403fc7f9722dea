"""Describe the process that holds a study, for the lock and for people."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def this_process() -> dict[str, object]:
    """Return who this process is: host, pid, boot, job and since, the time in seconds since 1970."""
    return {
        "host": platform.node(),
        "pid": os.getpid(),
        "boot": _BOOT.read_text(encoding="ascii").strip() if _BOOT.exists() else None,
        "job": os.environ.get("RAY_JOB_SUBMISSION_ID"),
        "since": time.time(),
    }


def process_text(holder: Mapping[str, object]) -> str:
    """Return a holder in words, such as "process 4711 of node-3 (Ray job raysubmit_x)"."""
    if "pid" not in holder:
        return "another process"
    job = f" (Ray job {holder['job']})" if holder.get("job") else ""
    return f"process {holder['pid']} of {holder.get('host')}{job}"
