"""BLAS kept to one thread while threads of our own run, and given its threads back afterwards.

The limit of BLAS holds for the whole process. So callers are counted: the first one sets the limit, and the
last one to leave takes it off, in whatever order they come and go. threadpoolctl lets only the thread that
set a limit take it off again, so one thread of our own does both.
"""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_lock = threading.Lock()
_callers = 0
_limits: list[Any] = []


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to the calling thread: small matrices gain nothing from more threads.

    Nothing is limited where threadpoolctl is missing.
    """
    global _callers  # noqa: PLW0603 - the limit is the process's, and so is the count
    keep_one_blas_thread()
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            if _callers == 0 and _limits:
                _setter().submit(_reset).result()


def keep_one_blas_thread() -> None:
    """Keep BLAS to the calling thread for good, as a server does, whose requests run side by side."""
    global _callers  # noqa: PLW0603 - as above
    with _lock:
        if _callers == 0 and _controller() is not None:
            _setter().submit(_set).result()
        _callers += 1


def _set() -> None:
    limit = _controller().limit(limits=1, user_api="blas")
    limit.__enter__()
    _limits.append(limit)


def _reset() -> None:
    _limits.pop().__exit__(None, None, None)


def _forget() -> None:
    """Begin anew in a forked process, which has no thread but the one that forked."""
    global _callers, _lock
    _callers, _lock = 0, threading.Lock()
    _limits.clear()
    _setter.cache_clear()


@functools.cache
def _setter() -> ThreadPoolExecutor:
    """Return the thread that sets and resets the limit."""
    return ThreadPoolExecutor(1, thread_name_prefix="walslab-blas")


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
