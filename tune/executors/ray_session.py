"""Connects a study to Ray: to the cluster of RAY_ADDRESS, or to one that it starts on this machine."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import socket
import time
import traceback
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from toolkit.errors import StudyError
from toolkit.files import uncollected
from tune.spec import SearchSpec

# How long a cluster may take to answer, in seconds.
ANSWERS_WITHIN = 20.0
# What Ray says of a node whose processes did not answer within the 30 s that it gives them.
_TOO_SLOW = "timed out during startup"
# The type of the frame that both sides of an HTTP/2 connection begin with.
_SETTINGS = 4
# Ray reads these when it is imported or started, so they must be set before.
_ENVIRONMENT = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # trials inherit the driver's relative paths
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # the record is ours, not Ray's CSV and JSON files
    "TUNE_GLOBAL_CHECKPOINT_S": "1000000",  # a study is resumed by its own journal, not by Ray's snapshots
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}


# A Ray of this machine that a thread starts, until a study takes it.
_ahead: list[Future[None]] = []


@contextlib.contextmanager
def started_ahead() -> Iterator[None]:
    """Start Ray on this machine in a thread, so that the next `connected` of the context finds it started.

    What else a study needs before its first trial, such as MLflow and its store, is made meanwhile. Where
    RAY_ADDRESS is set or Ray runs already, nothing is started.
    """
    _prepare_environment()
    with uncollected():
        import ray  # here, because two threads that import share one processor

    if os.environ.get("RAY_ADDRESS") or ray.is_initialized():
        yield
        return
    with ThreadPoolExecutor(1, "ray-start") as thread:
        _ahead.append(thread.submit(_start, None))
        try:
            yield
        finally:
            if _ahead:  # the study did not come to its trials
                _ahead.pop().exception()
                ray.shutdown()


@contextlib.contextmanager
def connected(later: contextlib.ExitStack | None = None) -> Iterator[None]:
    """Connect to Ray, starting one on this machine where RAY_ADDRESS is not set, which is stopped at the end.

    Parameters
    ----------
    later : ExitStack, optional
        Ray stops when this context ends, after what people wait for; by default, at once.

    Raises
    ------
    StudyError
        When the cluster of RAY_ADDRESS does not answer within 20 seconds, or Ray does not start.
    """
    _prepare_environment()
    with uncollected():
        import ray

    address = os.environ.get("RAY_ADDRESS")
    if not _ahead and ray.is_initialized():
        yield
        return
    try:
        if _ahead:
            # Taken when it has started: until then, `started_ahead` ends it, also after Ctrl-C.
            _ahead[0].result()
            _ahead.pop()
        else:
            _start(address)
    except Exception as error:  # Ray raises a bare Exception where a node does not start
        reason = next(iter(str(error).strip().splitlines()), repr(error))
        if address:
            raise StudyError(
                f"cannot reach the Ray cluster at RAY_ADDRESS={address}: {reason}; start it, or unset "
                "RAY_ADDRESS to run locally"
            ) from error
        raise StudyError(
            f"cannot start Ray on this machine: {reason}; see that memory and disk are free, or run without "
            "Ray by --executor in-process"
        ) from error
    try:
        yield
    finally:
        # Never in another thread: where this one drops a reference of Ray's meanwhile, Ray ends the process.
        if later is None:
            ray.shutdown()
        else:
            later.callback(ray.shutdown)


def _prepare_environment() -> None:
    for key, value in _ENVIRONMENT.items():
        os.environ.setdefault(key, value)
    if not os.environ.get("RAY_ADDRESS"):
        # The processes of a local Ray must find our packages in a checkout that is not installed.
        root, paths = str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")
        if root not in paths.split(os.pathsep):
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [root, paths]))


def _start(address: str | None) -> None:
    if address:
        _wait_for(address)
        _init(address)
        return
    try:
        _init_here()
    except Exception as error:  # Ray raises a bare one
        if _TOO_SLOW not in str(error):
            raise
        # The machine is busy. What Ray read from disk meanwhile makes the second start quicker.
        _init_here()


def _init_here() -> None:
    try:
        _init(None)
    except Exception as error:
        _end_processes(error)
        raise


def _init(address: str | None) -> None:
    import ray

    # Without an address Ray would join whatever Ray happens to run on this machine.
    ray.init(
        address=address or "local",
        include_dashboard=None if address else False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _end_processes(error: Exception) -> None:
    """End the processes of a node whose start raised an error: ``ray.shutdown`` does not know it."""
    from ray._private.node import Node

    for frame, _ in traceback.walk_tb(error.__traceback__):
        node = frame.f_locals.get("self")
        if isinstance(node, Node):
            node.kill_all_processes(check_alive=False, allow_graceful=False, wait=True)
            return


def _wait_for(address: str) -> None:
    """Wait until something at an address answers as Ray does; Ray itself would wait without end.

    Raises
    ------
    TimeoutError
        When nothing does after some twenty seconds.
    """
    if not address.rpartition(":")[2].isdigit():  # a word such as auto, which Ray looks up
        return
    end = time.monotonic() + ANSWERS_WITHIN
    while True:
        try:
            require_ray(address, 5.0)
        except OSError as error:
            if time.monotonic() > end:
                raise TimeoutError(f"after {ANSWERS_WITHIN:.0f} s, {error}") from error
        else:
            return
        time.sleep(1.0)


def require_ray(address: str, timeout: float) -> None:
    """Make sure that something at an address answers as Ray does.

    Parameters
    ----------
    address : str
        Such as ``head:6379`` or ``ray://head:10001``.
    timeout : float
        Seconds that it may take to accept the connection, and then to answer.

    Raises
    ------
    OSError
        When nothing does.
    ValueError
        When it is no address.
    """
    host, _, port = address.rpartition("://")[2].rpartition(":")
    if not 0 < int(port) < 1 << 16:
        raise ValueError(f"{port} is no port")
    with socket.create_connection((host.strip("[]") or "127.0.0.1", int(port)), timeout=timeout) as there:
        if os.environ.get("RAY_USE_TLS", "0") == "0" and not _speaks_http2(there):
            raise ConnectionError("what listens there does not answer as Ray does")


def _speaks_http2(there: socket.socket) -> bool:
    """Tell whether a connection answers in HTTP/2, as Ray's servers do (RFC 9113, section 3.4)."""
    there.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, _SETTINGS, 0, 0, 0, 0, 0]))
    try:
        frame = there.recv(9)
    except TimeoutError:
        return False
    return len(frame) > 3 and frame[3] == _SETTINGS


