"""Many tasks on threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Protocol, TypeVar

from toolkit.job_threads import Job, JobThreads, stop

Tick = Callable[[], None]
_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Tasks that are handed to the pool for each thread, so that no thread waits for the next.
_AHEAD = 2


class Engine(Protocol):
    """Runs many tasks side by side."""

    workers: int
    """How many tasks run at once."""

    def map(self, function: Callable[[_Item], _Result], items: Sequence[_Item], tick: Tick) -> list[_Result]:
        """Return ``function(item)`` for each item, in order.

        Tasks begin in the order of the items. When one fails, its error is raised. No task runs any more when
        this returns or raises.

        Parameters
        ----------
        function : callable
            A task; it releases the interpreter lock where it works long.
        items : sequence
            Its arguments.
        tick : callable
            Called as each task ends.
        """

    def check(self, folder: Path, paths: Sequence[str]) -> None:
        """Refuse to work where some worker does not see a folder or a file.

        Parameters
        ----------
        folder : Path
            A directory that every worker must see.
        paths : sequence of str
            Local files that every worker must read.
        """


class Threads:
    """Threads of this process.

    Parsing, sorting and writing release the interpreter lock, and no array travels between processes.

    Parameters
    ----------
    workers : int
        How many threads.
    """

    def __init__(self, workers: int) -> None:
        self.workers = workers
        # The same threads for all lists of tasks: they reuse the memory that they freed, as new ones would
        # not.
        self._threads = JobThreads(workers, "walslab-ingest")

    def map(self, function: Callable[[_Item], _Result], items: Sequence[_Item], tick: Tick) -> list[_Result]:
        """Return ``function(item)`` for each item, in order; see `Engine.map`."""
        results: dict[int, _Result] = {}
        todo = enumerate(items)
        running: dict[Job[_Result], int] = {}
        told: SimpleQueue[Job[_Result]] = SimpleQueue()
        try:
            while True:
                # Few tasks wait for a thread at a time: memory does not grow with their number.
                for at, item in islice(todo, self.workers * _AHEAD - len(running)):
                    job = Job(partial(function, item), told)
                    running[job] = at
                    self._threads.give(job)
                if not running:
                    return [results[at] for at in range(len(items))]
                told.get()
                # Where several have ended, the error of the first one is raised.
                for job in [job for job in running if job.over]:
                    results[running.pop(job)] = job.result()
                    tick()
        finally:
            # Tasks that run write files, and must end before the files are removed.
            stop(running)

    def check(self, folder: Path, paths: Sequence[str]) -> None:
        """Do nothing: threads see the files of their process."""
