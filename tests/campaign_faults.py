"""What the faults of the campaign do to a study, and what is made ready for them."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from pathlib import Path

from campaign_round import (
    GRACE,
    SERVER_LIMIT,
    STARTUP,
    STEP_SECONDS,
    TRIALS,
    SkippedError,
    Undisturbed,
    proposals,
)

from tune.study import Study

# A cluster of nodes that are processes of this machine, until its standard input is closed.
CLUSTER = """
import json, sys
from ray.cluster_utils import Cluster

cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
nodes = [cluster.add_node(num_cpus=1) for _ in range(2)]
raylets = [node.all_processes["raylet"][0].process.pid for node in nodes]
print(json.dumps({"address": cluster.address, "raylets": raylets}), flush=True)
sys.stdin.read()
cluster.shutdown()
"""


def nothing(round_):
    """Nothing happens."""
    process = round_.tune()
    began = round_.started
    round_.until(process, round_.study_folder.exists)
    made = time.monotonic() - began
    round_.until(process, lambda: round_.count(b'"event": "proposed"') > 0)
    first = time.monotonic() - began
    round_.until(process, lambda: round_.ended() >= TRIALS)
    last = time.monotonic()
    code = round_.finish(process)
    if code:
        round_.problem(f"exit code {code}: {round_.told()}")
        return
    study = Study.open(round_.study_folder)
    round_.campaign.undisturbed[round_.executor] = Undisturbed(
        proposals(study), made, first, time.monotonic() - last
    )


def kill_all(round_, process):
    """Kill all processes of a study at a random moment, as when the machine stops."""
    if round_.wait(process):
        round_.fault("SIGKILL")
        round_.signal_all(signal.SIGKILL)
    return round_.finish(process)


def killed(round_):
    round_.complete(kill_all(round_, round_.tune()))


def killed_while_resumed(round_):
    code = kill_all(round_, round_.tune())
    for _ in range(int(round_.rng.integers(1, 3))):
        # What had not begun is left to the last.
        if code and (round_.begun() or not round_.study_folder.exists()):
            round_.note_before()
            code = kill_all(round_, round_.resume() if round_.begun() else round_.tune())
    round_.complete(code)


def driver_killed(round_):
    process = round_.tune()
    if round_.wait(process):
        round_.fault("SIGKILL")
        process.kill()
    round_.complete(round_.finish(process))


def at_work(round_, processes):
    """Start a study, and wait for a moment at which some of the processes that it is told of train.

    Returns
    -------
    process : Popen
    found : list of int
        Those that train; none where the study was over before.
    """
    # The time between two looks at all processes is not to be as long as a trial.
    round_.environment["WALSLAB_TEST_STEP"] = str(5 * STEP_SECONDS)
    process, found = round_.tune(), []
    round_.wait(process, "during")
    while not found and process.poll() is None and round_.ended() < TRIALS:
        found = [pid for pid, line in processes().items() if line.startswith("ray::WALSTrial")]
    return process, found if round_.ended() < TRIALS else []


def worker_killed(round_):
    """Kill a process that trains: the study finishes by itself."""
    process, workers = at_work(round_, round_.processes)
    if workers:
        round_.fault("SIGKILL")
        os.kill(int(round_.rng.choice(workers)), signal.SIGKILL)
    by_itself(round_, process)


def by_itself(round_, process):
    """Wait for the end of a study that needs no help."""
    code = round_.finish(process)
    if code:
        round_.problem(f"it did not finish by itself: exit code {code}, {round_.told()[-3000:]}")
    round_.complete(code)


def interrupted(round_, times=1):
    """Press Ctrl-C, which a terminal sends to the whole group."""
    process = round_.tune()
    if round_.wait(process):
        round_.fault("SIGINT")
        os.killpg(process.pid, signal.SIGINT)
        for _ in range(times - 1):
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(round_.rng.uniform(0.05, 2.0))
            if process.poll() is None:
                round_.fault("SIGINT")
                os.killpg(process.pid, signal.SIGINT)
    code = round_.finish(process)
    # It may come before Python is there to hear of it, or after all was done.
    allowed = {1} if round_.phase == "during" else {0, 1, 130, -signal.SIGINT}
    round_.expect(
        code in allowed or not round_.outcome.faults, f"exit code {code} of Ctrl-C: {round_.told()[-3000:]}"
    )
    if round_.begun() and code and round_.ended() < TRIALS:
        status = Study.open(round_.study_folder).status()
        round_.expect(status == "interrupted", f"status is {status} after Ctrl-C")
    if times == 1 and round_.phase == "during":
        round_.expect("Traceback" not in round_.told(), round_.told()[-3000:])
    round_.complete(code)


def interrupted_twice(round_):
    interrupted(round_, 2)


def terminated(round_):
    """End the driver as a job server and Kubernetes do."""
    process = round_.tune()
    if round_.wait(process):
        round_.fault("SIGTERM")
        process.terminate()
    code = round_.finish(process)
    allowed = (
        {1}
        if round_.phase == "during"
        else {0, 1, 130, -signal.SIGTERM, 128 + signal.SIGTERM, signal.SIGTERM}
    )
    round_.expect(
        code in allowed or not round_.outcome.faults, f"exit code {code} of SIGTERM: {round_.told()[-3000:]}"
    )
    round_.complete(code)


def harm(round_, what, times=None):
    """Let trials fail that have as many factors as one of the first: these come whatever happens."""
    rng = round_.rng
    calm = round_.campaign.calm("in-process").proposed
    factors = calm[int(rng.integers(STARTUP))][1]["factors"]
    fault = {
        "what": what,
        "factors": factors,
        "iteration": int(rng.integers(1, GRACE + 1)),
        "times": times,
        "marks": str(round_.folder / "mark"),
    }
    round_.environment["WALSLAB_TEST_FAULT"] = json.dumps(fault)
    round_.phase = f"iteration {fault['iteration']}"
    return factors


def failing(what, reason):
    """Return a kind of fault: trials that fail by themselves."""

    def fails(round_):
        factors = harm(round_, what)
        round_.expected = lambda trial: reason if trial["config"]["factors"] == factors else None
        round_.same_proposals = False
        round_.fault(f"{what}: {factors} factors")
        by_itself(round_, round_.tune())
        n_failed = sum(trial["status"] == "FAILED" for trial in Study.open(round_.study_folder).trials())
        round_.expect(n_failed > 0, "no trial failed")

    return fails


def dies(round_):
    """Let the process of a trial end as by the kernel when memory is short, once or until it is given up."""
    in_process = round_.executor == "in-process"
    times = 1 if in_process else 3
    harm(round_, "dies", times)
    round_.fault(f"{times} times")
    process = round_.tune()
    if in_process:
        code = round_.finish(process)
        round_.expect(code == 1, f"exit code {code}")
        round_.complete(code)
        return
    by_itself(round_, process)
    attempts = {trial["trial"]: trial["attempts"] for trial in Study.open(round_.study_folder).trials()}
    # Of two trials that run at once only one is harmed.
    round_.expect(sorted(attempts.values()) == [1] * (TRIALS - 1) + [3], f"attempts are {attempts}")
    reason = "its process died 3 times"
    round_.expected = lambda trial: reason if attempts[trial["trial"]] == 3 else None


class Server:
    """An MLflow server of a round."""

    def __init__(self, round_):
        self.round = round_
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.mark = uuid.uuid4().hex
        round_.stack.callback(self.kill)
        round_.tracking_uri = round_.environment["MLFLOW_TRACKING_URI"] = self.address

    def start(self):
        folder = self.round.folder
        if not (folder / "server.db").exists():
            shutil.copyfile(self.round.campaign.base / "empty.db", folder / "server.db")
        command = [
            *(sys.executable, "-m", "mlflow", "server", "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{folder}/server.db"),
            *("--artifacts-destination", str(folder / "artifacts")),
            *("--host", "127.0.0.1", "--port", str(self.port)),
        ]
        log = self.round.campaign.base / "logs" / f"{self.round.name}-server.log"
        with log.open("ab") as out:
            self.process = subprocess.Popen(
                command, cwd=folder, env=self.round.campaign.environment(self.mark), stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        deadline = time.monotonic() + SERVER_LIMIT
        while True:
            assert self.process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            with contextlib.suppress(urllib.error.URLError, OSError):
                return urllib.request.urlopen(f"{self.address}/health", timeout=1).close()
            time.sleep(0.1)

    def kill(self):
        self.round.signal_all(signal.SIGKILL, self.mark)
        if hasattr(self, "process"):
            self.process.wait()


def served(round_):
    round_.server = Server(round_)


def server_away(round_):
    """Stop the server for a while: the study finishes by itself."""
    rng, server = round_.rng, round_.server
    server.start()
    # So that trials are still running when it is there again.
    round_.environment["WALSLAB_TEST_STEP"] = str(6 * STEP_SECONDS)
    process = round_.tune()
    if round_.wait(process, "during"):
        round_.fault("SIGKILL of the server")
        server.kill()
        time.sleep(rng.uniform(3, 10))
        server.start()
    back = time.time()
    code = round_.finish(process)
    ended = max((trial["ended"] for trial in Study.open(round_.study_folder).trials()), default=0)
    # A study that is through waits for half a minute.
    round_.expect(code == 0 or back - ended > 20, f"exit code {code}: {round_.told()[-3000:]}")
    round_.complete(code)


def server_frozen(round_):
    """Let the server not answer for a while, nor refuse: the study finishes by itself."""
    server = round_.server
    server.start()
    process = round_.tune()
    if round_.wait(process, "during"):
        round_.fault("SIGSTOP of the server")
        round_.signal_all(signal.SIGSTOP, server.mark)
        time.sleep(round_.rng.uniform(3, 10))
        round_.signal_all(signal.SIGCONT, server.mark)
    by_itself(round_, process)


def server_gone(round_):
    """Stop the server until the study has ended: it says what to do then."""
    server = round_.server
    server.start()
    process = round_.tune()
    gone = round_.wait(process, "during")
    if gone:
        round_.fault("SIGKILL of the server")
        server.kill()
    code = round_.finish(process)
    if gone:
        told = round_.told()
        round_.expect(code == 1 and "`walslab resume s`" in told, f"exit code {code}: {told[-3000:]}")
        round_.expect(round_.ended() == TRIALS, f"only {round_.ended()} trials ended")
        server.start()
    round_.complete(code)


def server_not_there(round_):
    """Have no server at the start, or when it is resumed: it is refused soon."""
    server = round_.server
    if round_.rng.random() < 0.5:
        server.start()
        code = kill_all(round_, round_.tune())
        server.kill()
        if code == 0:
            server.start()
            return
    there, ended = round_.study_folder.exists(), round_.ended()
    round_.phase = "resume" if there else "start"
    process = round_.resume() if there else round_.tune()
    round_.fault("no server")
    code = round_.finish(process)
    # The modules are imported first.
    seconds = time.monotonic() - round_.started - round_.campaign.calm("in-process").first
    told = round_.told()
    round_.expect(code == 1 and "no MLflow server answers" in told, f"exit code {code}: {told[-3000:]}")
    round_.expect(seconds < 15, f"it was refused only after {seconds:.0f} s")
    round_.expect(there == round_.study_folder.exists(), "a study came or went")
    round_.expect(round_.ended() == ended, "trials were run")
    server.start()
    round_.complete(code)


def mounted(round_):
    """Give a round a small disk of its own."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "walslab-test", str(round_.folder)]
    try:
        done = subprocess.run(mount, check=False, capture_output=True, text=True)
    except FileNotFoundError as error:
        raise SkippedError(f"there is no mount: {error}") from error
    if done.returncode:
        raise SkippedError(f"a disk of its own is not permitted here: {done.stderr.strip()}")
    # Lazily: MLflow keeps its connections to the store.
    round_.stack.callback(subprocess.run, ["umount", "--lazy", str(round_.folder)], check=True)


