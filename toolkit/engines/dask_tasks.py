"""Functions that run on the scheduler and the workers of a Dask cluster, and how their results come back."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from toolkit.errors import WalslabError

if TYPE_CHECKING:
    from distributed import Future, Scheduler, Worker

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Seconds without a word of a worker after which it gets nothing new, as long as others speak.
_SILENT = 10.0


def attempt(function: Callable[[_Item], _Result], item: _Item) -> _Result | WalslabError:
    """Return the result of a task, or the house's error that it raised.

    Dask would log an error that is raised, and try the task again.
    """
    try:
        return function(item)
    except WalslabError as error:
        return error


def result_of(future: Future[_Result | WalslabError], timeout: float) -> _Result:
    """Return the result of a task that has ended, or raise its error.

    Raises
    ------
    queue.Empty
        When the result has not come after `timeout` seconds: its worker may be gone.
    """
    try:
        result = future.result(timeout=timeout)
    except TimeoutError:
        if future.status != "error":
            raise queue.Empty from None
        result = future.result()  # the task itself raised TimeoutError
    if isinstance(result, WalslabError):
        raise result
    return result


def next_result(
    future: Future[_Result | WalslabError], ended: threading.Event, patience: float, timeout: float
) -> _Result:
    """Return the result of a task that may still run, or raise `queue.Empty` after `patience` seconds."""
    if not ended.wait(patience):
        raise queue.Empty
    return result_of(future, timeout)


def holds_tasks(names: tuple[str, ...], dask_worker: Worker) -> bool:
    """Tell whether a worker has tasks whose keys begin with one of these names."""
    return any(str(key).startswith(names) for key in dask_worker.state.tasks)


def answering(dask_scheduler: Scheduler) -> dict[str, int]:
    """Return the threads of each worker that the scheduler has heard of lately, the last heard of first."""
    workers = sorted(dask_scheduler.workers.values(), key=lambda worker: -worker.last_seen)
    return {w.address: w.nthreads for w in workers if workers[0].last_seen - w.last_seen < _SILENT}


def nothing() -> None:
    """Do nothing: a process that can run this has walslab."""


def unheard(seconds: float, dask_scheduler: Scheduler) -> list[str]:
    """Return the addresses of the workers that the scheduler has not heard of for so long."""
    since = time.time() - seconds
    return [address for address, worker in dask_scheduler.workers.items() if worker.last_seen < since]


def lacks(folder: str, paths: list[str]) -> str:
    """Return the first path that this process cannot read, or an empty text."""
    return next((path for path in [folder, *paths] if not os.access(path, os.R_OK)), "")
