"""How many processors this process may use."""

from __future__ import annotations

import os


def usable_processors() -> int:
    """Return how many processors this process may use."""
    # Linux alone says which processors a process is confined to.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