def disk_full(round_):
    """Fill the disk, but for some bytes, for a while or until the study has given up."""
    rng = round_.rng
    process = round_.tune()
    full = round_.wait(process)
    ballast = round_.folder / "ballast"
    if full:
        round_.fault("full")
        left = int(rng.choice([0, 4096, 65536]))
        with ballast.open("wb") as file:
            # The study goes on writing meanwhile: what was free a moment ago may not be.
            for _ in range(100):
                facts = os.statvfs(round_.folder)
                with contextlib.suppress(OSError):
                    os.posix_fallocate(file.fileno(), 0, max(1, facts.f_bavail * facts.f_frsize - left))
                    break
        if rng.random() < 0.5:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(rng.uniform(0.5, 5))
            ballast.unlink()
    code = round_.finish(process)
    ballast.unlink(missing_ok=True)
    round_.complete(code)


def clustered(round_):
    """Connect a round to a cluster of three nodes, of which two run trials."""
    # Where nodes are machines, half a minute's silence is no sign of death.
    quick = {"RAY_health_check_period_ms": "500", "RAY_health_check_timeout_ms": "2000"}
    environment = {**round_.environment, **quick, "RAY_USAGE_STATS_ENABLED": "0"}
    with (round_.campaign.base / "logs" / f"{round_.name}-cluster.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-c", CLUSTER], env=environment, cwd=round_.folder, stdin=subprocess.PIPE,
            stdout=subprocess.PIPE, stderr=log, text=True, start_new_session=True,
        )  # fmt: skip

    def stop():
        process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(60)
        process.kill()
        process.wait()
        process.stdout.close()

    round_.stack.callback(stop)
    facts = json.loads(process.stdout.readline())
    round_.raylets = facts["raylets"]
    round_.environment["RAY_ADDRESS"] = facts["address"]


def node_lost(round_):
    """Kill what a node consists of: the study finishes by itself on the other."""
    raylet = int(round_.rng.choice(round_.raylets))
    process, workers = at_work(round_, lambda: children_of(raylet))
    if workers:
        round_.fault("SIGKILL of the raylet")
        for pid in (raylet, *workers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
    by_itself(round_, process)


def children_of(parent):
    """Return the child processes of a process by their number, with their command lines."""
    found = {}
    for path in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if int((path / "stat").read_text().rpartition(")")[2].split()[1]) == parent:
                found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found
