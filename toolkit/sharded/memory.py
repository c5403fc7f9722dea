"""How much memory a training takes, in memory and out of core, and which of the two it shall be."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import NamedTuple

from toolkit.config import WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.errors import ConfigError
from toolkit.files import size_text

# The interpreter with the libraries and compiled loops that a training loads.
_PROCESS = 260 << 20
# Bytes of a training rating in memory, both ways, and of a validation rating; while a training runs.
_RATING, _VALID = 16, 16
# Arrays as large as the factors of both sides that are there at once, without momentum.
_FACTORS = 4
# Shards in memory at once, for each thread, and bytes of a rating of theirs.
_SHARDS, _SHARD_RATING = 2, 24


class MemoryPlan(NamedTuple):
    """Where the ratings of a training stay.

    Attributes
    ----------
    sharded : bool
        Whether they stay in their shards.
    in_memory, streamed : int
        Bytes that the training takes in each way, about.
    budget : int
        Bytes that it may take.
    """

    sharded: bool
    in_memory: int
    streamed: int
    budget: int

    def __str__(self) -> str:
        """Return a line for people."""
        where = "stay in their shards" if self.sharded else "are in memory"
        return (
            f"the ratings {where}: in memory the training takes about {size_text(self.in_memory)}, in shards "
            f"{size_text(self.streamed)}, and {size_text(self.budget)} may be taken"
        )


def plan_memory(
    dataset: RatingsDataset,
    config: WALSConfig,
    *,
    itemsize: int,
    threads: int,
    budget: int | None = None,
) -> MemoryPlan:
    """Return whether a training leaves its ratings in their shards.

    Parameters
    ----------
    dataset : RatingsDataset
    config : WALSConfig
    itemsize : int
        Bytes of a factor.
    threads : int
        CPU threads that work side by side.
    budget : int, optional
        Bytes that the training may take; by default nine tenths of what is free on this machine.

    Raises
    ------
    ConfigError
        When a budget is given that is too small for both ways.
    """
    counts, k = dataset.counts, config.factors
    sides = (dataset.n_users + dataset.n_items) * (k + 1) * itemsize
    factors = sides * (_FACTORS + bool(config.momentum) + bool(config.pattern_weight))
    largest = max(
        (entry["nnz"] for entry in dataset.shards("train/cols") + dataset.shards("train/rows")), default=0
    )
    base = _PROCESS + factors + 24 * (dataset.n_users + dataset.n_items)
    streamed = base + (threads + _SHARDS) * largest * _SHARD_RATING
    per_rating = _RATING + 2 * (itemsize - 4)
    in_memory = base + counts["train"] * per_rating + counts["valid"] * _VALID
    free = int(0.9 * available_memory()) if budget is None else budget
    least = min(streamed, in_memory)
    if budget is not None and budget < least:
        raise ConfigError(
            f"--memory must be at least {-(-least // 2**20)}MiB for {dataset.n_users:,} users, "
            f"{dataset.n_items:,} items and {k} factors, but got {size_text(budget)}: give more, or take "
            "fewer factors"
        )
    return MemoryPlan(in_memory > free and streamed < in_memory, in_memory, streamed, free)


def available_memory() -> int:
    """Return how many bytes this process can take without swapping, of the machine or its container."""
    free = 1 << 62
    with contextlib.suppress(OSError, StopIteration, ValueError):
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = int(next(line for line in lines if line.startswith("MemAvailable")).split()[1]) * 1024
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):
        limit = int((group / "memory.max").read_text(encoding="ascii"))
        taken = int((group / "memory.current").read_text(encoding="ascii"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text(encoding="ascii").splitlines())
        # Files that are cached give way.
        free = min(free, limit - taken + int(stat.get("inactive_file", 0)))
    return max(free, 0)
