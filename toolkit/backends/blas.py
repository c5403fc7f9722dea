"""BLAS kept to one thread while threads of our own run, and given its threads back afterwards.

The limit of BLAS holds for the whole process. So callers are counted: the first one sets the limit, and the
last one to leave takes it off, in whatever order they come and go.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Iterator
from typing import Any

_lock = threading.Lock()
_callers = 0
_limit: Any = None


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Keep BLAS to the calling thread: small matrices gain nothing from more threads.

    Without threadpoolctl nothing is limited.
    """
    global _callers, _limit  # noqa: PLW0603 - the limit is the process's, and so is the count
    with _lock:
        if _callers == 0 and (controller := _controller()) is not None:
            _limit = controller.limit(limits=1, user_api="blas")
        _callers += 1
    try:
        yield
    finally:
        with _lock:
            _callers -= 1
            if _callers == 0 and _limit is not None:
                _limit.restore_original_limits()
                _limit = None


@functools.cache
def _controller() -> Any:
    """Return what finds and limits the BLAS of this process, or None; looking for it takes a millisecond."""
    try:
        from threadpoolctl import ThreadpoolController
    except ImportError:
        return None
    return ThreadpoolController()
