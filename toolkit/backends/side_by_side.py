"""Threads that work through batches side by side, and are kept for the batches that come next."""

from __future__ import annotations

import functools
import os
import threading
from collections import deque
from collections.abc import Callable, Iterable
from typing import TypeVar

from toolkit.job_threads import Job, JobThreads, stop

_T = TypeVar("_T")
_MOST_THREADS = 4096


def side_by_side(work: Callable[[_T], None], batches: Iterable[_T], threads: int) -> None:
    """Call `work` with every batch, on the calling thread and on up to ``threads - 1`` others.

    The calling thread takes one batch after another, and so do the others. It waits only for those that have
    begun. So `work` may itself call this function, and a few small batches are done before anybody wakes up.

    Parameters
    ----------
    work : callable
        Is called with a batch. Where it raises an error, no further batch is begun.
    batches : iterable
        What it is called with.
    threads : int
        Threads in all.
    """
    left = deque(batches)

    def take() -> None:
        try:
            while left:
                try:
                    batch = left.popleft()
                except IndexError:  # another thread was faster
                    return
                work(batch)
        except BaseException:
            left.clear()
            raise

    helpers = 0 if python_ends() else min(threads, len(left)) - 1
    others = [Job(take) for _ in range(helpers)]
    try:
        for other in others:
            _threads().give(other)
        take()
    except BaseException:
        left.clear()
        raise
    finally:
        stop(others)
    for other in others:
        if other.over:
            other.result()


def python_ends() -> bool:
    """Return whether the main thread is over: threads that go on may then start no others."""
    return not threading.main_thread().is_alive()


@functools.cache
def _threads() -> JobThreads:
    """Return the threads of this process."""
    return JobThreads(_MOST_THREADS, "walslab-work")


if hasattr(os, "register_at_fork"):
    # A forked process has no thread but the one that forked.
    os.register_at_fork(after_in_child=_threads.cache_clear)
