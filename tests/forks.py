"""Processes for programs that a test kills, interrupts or watches: forks of one that has imported everything.

A new Python needs a second or two for what the toolkit imports, a fork some hundredths. A fork is no fresh
process, so it tells nothing of what one imports.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import io
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import types
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# Of nearly every program; a program may ask for more.
IMPORTS = ("toolkit.commands", "toolkit.ingest", "toolkit.models", "pyarrow.csv", "pyarrow.parquet")
# How a program begins that has what others wrote, and nothing of ours.
WITHOUT_OURS = """
import sys
from pathlib import Path

for name in [name for name in sys.modules if name.partition(".")[0] in {"toolkit", "tune", "cluster"}]:
    del sys.modules[name]
sys.path[:] = [entry for entry in sys.path if not (Path(entry) / "toolkit").is_dir()]
"""


# On the side of the tests


class _Server:
    """The process that forks; it ends when this one does."""

    def __init__(self):
        self._socket, theirs = socket.socketpair()
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}
        command = [sys.executable, __file__, str(theirs.fileno())]
        self._process = subprocess.Popen(command, env=environment, cwd=ROOT, pass_fds=[theirs.fileno()])
        theirs.close()

    def fork(self, request, files):
        with tempfile.TemporaryFile("w+") as told:
            json.dump(request, told)
            told.flush()
            socket.send_fds(self._socket, [b"!"], [told.fileno(), *files])

    def close(self):
        self._socket.close()
        self._process.wait()


_servers = []


def close():
    """End the process that forks, where there is one."""
    while _servers:
        _servers.pop().close()


class Forked:
    """A process that runs a program, as ``subprocess.Popen([sys.executable, "-c", program, *arguments])``.

    Standard output is a pipe of text unless `stdout` is a file, and standard error is kept for `communicate`
    unless `stderr` is one. Standard input is empty.
    """

    def __init__(self, program, *arguments, cwd=None, env=None, stdout=None, stderr=None, imports=()):
        if not _servers:
            _servers.append(_Server())
        request = {
            "program": program,
            "arguments": [str(argument) for argument in arguments],
            "cwd": str(cwd or Path.cwd()),
            "env": dict(os.environ if env is None else env),
            "imports": [*IMPORTS, *imports],
        }
        self.returncode = None
        self._status, status = os.pipe()
        out, out_there = (None, os.dup(stdout.fileno())) if stdout else os.pipe()
        # A file, not a pipe: nobody needs to read it meanwhile.
        self._told = tempfile.TemporaryFile("w+") if stderr is None else None  # noqa: SIM115 - closed with this
        self.stdout = None if stdout else os.fdopen(out, encoding="utf-8", errors="backslashreplace")
        with Path(os.devnull).open() as nothing:
            _servers[0].fork(request, [nothing.fileno(), out_there, (stderr or self._told).fileno(), status])
        os.close(out_there)
        os.close(status)
        self.pid = int(self._line())

    def _line(self):
        line = b""
        while not line.endswith(b"\n"):
            byte = os.read(self._status, 1)
            assert byte, "the process that forks is gone"
            line += byte
        return line

    def poll(self, seconds=0.0):
        """Return the exit status, or None where it does not come within some seconds."""
        if self.returncode is None and select.select([self._status], [], [], seconds)[0]:
            self.returncode = os.waitstatus_to_exitcode(int(self._line()))
        return self.returncode

    def wait(self, seconds=300):
        assert self.poll(seconds) is not None, f"not over within {seconds} s"
        return self.returncode

    def send_signal(self, number):
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self):
        self.send_signal(signal.SIGKILL)

    def communicate(self):
        """Wait for its end; return what is left of its standard output, and its standard error."""
        printed = self.stdout.read()
        self.wait()
        if self._told is None:
            return printed, ""
        self._told.seek(0)
        return printed, self._told.read()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.kill()
        self.wait()
        for file in (self.stdout, self._told):
            if file:
                file.close()
        os.close(self._status)


def run(program, *arguments, **options):
    """Run a program to its end, as ``subprocess.run`` does."""
    with Forked(program, *arguments, **options) as process:
        printed, told = process.communicate()
        return subprocess.CompletedProcess([program, *arguments], process.returncode, printed, told)


# On the side of the process that forks


def serve(ours):
    """Fork a child for each request, and return its request in the child; end with the process that asks."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    watchers = []
    while True:
        data, files, *_ = socket.recv_fds(ours, 1, 5)
        watchers = [pid for pid in watchers if not os.waitpid(pid, os.WNOHANG)[0]]
        if not data:
            break
        with os.fdopen(files[0]) as told:
            told.seek(0)
            request = json.load(told)
        if missing := [name for name in request["imports"] if name not in sys.modules]:
            for name in missing:
                importlib.import_module(name)
            gc.collect()
            gc.freeze()
        watcher = os.fork()
        if not watcher:
            ours.close()
            return request, *files[1:]
        watchers.append(watcher)
        for file in files[1:]:
            os.close(file)
    # Who asked is gone, killed perhaps: nothing that it started outlives it.
    for pid in watchers:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    os._exit(0)


def watch(status, files):
    """Fork once more; return in the child. Tell its number and its end."""
    child = os.fork()
    if not child:
        os.close(status)
        end_with_parent()
        return
    for file in (*files, 0):
        os.close(file)
    os.write(status, b"%d\n" % child)
    os.write(status, b"%d\n" % os.waitpid(child, 0)[1])
    os._exit(0)


def end_with_parent():
    """Have this process killed when the one that forked it ends."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


def become(request, files):
    """Make this the process of a program: its streams, folder, environment and arguments."""
    for number, file in enumerate(files):
        os.dup2(file, number)
        os.close(file)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    encoding = request["env"].get("PYTHONIOENCODING", "utf-8")
    sys.stdin = open(0, encoding=encoding, closefd=False)  # noqa: SIM115
    for name, number, errors in (("stdout", 1, "strict"), ("stderr", 2, "backslashreplace")):
        raw = open(number, "wb", closefd=False)  # noqa: SIM115
        setattr(sys, name, io.TextIOWrapper(raw, encoding, errors, line_buffering=number == 2))
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = ["-c", *request["arguments"]]
    main = sys.modules["__main__"] = types.ModuleType("__main__")
    return vars(main)


if __name__ == "__main__":
    import surroundings  # noqa: F401  before what it is about is imported

    with socket.socket(fileno=int(sys.argv[1])) as ours:
        asked, *streams, status = serve(ours)
    watch(status, streams)
    exec(asked["program"], become(asked, streams))
