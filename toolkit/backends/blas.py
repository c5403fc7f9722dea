"""BLAS kept to one thread while threads of our own run, and given its threads back afterwards.

The limit of BLAS holds for the whole process. So those who want it are in a set: the first one sets the
limit, and the last one to leave takes it off, in whatever order they come and go. The set holds weak
references: one that Ctrl-C stops half-way leaves it all the same. threadpoolctl lets only the thread that set
a limit take it off again, so one thread of our own does both.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

from toolkit.backends.side_by_side import python_ends
from toolkit.job_threads import Job, JobThreads


class _Holder:
    """Wants BLAS kept to one thread, as long as it is in the set."""


_lock = threading.Lock()
_holders: weakref.WeakSet[_Holder] = weakref.WeakSet()
_limits: list[Any] = []
_FOR_GOOD = _Holder()


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to the calling thread: small matrices gain nothing from more threads.

    Nothing is limited where threadpoolctl is missing, or Python is about to end.
    """
    holder = _Holder()
    try:
        _hold(holder)
        yield
    finally:
        with _lock:
            _holders.discard(holder)
            _adjust()


def keep_one_blas_thread() -> None:
    """Keep BLAS to the calling thread for good, as a server does, whose requests run side by side."""
    _hold(_FOR_GOOD)


def _hold(holder: _Holder) -> None:
    with _lock:
        _holders.add(holder)
        _adjust()


def _adjust() -> None:
    """Set the limit, or take it off, where that is not what the holders want already."""
    if bool(_holders) != bool(_limits) and _controller() is not None and not python_ends():
        _setter().give(Job(_set_or_reset)).result()


def _set_or_reset() -> None:
    if _holders and not _limits:
        limit = _controller().limit(limits=1, user_api="blas")
        limit.__enter__()
        _limits.append(limit)
    elif _limits and not _holders:
        _limits.pop().__exit__(None, None, None)


def _forget() -> None:
    """Begin anew in a forked process, which has no thread but the one that forked."""
    global _lock  # noqa: PLW0603 - another thread may have held it
    _lock = threading.Lock()
    _holders.clear()
    _limits.clear()
    _setter.cache_clear()


@functools.cache
def _setter() -> JobThreads:
    """Return the thread that sets and resets the limit."""
    return JobThreads(1, "walslab-blas")


def _controller() -> Any:
    """Return what finds and limits every BLAS of this process, or None."""
    return _found(len(sys.modules))


@functools.lru_cache(maxsize=1)
def _found(_modules: int) -> Any:
    """Look for them anew, in a millisecond, when modules were loaded: one may bring a BLAS of its own."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
