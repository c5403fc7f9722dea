"""Where many tasks run: threads of this process here, a Dask cluster in `toolkit.engines.dask_cluster`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

Tick = Callable[[], None]


class Engine(Protocol):
    """Runs many tasks side by side."""

    workers: int
    """Tasks that run at once."""

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tick: Tick) -> list[Any]:
        """Return ``function(item)`` for each item, in order; raise what the first failing task raises.

        No task runs any more when it returns or raises. `tick` is called as each task ends.
        """


class Threads:
    """Threads of this process, under Dask's scheduler for them.

    Parsing, sorting and writing release the interpreter lock, and no array travels between processes.

    Parameters
    ----------
    workers : int
        How many.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers

    def map(self, function: Callable[[Any], Any], items: Sequence[Any], tick: Tick) -> list[Any]:
        """See `Engine`."""
        from dask.callbacks import Callback
        from dask.threaded import get

        # Straight to the scheduler: dask.compute would bring in pandas, which takes a second and 100 MB.
        # An item is hidden from it: it would call what looks like a task in there.
        keys = task_keys("task", len(items))
        graph = {key: (functools.partial(function, item),) for key, item in zip(keys, items, strict=True)}
        pool = ThreadPoolExecutor(self.workers)
        try:
            with Callback(posttask=lambda *_: tick()):
                return list(get(graph, keys, pool=pool, num_workers=self.workers))
        finally:
            # What is running writes files, and must end before they are cleared away.
            pool.shutdown(wait=True, cancel_futures=True)


def task_keys(name: str, n: int) -> list[str]:
    """Return the names of the tasks of a job, in their order."""
    # Of tasks that wait for nothing Dask begins with the last by name; a bad row is then found as early as it
    # comes, and a file is read forwards.
    return [f"{name}-{n - at:09d}" for at in range(n)]
