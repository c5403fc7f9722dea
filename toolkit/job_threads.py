"""Threads that do jobs for another, which Ctrl-C may stop at any moment.

The pools of `concurrent.futures` tell of an end by locks that are held for some lines of Python. Ctrl-C
between these lines leaves a lock held, and the thread that is to tell waits for it without end. Here nothing
is held but within a call of a queue.
"""

from __future__ import annotations

import concurrent.futures.thread  # noqa: F401  pandas needs it, and cannot import it once the main thread is over
import threading
import weakref
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, Generic, TypeVar

_Result = TypeVar("_Result")


class Job(Generic[_Result]):
    """What a thread is to do, once.

    Parameters
    ----------
    function : callable
        Is called without arguments.
    ended : SimpleQueue, optional
        Receives the job when it is over.

    Attributes
    ----------
    over : bool
        Whether it has ended, or will never begin.
    """

    def __init__(
        self, function: Callable[[], _Result], ended: SimpleQueue[Job[_Result]] | None = None
    ) -> None:
        self._function: Callable[[], _Result] | None = function
        self._ended: SimpleQueue[Job[_Result]] = SimpleQueue() if ended is None else ended
        self._begun = self._cancelled = self.over = False
        self._result: _Result | None = None
        self._error: BaseException | None = None

    def run(self) -> None:
        """Call the function, unless the job was cancelled."""
        function, self._function = self._function, None
        # Whoever cancels looks at this afterwards: one of both sees what the other did.
        self._begun = True
        try:
            if not self._cancelled and function is not None:
                self._result = function()
        except BaseException as error:  # noqa: BLE001 - whoever asks for the result gets it
            self._error = error

    def tell(self) -> None:
        """Say that it is over."""
        self.over = True
        self._ended.put(self)

    def cancel(self) -> bool:
        """Have the job not begin; return whether it had not."""
        self._cancelled = True
        return not self._begun

    def wait(self) -> None:
        """Wait until it is over, however many jobs tell the same queue of their ends."""
        while not self.over:
            self._ended.get()

    def result(self) -> _Result:
        """Wait for it; return what the function returned, or raise its error.

        One thread may ask, and once: the job keeps nothing.
        """
        self.wait()
        if self._error is not None:
            raise self._error
        result, self._result = self._result, None
        return result  # type: ignore[return-value]  # None only where the function returned it


def stop(jobs: Iterable[Job[Any]]) -> None:
    """Cancel jobs, and wait for those that have begun."""
    for job in [job for job in jobs if not job.cancel()]:
        job.wait()


class JobThreads:
    """Threads that take one job after the other; they end when this object is gone, or with the process.

    Parameters
    ----------
    most : int
        Threads at most; one more starts where all have work.
    name : str
        What a debugger calls them.
    """

    def __init__(self, most: int, name: str) -> None:
        self._most, self._name = most, name
        self._jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []
        # Weak references: Ctrl-C may come before a job is in the queue.
        self._unfinished: weakref.WeakSet[Job[Any]] = weakref.WeakSet()
        weakref.finalize(self, _end, self._jobs, self._threads).atexit = False

    def give(self, job: Job[_Result]) -> Job[_Result]:
        """Have a thread do a job when one is free."""
        self._unfinished.add(job)
        self._jobs.put(job)
        if len(self._threads) < min(self._most, len(self._unfinished)):
            work, name = (self._jobs, self._unfinished), f"{self._name}-{len(self._threads)}"
            thread = threading.Thread(target=_work, args=work, name=name, daemon=True)
            thread.start()
            self._threads.append(thread)
        return job


def _work(jobs: SimpleQueue[Job[Any] | None], unfinished: weakref.WeakSet[Job[Any]]) -> None:
    while job := jobs.get():
        job.run()
        # Whoever hears of the end finds this thread free.
        unfinished.discard(job)
        job.tell()
        del job  # with what it returned


def _end(jobs: SimpleQueue[Job[Any] | None], threads: list[threading.Thread]) -> None:
    for _ in threads:
        jobs.put(None)
