"""MLflow's own page on a store that no server shows: a server on this machine, as long as it is looked at."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from typing import IO

from toolkit.errors import StudyError
from toolkit.files import mask
from tune.record.tracking import Tracking

_HOST = "127.0.0.1"
_PORT = 5000  # the browser keeps what a person sets on the page by address, so it is the same each time
_PATIENCE, _PAUSE = 300, 0.2  # seconds
_GRACE = 10  # seconds in which the server may end by itself
_LINES = 5  # of the server's log


class PageServer:
    """An MLflow server on this machine.

    Attributes
    ----------
    address : str
    """

    def __init__(self, tracking: Tracking, port: int) -> None:
        self.address = f"http://{_HOST}:{port}"
        self._tracking = tracking
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `end`
        command = [sys.executable, "-m", "mlflow", "server", "--host", _HOST, "--port", str(port)]
        # The store's address may hold a password: everybody on the machine can read the arguments.
        variables = {"MLFLOW_BACKEND_STORE_URI": tracking.uri, "PYTHONUNBUFFERED": "1"}
        # Eight processes for the jobs of pages on language models are of no use here.
        variables |= {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false"}
        self._process = subprocess.Popen(
            [*command, "--workers", "1"],
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=self._log,
            env={**os.environ, **variables},
            # Ctrl-C is for this process alone, which then ends the server and all that it started.
            start_new_session=True,
        )

    def wait_for_answer(self) -> None:
        """Wait until the server answers.

        Raises
        ------
        StudyError
            When the server ended, with what it said last, or does not answer within minutes.
        """
        # A proxy that the environment names does not reach this machine.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        deadline = time.monotonic() + _PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            with contextlib.suppress(OSError), opener.open(f"{self.address}/health", timeout=_PATIENCE):
                return
            time.sleep(_PAUSE)
        raise self._failure("did not start")

    def wait_for_end(self) -> None:
        """Wait until the server ends, which it does not do by itself.

        Raises
        ------
        StudyError
            When the server ended, with what it said last.
        """
        self._process.wait()
        raise self._failure("ended")

    def end(self) -> None:
        """End the server and all processes that it started; a second Ctrl-C does not leave them."""
        try:
            self._signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_GRACE)
        finally:
            self._signal(signal.SIGKILL)
            self._process.wait()
            self._log.close()

    def _signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, number)

    def _failure(self, what: str) -> StudyError:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").strip().splitlines()
        said = mask("\n".join(lines[-_LINES:]).replace(self._tracking.uri, self._tracking.shown))
        return StudyError(f"MLflow's server on {self._tracking.shown} {what}: {said or 'it said nothing'}")


@contextlib.contextmanager
def serve_page(tracking: Tracking, port: int | None = None) -> Iterator[PageServer]:
    """Start MLflow's server on a store, wait until it answers, and end it afterwards.

    Parameters
    ----------
    tracking : Tracking
        The store, which is there and answers.
    port : int, optional
        Port on this machine; 5000 or, where that is taken, another one that is free.

    Yields
    ------
    PageServer

    Raises
    ------
    StudyError
        When the port is taken, or the server does not start.
    """
    server = PageServer(tracking, _free_port(port))
    try:
        server.wait_for_answer()
        yield server
    finally:
        server.end()


def _free_port(port: int | None) -> int:
    for wanted in (_PORT, 0) if port is None else (port,):
        with contextlib.suppress(OSError), socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, wanted))
            return int(probe.getsockname()[1])
    raise StudyError(f"port {port} of this machine is taken: choose another --port, or give none")