def room(spec: SearchSpec) -> int:
    """Return how many trials fit on the nodes that Ray has now."""
    import ray

    # A trial runs on one node, so the sum of several nodes does not help it.
    return sum(_fitting(spec, node["Resources"]) for node in ray.nodes() if node["Alive"])


def may_grow_to(spec: SearchSpec) -> float:
    """Return how many trials would fit if the cluster grew as far as its autoscaler may; 0 without one."""
    import ray._private.state

    config = ray._private.state.state.get_cluster_config()  # noqa: SLF001 - Ray shows it nowhere else
    if config is None:
        return 0
    groups = [(_fitting(spec, group.resources), group.max_count) for group in config.node_group_configs]
    # A group without limit says -1.
    return sum(fits * (math.inf if most < 0 else most) for fits, most in groups if fits)


def concurrency(spec: SearchSpec) -> int:
    """Return how many trials run at once.

    Raises
    ------
    StudyError
        When a single trial asks for more than the cluster has or may grow to; Ray would wait without end.
    """
    import ray

    now, grown = room(spec), may_grow_to(spec)
    fits = int(max(now, grown)) if math.isfinite(grown) else max(now, 1)
    if not fits:
        asked = _asked(spec)
        wanted = ", ".join(f"{v:g} {k} (resources.{k.lower()})" for k, v in asked.items())
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        most = ", ".join(f"{max((node.get(k, 0.0) for node in nodes), default=0.0):g} {k}" for k in asked)
        raise StudyError(
            f"each trial asks for {wanted}, but no node of Ray has that: at most {most}; "
            "lower it, or connect to a larger cluster through RAY_ADDRESS"
        )
    return min(spec.concurrency or fits, spec.trials)


def _fitting(spec: SearchSpec, resources: Mapping[str, float]) -> int:
    return min((int(resources.get(k, 0) / v + 1e-6) for k, v in _asked(spec).items()), default=spec.trials)


def _asked(spec: SearchSpec) -> dict[str, float]:
    return {name: amount for name, amount in (("CPU", spec.cpu), ("GPU", spec.gpu)) if amount}
