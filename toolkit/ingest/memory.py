"""The memory of an ingest, and what it allows: tasks at once, and the size of a block."""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

from toolkit.errors import ConfigError
from toolkit.files import size_text
from toolkit.processors import usable_processors

_UNITS = {
    "": 1,
    "k": 10**3,
    "m": 10**6,
    "g": 10**9,
    "t": 10**12,
    "ki": 2**10,
    "mi": 2**20,
    "gi": 2**30,
    "ti": 2**40,
}
# Measured by benchmarks/ingest.py: the interpreter with NumPy, SciPy and Arrow.
_INTERPRETER = 140 << 20
# Numbers of three knobs of mallopt(3).
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
# So many threads share a heap, and with it what each of them freed.
_THREADS_PER_HEAP = 8
# Bytes that a task takes when it reads a block, and when it merges the ratings of one shard.
_PER_BLOCK_BYTE = 6
PER_SHARD_RATING = 72
_LARGEST_BLOCK, _SMALLEST_BLOCK = 64 << 20, 1 << 20
BLOCK_BYTES = 4 << 20
# More blocks than this only make more files: blocks of larger inputs are larger.
_MANY_BLOCKS = 1 << 11


@dataclass(frozen=True)
class Capacity:
    """What an amount of memory allows.

    Attributes
    ----------
    workers : int
        Tasks at once.
    block_bytes : int
        Bytes of input that a task holds at once.
    """

    workers: int
    block_bytes: int


def parse_size(text: str) -> int:
    """Return bytes for ``512MiB``, ``2GB`` or ``1.5g``.

    Raises
    ------
    ConfigError
        When the text is no size of a byte or more.
    """
    size = re.fullmatch(r"([0-9]+(?:\.[0-9]+)?)\s*([kmgt]i?)?b?", text.strip().lower())
    amount = float(size[1]) * _UNITS[size[2] or ""] if size else math.nan
    if not 1 <= amount < math.inf:
        raise ConfigError(f"--memory must be a size such as 512MiB or 2GB, but got {text!r:.60}")
    return int(amount)


def default_budget() -> int:
    """Return a quarter of the memory of this machine, or of its container, in bytes."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    for limit in ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"):
        path = Path(limit)
        if path.is_file() and path.read_text(encoding="ascii").strip().isdigit():
            total = min(total, int(path.read_text(encoding="ascii")))
    return total // 4


def keep_freed_memory() -> None:
    """Let this process keep the memory that it frees for the next block; new memory costs page faults.

    It is meant for a process that does nothing else. Without the knobs of glibc nothing changes.
    """
    with contextlib.suppress(OSError, AttributeError):
        tune = ctypes.CDLL(None).mallopt
        tune(_MMAP_THRESHOLD, 1 << 27)
        tune(_TRIM_THRESHOLD, 1 << 28)
        tune(_ARENA_MAX, -(-usable_processors() // _THREADS_PER_HEAP))


def capacity(
    budget: int,
    *,
    input_bytes: int,
    shard_ratings: int,
    most_workers: int,
    way_out: str = "give more, or a smaller --shard-ratings",
) -> Capacity:
    """Return how many tasks may run at once, and how much each may read.

    Tables of ids come on top, 12 bytes for an integer id and more for text. A model of as many users and
    items needs more than they do.

    Parameters
    ----------
    budget : int
        Bytes for this process.
    input_bytes : int
        Size of the input.
    shard_ratings : int
        Ratings of a shard.
    most_workers : int
        Tasks at once, at most.
    way_out : str
        What the user can do where the budget is too small.

    Raises
    ------
    ConfigError
        When the budget is too small for one task.
    """
    shard = shard_ratings * PER_SHARD_RATING
    least = _INTERPRETER + max(shard, _SMALLEST_BLOCK * _PER_BLOCK_BYTE)
    if budget < least:
        raise ConfigError(
            f"--memory must be at least {-(-least // 2**20)}MiB, which one task takes with shards of "
            f"{shard_ratings:,} ratings, but got {size_text(budget)}: {way_out}"
        )
    block = min(_LARGEST_BLOCK, max(BLOCK_BYTES, input_bytes // _MANY_BLOCKS))
    room = budget - _INTERPRETER
    workers = max(1, min(most_workers, room // max(shard, min(block, BLOCK_BYTES) * _PER_BLOCK_BYTE)))
    return Capacity(workers, max(_SMALLEST_BLOCK, min(block, room // workers // _PER_BLOCK_BYTE)))
