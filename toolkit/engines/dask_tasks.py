"""Functions that run on the scheduler and the workers of a Dask cluster, and how their results come back."""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar
from weakref import WeakKeyDictionary

from toolkit.engines.dask_waits import WAITS
from toolkit.errors import WalslabError

if TYPE_CHECKING:
    from distributed import Future, Scheduler, Worker

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")
# Milliseconds from one look of a worker at itself to the next while it has a task of ours, by Dask's names.
# By default it samples its threads 100 times a second, and its event loop 50 times.
_SELDOM = {"profile": 1000.0, "tick": 500.0}
# The tasks that a worker has, and how often it looked at itself before the first of them.
_at_work: WeakKeyDictionary[Worker, tuple[int, dict[str, float]]] = WeakKeyDictionary()
_counting = threading.Lock()


def attempt(function: Callable[[_Item], _Result], item: _Item) -> _Result | WalslabError:
    """Return the result of a task, or the house's error that it raised.

    Dask would log an error that is raised, and try the task again.
    """
    from distributed import get_worker

    with undisturbed(get_worker()):
        try:
            return function(item)
        except WalslabError as error:
            return error


@contextmanager
def undisturbed(worker: Worker) -> Iterator[None]:
    """Have a worker look at itself less often, until the last of its tasks that do this has ended.

    Looks as frequent as Dask's own cost a twentieth of a processor, these a hundredth. Meanwhile the worker's
    profile in the dashboard gets one sample a second.
    """
    with _counting:
        tasks, usual = _at_work.get(worker, (0, {}))
        if not tasks:
            usual = _look_every(worker, _SELDOM)
        _at_work[worker] = tasks + 1, usual
    try:
        yield
    finally:
        with _counting:
            tasks, usual = _at_work.pop(worker)
            if tasks > 1:
                _at_work[worker] = tasks - 1, usual
            else:
                _look_every(worker, usual)


def _look_every(worker: Worker, intervals: Mapping[str, float]) -> dict[str, float]:
    """Set how often a worker looks at itself; return how often it did."""
    before = {}
    for name, milliseconds in intervals.items():
        # A worker whose profile is turned off has none.
        if look := worker.periodic_callbacks.get(name):
            before[name], look.callback_time = look.callback_time, milliseconds
    return before


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
    return {
        w.address: w.nthreads for w in workers if workers[0].last_seen - w.last_seen < WAITS.silent_worker
    }


def nothing() -> None:
    """Do nothing: a process that can run this has walslab."""


def unheard(seconds: float, dask_scheduler: Scheduler) -> list[str]:
    """Return the addresses of the workers that the scheduler has not heard of for so long."""
    since = time.time() - seconds
    return [address for address, worker in dask_scheduler.workers.items() if worker.last_seen < since]


def lacks(folder: str, paths: list[str]) -> str:
    """Return the first path that this process cannot read, or an empty text."""
    return next((path for path in [folder, *paths] if not os.access(path, os.R_OK)), "")
