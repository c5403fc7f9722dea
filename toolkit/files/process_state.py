"""What a study changes in its process (variables, log levels, signal handlers), and how it is put back."""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator

# MLflow reads these variables with every request.
_MLFLOW_DEFAULTS = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    # MLflow would show a progress bar for each of a dozen small files.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    # By default MLflow tries a server that does not answer for minutes.
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}
# MLflow would print the address of a run that ends, with the password of the store in it.
_NO_ADDRESSES = {"MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true"}
# MLflow logs every schema migration of a new SQLite store.
_QUIET = ("alembic", "mlflow.store.db.utils")
# The variables, loggers and signals that this package, or a library on its behalf, changes.
_PREFIXES = ("CUPY_", "MLFLOW_", "PYTHONPATH", "RAY_", "TUNE_", "_MLFLOW_")
_LOGGERS = (*_QUIET, "mlflow", "optuna", "ray", "ray.tune")
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

_lock = threading.Lock()
_entered = 0
_put_back: Callable[[], None] = lambda: None  # noqa: E731 - replaced by the first that enters


@contextlib.contextmanager
def process_settings() -> Iterator[None]:
    """Set what MLflow reads from the process; at the end, put back all that this package changed in it.

    That is: environment variables of MLflow, Ray and CuPy, the search path of packages, log levels, and
    handlers of signals. Variables that the user set stay as they are. Where several threads or calls have
    entered, the last that leaves puts everything back. The function also serves as a decorator.
    """
    global _entered, _put_back  # noqa: PLW0603 - the process is one, and so is its state
    with _lock:
        if not _entered:
            _put_back = _state_of_process()
            for name, value in _MLFLOW_DEFAULTS.items():
                os.environ.setdefault(name, value)
            os.environ.update(_NO_ADDRESSES)
            for name in _QUIET:
                logging.getLogger(name).setLevel(logging.WARNING)
        _entered += 1
    try:
        yield
    finally:
        with _lock:
            _entered -= 1
            if not _entered:
                _put_back()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Load a large package without the garbage collector, whose passes over what is loaded find nothing.

    They take a seventh of the processor time of MLflow's import.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _state_of_process() -> Callable[[], None]:
    """Return a function that puts variables, log levels and signal handlers back to what they are now."""
    variables = _variables()
    levels = {name: logging.getLogger(name).level for name in _LOGGERS}
    handlers = {number: signal.getsignal(number) for number in _SIGNALS}

    def put_back() -> None:
        for name in _variables().keys() - variables.keys():
            del os.environ[name]
        os.environ.update(variables)
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
        # Python lets only the main thread set handlers; None is a handler that Python cannot set.
        if threading.current_thread() is threading.main_thread():
            for number, handler in handlers.items():
                if handler is not None and signal.getsignal(number) is not handler:
                    signal.signal(number, handler)

    return put_back


def _variables() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name.startswith(_PREFIXES)}
