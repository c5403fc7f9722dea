"""The machines of a study, as processes of this one: a Ray cluster with a token, MLflow on PostgreSQL."""

from __future__ import annotations

import contextlib
import http.client
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.request
from pathlib import Path

from processes import end, free_port, wait_for

BIN = Path(sys.executable).parent
ADMIN = "s3cret-password-of-admin"


def clean_environment(**more):
    """An environment of its own: nothing of Ray, MLflow or a store that this process has set."""
    ours = ("RAY_", "MLFLOW_", "AWS_", "WALSLAB_", "PG")
    kept = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(ours) or key.startswith("WALSLAB_TEST_")
    }
    return {**kept, "PATH": f"{BIN}:{kept['PATH']}", "RAY_USAGE_STATS_ENABLED": "0", **more}


def running():
    """Yield process id and command line, as `ps` shows them to everybody."""
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            yield (
                int(folder.name),
                (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace"),
            )


class Postgres:
    """A database server on a socket of its own."""

    @staticmethod
    def programs():
        """Where its programs are: Debian has most of them on nobody's path."""
        folders = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
        found = shutil.which("pg_isready")
        return folders[-1] if folders else Path(found).parent if found else None

    def __init__(self):
        self.folder = Path(tempfile.mkdtemp(prefix="walslab-pg-"))
        # PostgreSQL does not run as root.
        self.user = {"user": "postgres"} if os.getuid() == 0 else {}
        if self.user:
            account = pwd.getpwnam("postgres")
            os.chown(self.folder, account.pw_uid, account.pw_gid)
        programs, data, self.port = self.programs(), self.folder / "data", free_port()
        quiet = {"cwd": self.folder, "capture_output": True, **self.user}
        subprocess.run(
            [programs / "initdb", "-D", data, "-U", "mlflow", "-A", "trust", "--no-sync"], check=True, **quiet
        )
        self.process = subprocess.Popen(
            [programs / "postgres", "-D", data, "-p", str(self.port), "-k", self.folder, "-F"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=self.folder,
            start_new_session=True,
            **self.user,
        )
        at = ["-h", "127.0.0.1", "-p", str(self.port), "-U", "mlflow"]
        wait_for(
            lambda: (
                subprocess.run([programs / "pg_isready", *at], capture_output=True, check=False).returncode
                == 0
            )
        )
        for name in ("mlflow", "mlflow_auth"):
            subprocess.run([programs / "createdb", *at, name], check=True, **quiet)

    def address(self, name):
        return f"postgresql+psycopg2://mlflow@127.0.0.1:{self.port}/{name}"

    def stop(self):
        end(self.process)
        shutil.rmtree(self.folder, ignore_errors=True)


class MlflowServer:
    """An MLflow server that asks for a password, and keeps artifacts in an object store."""

    def __init__(self, folder, postgres, store):
        self.folder, self.port, self.store, self.postgres = folder, free_port(), store, postgres
        self.url = f"http://127.0.0.1:{self.port}"
        (folder / "basic_auth.ini").write_text(
            "[mlflow]\n"
            "default_permission = READ\n"
            f"database_uri = {postgres.address('mlflow_auth')}\n"
            "admin_username = admin\n"
            "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
        )
        self.start()

    def start(self):
        environment = clean_environment(
            **self.store,
            MLFLOW_AUTH_CONFIG_PATH=str(self.folder / "basic_auth.ini"),
            MLFLOW_AUTH_ADMIN_PASSWORD=ADMIN,
            MLFLOW_FLASK_SERVER_SECRET_KEY=secrets.token_hex(16),
            MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false",
        )
        with (self.folder / "mlflow.log").open("a") as log:
            self.process = subprocess.Popen(
                [
                    *(BIN / "mlflow", "server", "--host", "127.0.0.1", "--port", str(self.port)),
                    *("--workers", "2", "--app-name", "basic-auth", "--serve-artifacts"),
                    *("--backend-store-uri", self.postgres.address("mlflow")),
                    *("--artifacts-destination", "s3://bucket/mlflow"),
                ],
                stdout=log,
                stderr=log,
                env=environment,
                cwd=self.folder,
                start_new_session=True,
            )

    def wait(self):
        def answers():
            with (
                contextlib.suppress(OSError, http.client.HTTPException),
                urllib.request.urlopen(f"{self.url}/health", timeout=2),
            ):
                return True

        wait_for(answers, 120)

    def stop(self):
        end(self.process)


class RayCluster:
    """A head that runs no trials, and worker nodes with GPUs that are only counted."""

    def __init__(self, folder):
        self.folder, self.nodes = folder, 0
        self.token = folder / "token"
        self.token.write_text(secrets.token_hex(32))
        self.port, self.dashboard = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.dashboard}"
        self.started = {}

    def start_head(self):
        self._start(
            "head",
            *("--head", "--port", self.port, "--include-dashboard", "true", "--dashboard-host", "127.0.0.1"),
            *("--dashboard-port", self.dashboard, "--num-cpus", 0, "--num-gpus", 0),
        )

    def add_worker(self):
        """Start a node, as another machine would: with a folder of its own for what Ray unpacks."""
        self.nodes += 1
        name = f"worker-{self.nodes}"
        self._start(name, "--address", f"127.0.0.1:{self.port}", "--num-cpus", 2, "--num-gpus", 2)
        return name

    def _start(self, name, *options):
        # A socket's path may not be long.
        place = tempfile.mkdtemp(prefix="wr-", dir="/tmp")
        self.started[name] = place
        environment = clean_environment(
            RAY_AUTH_MODE="token", RAY_AUTH_TOKEN_PATH=str(self.token), RAY_TMPDIR=place
        )
        command = [BIN / "ray", "start", *map(str, options), "--temp-dir", place, "--node-name", name]
        command += ["--dashboard-agent-listen-port", str(free_port()), "--disable-usage-stats"]
        done = subprocess.run(
            command,
            env=environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def lose(self, name):
        """Kill a node and all that runs there at once, as a machine that loses power."""
        place = self.started[name]
        doomed = {pid for pid, line in running() if place in line}
        for folder in Path("/proc").glob("[0-9]*"):  # trials' processes show no more than their names
            with contextlib.suppress(OSError):
                if f"={place}".encode() in (folder / "environ").read_bytes():
                    doomed.add(int(folder.name))
        for pid in doomed:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def stop(self):
        for name in self.started:
            self.lose(name)
        for place in self.started.values():
            shutil.rmtree(place, ignore_errors=True)

    def files(self):
        """Yield the files that Ray wrote, on all nodes."""
        for place in self.started.values():
            yield from (path for path in Path(place).rglob("*") if path.is_file())
