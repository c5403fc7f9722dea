"""Compilation of loops, once on a machine: where the code is kept, and who compiles while others wait."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numba

try:
    import fcntl
except ImportError:  # not on Windows: each process compiles for itself
    fcntl = None  # type: ignore[assignment]

# Sums may be reordered, so that vectors can take them; NaN and infinity keep their meaning.
_OPTIONS: dict[str, Any] = {
    "nogil": True,
    "fastmath": {"contract", "reassoc", "nsz"},
    "error_model": "numpy",
    "boundscheck": False,
}
# Seconds after which a process no longer waits for another one's code, and compiles its own.
_PATIENCE, _PAUSE = 120.0, 0.05


def compiled(function: Callable[..., Any]) -> Any:
    """Return a function that Numba compiles when it is first called, and keeps on disk where it can write."""
    folder, given = _folder(), numba.config.CACHE_DIR
    if folder is None:
        return numba.njit(function, **_OPTIONS)
    # Numba asks for the folder now, and only now. By itself it would notice a change of the function's own
    # file alone, and not of those whose loops are compiled into it.
    numba.config.CACHE_DIR = str(folder)
    try:
        return numba.njit(function, cache=True, **_OPTIONS)
    except RuntimeError:  # nowhere to write
        return numba.njit(function, **_OPTIONS)
    finally:
        numba.config.CACHE_DIR = given


class Kernel:
    """A compiled function that Python calls. The first process that needs it compiles it; others wait.

    Parameters
    ----------
    function : callable
        Takes arrays and numbers.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        self._compiled = compiled(function)
        self._ready: set[tuple[object, ...]] = set()
        self._making = threading.Lock()

    def __call__(self, *arguments: Any) -> Any:
        """Call the function, compiled for arguments of these types."""
        kinds = tuple(getattr(argument, "dtype", None) for argument in arguments)
        if kinds not in self._ready:
            with self._making:
                if kinds not in self._ready:
                    with _alone(_folder()):
                        self._compiled.compile(tuple(map(numba.typeof, arguments)))
                    self._ready.add(kinds)
        return self._compiled(*arguments)


@cache
def _folder() -> Path | None:
    """Return the folder for code that is compiled from the files here as they are, or None for nowhere."""
    here = Path(__file__).parent
    digest = hashlib.sha256()
    for file in sorted(here.glob("*.py")):
        digest.update(file.read_bytes())
    name = f"kernels-{digest.hexdigest()[:16]}"
    home = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "walslab")  # noqa: PTH111
    places = [here / "__pycache__", home]
    if numba.config.CACHE_DIR:
        places = [Path(numba.config.CACHE_DIR)]
    for place in places:
        with contextlib.suppress(OSError):
            folder = place / name
            folder.mkdir(parents=True, exist_ok=True)
            if os.access(folder, os.W_OK | os.X_OK):
                return folder
    return None


@contextlib.contextmanager
def _alone(folder: Path | None) -> Iterator[None]:
    """Wait until no other process compiles into a folder; a process that is killed holds nobody up."""
    if folder is None or fcntl is None:
        yield
        return
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):  # a disk without locks, or a full one
            file = stack.enter_context((folder / "lock").open("w"))
            _lock(file.fileno())
        yield


def _lock(number: int) -> None:
    end = time.monotonic() + _PATIENCE
    while time.monotonic() < end:
        try:
            fcntl.flock(number, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_PAUSE)
        else:
            return
