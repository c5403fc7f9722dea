"""Many tasks on threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar

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
        # One pool for all lists of tasks: its threads reuse the memory that they freed, as new ones would
        # not.
        self._pool = ThreadPoolExecutor(workers)

    def map(self, function: Callable[[_Item], _Result], items: Sequence[_Item], tick: Tick) -> list[_Result]:
        """Return ``function(item)`` for each item, in order; see `Engine.map`."""
        results: dict[int, _Result] = {}
        todo = enumerate(items)
        running: dict[Future[_Result], int] = {}
        try:
            while True:
                # Few tasks wait in the pool at a time: memory does not grow with their number.
                for at, item in islice(todo, self.workers * _AHEAD - len(running)):
                    running[self._pool.submit(function, item)] = at
                if not running:
                    return [results[at] for at in range(len(items))]
                ended = wait(running, return_when=FIRST_COMPLETED).done
                for future in sorted(ended, key=running.__getitem__):
                    results[running.pop(future)] = future.result()
                    tick()
        finally:
            # Tasks that run write files, and must end before the files are removed.
            wait([future for future in running if not future.cancel()])

    def check(self, folder: Path, paths: Sequence[str]) -> None:
        """Do nothing: threads see the files of their process."""
