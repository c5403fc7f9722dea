"""A Dask cluster as processes of this machine: a scheduler and its workers, which end with the test."""

from __future__ import annotations

import json
import os

from forks import Forked
from processes import end, wait_for

# By default Dask spends half a minute on a worker that is gone.
QUICK = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "5s"}
# `python -m dask`, at the head of a group of processes.
DASK = """
import os
import dask
from dask.cli import run_cli
os.setsid()
dask.config.refresh()
run_cli()
"""
# How a process begins that has no walslab.
WITHOUT_WALSLAB = """
import sys

for name in [name for name in sys.modules if name.partition(".")[0] == "toolkit"]:
    del sys.modules[name]

class Nowhere:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] == "toolkit":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Nowhere)
"""
# How a process begins that sees an empty folder in the place of one, or ends with 77 where it may not do so.
ANOTHER_DISK = """
import ctypes, os

system = ctypes.CDLL(None)
NEW_NAMES, PRIVATE = 0x20000, 1 << 18 | 1 << 14
if system.unshare(NEW_NAMES) or system.mount(b"none", b"/", None, PRIVATE, None):
    os._exit(77)
if system.mount(b"none", {folder!r}, b"tmpfs", 0, None):
    os._exit(77)
"""


class DaskProcesses:
    """Processes that find each other by a file in `folder`; settings are variables of their environment.

    `imports` are modules that workers have from the beginning.
    """

    def __init__(self, folder, repo_root, imports=(), **settings):
        self.folder = folder
        self.imports = ("distributed", "distributed.cli.utils", *imports)
        self.file = folder / "scheduler.json"
        self.environment = {**os.environ, "PYTHONPATH": str(repo_root), **settings}
        self.started = []

    def __enter__(self):
        return self

    def __exit__(self, *problem):
        for process in self.started:
            end(process)

    def start(self, *arguments, first=""):
        """Start one, with a program of its own at first; it works in a folder that is not ours."""
        arguments = [*arguments, "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", str(self.file)]
        with (self.folder / f"{len(self.started)}.log").open("w") as out:
            options = {"stdout": out, "stderr": out, "cwd": self.folder, "env": self.environment}
            process = Forked(first + DASK, *arguments, imports=self.imports, **options)
        self.started.append(process)
        return process

    def start_scheduler(self, **options):
        """Start the scheduler, and wait until its address is known."""
        self.scheduler = self.start("scheduler", "--port", "0", **options)
        # The scheduler writes it in place: it is there before it is whole.
        wait_for(lambda: self.file.exists() and self.file.read_text().rstrip().endswith("}"))
        self.address = json.loads(self.file.read_text())["address"]

    def start_workers(self, n):
        """Start workers of one thread, which nobody starts again, and wait until the scheduler has them."""
        started = [self.start("worker", "--no-nanny", "--nthreads", "1") for _ in range(n)]
        self.wait_for_workers(n)
        return started

    def wait_for_workers(self, n):
        """Wait until the scheduler has some workers, by one connection: each costs a tenth of a second."""
        from distributed import Client

        with Client(self.address, set_as_default=False, timeout="300s") as client:
            client.wait_for_workers(n, timeout=300)
