"""Faults at random moments of a study, and what must be true of it afterwards.

``python tests/campaign.py --rounds 32 --seed 0`` does rounds of every kind in turn, and prints what came of
them. Each round makes a study with the command in a folder of its own, does it one harm, and resumes it until
it is finished.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
import urllib.error
import urllib.request
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from toolkit.backend import Backend
from toolkit.dataset import RatingsDataset
from toolkit.factors import Factors
from toolkit.ingest import RatingsSource, ingest_ratings
from toolkit.metrics import rmse
from tune.study import Study

ROOT = Path(__file__).resolve().parent.parent
TRIALS, ITERATIONS, GRACE, STARTUP = 10, 20, 5, 3
SPEC = {
    "space": {
        "factors": {"low": 2, "high": 5},
        "iterations": ITERATIONS,
        "regularization": {"low": 0.01, "high": 1.0, "scale": "log"},
    },
    "trials": TRIALS,
    "startup_trials": STARTUP,
    "early_stopping": {"grace_iterations": GRACE, "reduction_factor": 2},
    "keep_factors": "all",
    "backend": "numpy",
}
LIMIT = 300.0  # seconds after which what has not ended is taken to hang
SERVER_LIMIT = 120.0
STEP_SECONDS = 0.012

# Comes before any other module into every process of a round: makes trials long enough to be hit, and does
# the harm that comes from within them.
SITECUSTOMIZE = '''
import faulthandler, importlib.abc, importlib.util, json, os, signal, sys, time
from dataclasses import replace

# Where the tests run in the background, they and their children ignore it.
if os.environ.get("WALSLAB_TEST_INTERRUPT"):
    signal.signal(signal.SIGINT, signal.default_int_handler)
if os.environ.get("WALSLAB_TEST_STEP"):
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    SECONDS = float(os.environ["WALSLAB_TEST_STEP"])
    FAULT = json.loads(os.environ.get("WALSLAB_TEST_FAULT", "null"))


def first(path, text):
    """Tell whether nobody was here before, or somebody with the same text."""
    try:
        with open(path) as file:
            return file.read() == text
    except FileNotFoundError:
        part = f"{path}.{os.getpid()}"
        with open(part, "w") as file:
            file.write(text)
        try:
            os.link(part, path)
            return True
        except FileExistsError:
            return first(path, text)


def due(trainer):
    if trainer.config.factors != FAULT["factors"] or trainer.iterations != FAULT["iteration"]:
        return False
    if FAULT["times"] is None:
        return True
    if not first(FAULT["marks"], repr(trainer.config)):
        return False
    for time_ in range(FAULT["times"]):
        try:
            os.close(os.open(f"{FAULT['marks']}-{time_}", os.O_CREAT | os.O_EXCL))
            return True
        except FileExistsError:
            pass
    return False


def harm_trainer(module):
    once = module.Trainer.step

    def step(self):
        time.sleep(SECONDS)
        once(self)
        if FAULT and due(self):
            if FAULT["what"] == "raises":
                raise RuntimeError("made to fail")
            if FAULT["what"] == "memory":
                raise MemoryError("Unable to allocate 9.00 GiB")
            if FAULT["what"] == "dies":
                os._exit(1)
            side = self.factors.users
            self.factors = replace(self.factors, users=side._replace(factors=side.factors * float("nan")))

    module.Trainer.step = step


def shorten(name):
    def change(module):
        setattr(module, name, 0.05)

    return change


CHANGES = {"toolkit.trainer": harm_trainer}
if os.environ.get("WALSLAB_TEST_LIVE"):
    # Else no trial would be heard of, or shown, before it ends.
    CHANGES |= {"tune.training": shorten("_SEGMENT_SECONDS"), "tune.record": shorten("_LIVE_SECONDS")}


class Changes(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        change = CHANGES.pop(name, None)
        if change is None:
            return None
        spec = importlib.util.find_spec(name)
        execute = spec.loader.exec_module

        def execute_and_change(module):
            execute(module)
            change(module)

        spec.loader.exec_module = execute_and_change
        return spec


if os.environ.get("WALSLAB_TEST_STEP"):
    sys.meta_path.insert(0, Changes())
'''

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


class HungError(Exception):
    """Something did not end."""


class SkippedError(Exception):
    """This machine does not allow a fault."""


@dataclass
class Undisturbed:
    """A study that nothing happened to.

    Attributes
    ----------
    proposed : list
        Number and values of its trials.
    made, first, last : float
        Seconds until the study's folder was there, until a trial was proposed, and from the end of the last
        trial to that of the process.
    """

    proposed: list
    made: float
    first: float
    last: float


@dataclass
class Outcome:
    """What came of a round."""

    kind: str
    executor: str
    faults: list[str] = field(default_factory=list)
    lost: int = 0
    duplicated: int = 0
    hung: int = 0
    problems: list[str] = field(default_factory=list)
    seconds: float = 0.0
    resumes: int = 0


class Campaign:
    """What the rounds have in common: a dataset, an empty MLflow store, compiled modules.

    Parameters
    ----------
    base : Path
        An empty folder.
    seed : int
        Of the moments, and of the studies.
    """

    def __init__(self, base, seed=0):
        self.base, self.seed = base, seed
        self.rng = np.random.default_rng(seed)
        self.rounds = 0
        self.undisturbed = {}
        for name in ("site", "logs", "rounds"):
            (base / name).mkdir()
        (base / "site" / "sitecustomize.py").write_text(SITECUSTOMIZE)
        write_ratings(base / "ratings.csv")
        ingest_ratings(RatingsSource.detect([base / "ratings.csv"]), base / "dataset")
        MlflowClient(f"sqlite:///{base}/empty.db").search_experiments()
        # Only new folders are trusted with it: nothing may write back to it.
        (base / "empty.db").chmod(0o444)

    def environment(self, mark):
        """Return the environment of a round's processes, which they are found again by."""
        ours = ("MLFLOW_", "RAY_", "WALSLAB_TEST")
        found = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
        if found.pop("PYTHONDONTWRITEBYTECODE", None):
            # Most of the time would go into compiling the same modules again.
            found["PYTHONPYCACHEPREFIX"] = str(self.base / "compiled")
        found["PYTHONPATH"] = os.pathsep.join(map(str, (self.base / "site", ROOT)))
        found["MLFLOW_DISABLE_TELEMETRY"] = "true"
        return {**found, "WALSLAB_TEST_MARK": mark}

    def calm(self, executor):
        """Return how a study goes that nothing happens to."""
        if executor not in self.undisturbed:
            outcome = self.round("nothing", executor)
            assert not outcome.problems, outcome
        return self.undisturbed[executor]

    def round(self, kind, executor):
        """Do a round, once more where it was over before the fault came."""
        prepare, act = KINDS[kind][0] if kind in KINDS else (None, nothing)
        if kind != "nothing":
            # What a random moment is, and which values are proposed, is measured beforehand.
            for each in {executor, "in-process"}:
                self.calm(each)
        for _ in range(4):
            self.rounds += 1
            with contextlib.ExitStack() as stack:
                round_ = Round(self, kind, executor, stack)
                outcome = round_.do(prepare, act)
            if outcome.faults or outcome.problems or kind == "nothing":
                break
        return outcome


class Round:
    """One study, and what happens to it."""

    def __init__(self, campaign, kind, executor, stack):
        self.campaign, self.stack, self.executor = campaign, stack, executor
        self.rng = np.random.default_rng([campaign.seed, campaign.rounds])
        self.name = f"{campaign.rounds:03d}"
        self.folder = campaign.base / "rounds" / self.name
        self.folder.mkdir()
        self.outcome = Outcome(kind, executor)
        self.phase = ""
        self.logs = []
        self.before = {}
        self.parent = None
        self.expected = lambda _trial: None
        self.same_proposals = executor == "in-process"
        self.mark = uuid.uuid4().hex
        live = {"WALSLAB_TEST_LIVE": "1"} if self.rng.random() < 0.6 else {}
        self.environment = {
            **campaign.environment(self.mark),
            "WALSLAB_TEST_INTERRUPT": "1",
            "WALSLAB_TEST_STEP": str(STEP_SECONDS),
            **live,
        }
        self.tracking_uri = f"sqlite:///{self.folder}/mlflow.db"

    # Running it

    @property
    def study_folder(self):
        return self.folder / "studies" / "s"

    def set_up(self):
        """Give it what a study starts from."""
        # MLflow takes seconds to make one, in which it is to be hit too.
        if self.outcome.kind == "nothing" or self.rng.random() < 0.8:
            shutil.copyfile(self.campaign.base / "empty.db", self.folder / "mlflow.db")
        spec = {**SPEC, "seed": self.campaign.seed, "concurrency": 1 if self.executor == "in-process" else 2}
        (self.folder / "search.json").write_text(json.dumps(spec))

    def command(self, *arguments):
        """Start a command in a session of its own."""
        log = self.campaign.base / "logs" / f"{self.name}-{len(self.logs)}.log"
        self.logs.append(log)
        executor = ["--in-process"] if self.executor == "in-process" else []
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "cluster", *arguments, *executor, "--json"],
                cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self.started = time.monotonic()
        self.ended_before = self.ended()
        return process

    def tune(self):
        dataset = str(self.campaign.base / "dataset")
        return self.command("tune", dataset, "--spec", "search.json", "--name", "s")

    def resume(self):
        return self.command("resume", "s")

    def go_on(self):
        """Resume it, or start it where there is none yet; return the exit code."""
        if not self.study_folder.exists():
            return self.finish(self.tune())
        code = self.finish(self.resume())
        if code == 1 and not self.begun() and ("remove" in self.told() or "there is no study" in self.told()):
            # As it is told.
            shutil.rmtree(self.study_folder)
            return self.finish(self.tune())
        return code

    def told(self):
        """Return what the last command printed."""
        return self.logs[-1].read_text(errors="replace").strip()

    def finish(self, process):
        """Wait for the end of a process; return its exit code."""
        try:
            return process.wait(max(1.0, LIMIT - (time.monotonic() - self.started)))
        except subprocess.TimeoutExpired as error:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGUSR1)  # let it say where it is
                time.sleep(2)
            raise HungError(f"it has not ended after {LIMIT:.0f} s: {self.told()[-6000:]}") from error

    def complete(self, code):
        """Resume it until it is finished."""
        self.note_before()
        began = time.monotonic()
        while code != 0:
            self.outcome.resumes += 1
            if self.outcome.resumes > 6:
                self.problem(f"it is not finished after {self.outcome.resumes - 1} resumes: {self.told()}")
                return
            code = self.go_on()
        self.outcome.seconds = time.monotonic() - began

    # Knowing how far it is

    def ended(self):
        """Return how many trials have ended."""
        return self.count(b'"event": "ended"')

    def count(self, what):
        try:
            return (self.study_folder / "journal.jsonl").read_bytes().count(what)
        except OSError:
            return 0

    def facts(self):
        try:
            return json.loads((self.study_folder / "study.json").read_text())
        except OSError:
            return {}

    def begun(self):
        return "parent_run_id" in self.facts()

    def note_before(self):
        """Remember what must still be so at the end."""
        if self.begun():
            study = Study.open(self.study_folder)
            self.parent = self.parent or study.facts["parent_run_id"]
            self.before |= {trial["trial"]: trial["ended"] for trial in study.trials()}

    def until(self, process, true, seconds=0.0):
        """Wait until something is true and some seconds more, or the process has ended."""
        while not true() and process.poll() is None:
            if time.monotonic() - self.started > LIMIT:
                self.finish(process)
            time.sleep(0.002)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(seconds)

    def wait(self, process, phase=None):
        """Wait for a random moment; whether the process still runs then."""
        calm, rng, ended = self.campaign.calm(self.executor), self.rng, self.ended_before
        phase = phase or str(rng.choice(["before", "during", "after"]))
        if phase == "during" and ended == TRIALS:
            phase = "after"
        if phase == "before" and rng.random() < 0.4:
            self.until(process, lambda: True, rng.uniform(0, calm.first))
        elif phase == "before":
            self.until(process, self.study_folder.exists, rng.uniform(0, calm.first - calm.made))
        elif phase == "during":
            wanted = int(rng.integers(ended, TRIALS))
            self.until(
                process,
                lambda: self.count(b'"event": "proposed"') > wanted and self.ended() >= wanted,
                rng.uniform(0, ITERATIONS * STEP_SECONDS),
            )
        else:
            self.until(process, lambda: self.ended() >= TRIALS, rng.uniform(0, calm.last))
        self.phase = phase
        return process.poll() is None

    def fault(self, what):
        """Note that a fault was done."""
        self.outcome.faults.append(f"{what}, {self.phase}, {self.ended()} ended")

    def problem(self, text):
        self.outcome.problems.append(text)

    # Its processes

    def processes(self, mark=None):
        """Return the processes of this round by their number, with their command lines."""
        wanted = f"WALSLAB_TEST_MARK={mark or self.mark}".encode()
        found = {}
        for path in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if wanted in (path / "environ").read_bytes().split(b"\0"):
                    found[int(path.name)] = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
        return found

    def signal_all(self, number, mark=None):
        """Send all processes of this round a signal."""
        for _ in range(5 if number == signal.SIGKILL else 1):
            found = self.processes(mark)
            for pid in found:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, number)
            if not found:
                break
            time.sleep(0.02)

    def left(self):
        """Return the processes that stay; Ray's take seconds to notice that their driver is gone."""
        deadline = time.monotonic() + 60
        while (found := self.processes()) and time.monotonic() < deadline:
            time.sleep(0.1)
        return found

    def do(self, prepare, act):
        """Do it all."""
        outcome = self.outcome
        try:
            if prepare:
                prepare(self)
            self.set_up()
            act(self)
            self.check()
        except HungError as error:
            outcome.hung += 1
            self.problem(str(error))
        except SkippedError:
            raise
        except Exception:  # noqa: BLE001 - the other rounds, and their tally, are worth something all the same
            self.problem(f"the campaign itself: {traceback.format_exc()}")
        finally:
            self.stack.close()
            if left := self.left():
                self.problem(f"processes are left: {left}")
                self.signal_all(signal.SIGKILL)
        if not outcome.problems:
            shutil.rmtree(self.folder, ignore_errors=True)
        return outcome

    # What must be true

    def check(self):
        """Look at all that the study has left."""
        outcome = self.outcome
        study = Study.open(self.study_folder)
        trials = study.trials()
        by_name = {trial["trial"]: trial for trial in trials}
        names = [f"trial-{number:03d}" for number in range(1, TRIALS + 1)]
        ended = Counter(event["trial"] for event in study.journal.events("ended"))
        proposed = [event["trial"] for event in study.journal.events("proposed")]
        outcome.lost += len(set(names) - set(by_name)) + sum(
            by_name.get(name, {}).get("ended") != at for name, at in self.before.items()
        )
        outcome.duplicated += sum(ended.values()) - len(ended)
        self.expect(study.status() == "finished", f"status is {study.status()}")
        self.expect(sorted(by_name) == names, f"trials are {sorted(by_name)}")
        self.expect(
            [by_name[n]["number"] for n in names if n in by_name] == [*range(1, TRIALS + 1)], "numbers"
        )
        self.expect(outcome.lost == 0, f"{outcome.lost} trials were lost or run again")
        self.expect(max(ended.values(), default=0) <= 1, f"trials ended more than once: {ended}")
        self.expect(sorted(proposed) == names, f"proposed was {proposed}")
        self.expect(study.recorded() == set(names), f"recorded are {sorted(study.recorded())}")
        for trial in trials:
            reason = self.expected(trial)
            good = trial["reason"] is None if reason is None else reason in (trial["reason"] or "")
            status = "FINISHED" if reason is None else "FAILED"
            self.expect(
                good and trial["status"] == status,
                f"{trial['trial']} is {trial['status']} ({trial['reason']}), not {status} ({reason})",
            )
        if self.same_proposals and outcome.kind != "nothing":
            calm = self.campaign.calm(self.executor).proposed
            self.expect(proposals(study) == calm, f"proposals differ: {proposals(study)}, calm {calm}")
        self.check_record(study, by_name)
        litter = sorted(path.name for path in study.path.iterdir())
        self.expect(
            set(litter) <= {".lock", "factors", "journal.jsonl", "study.json"}, f"the study has {litter}"
        )
        kept = sorted(path.name for path in (study.path / "factors").glob("*"))
        self.expect(kept == [], f"factors are left: {kept}")

    def expect(self, good, text):
        if not good:
            self.problem(text)

    def check_record(self, study, trials):
        """Look at the runs in MLflow."""
        client = MlflowClient(self.tracking_uri)
        runs = client.search_runs([study.facts["experiment_id"]], max_results=1000)
        parents = [run for run in runs if "mlflow.parentRunId" not in run.data.tags]
        children = [run for run in runs if "mlflow.parentRunId" in run.data.tags]
        parent_id = study.facts["parent_run_id"]
        self.outcome.duplicated += max(0, len(parents) - 1) + max(0, len(children) - TRIALS)
        self.expect([p.info.run_id for p in parents] == [parent_id], f"there are {len(parents)} parent runs")
        self.expect(self.parent in (None, parent_id), "the parent run is another")
        self.expect({p.info.status for p in parents} == {"FINISHED"}, f"{[p.info.status for p in parents]}")
        names = Counter(child.data.tags.get("walslab.trial") for child in children)
        self.expect(names == Counter([*trials]), f"children are {sorted(names.items())}")
        valid = RatingsDataset.open(self.campaign.base / "dataset").valid
        for child in children:
            trial = trials.get(child.data.tags.get("walslab.trial"))
            if trial is None:
                continue
            name = trial["trial"]
            tags = child.data.tags
            self.expect(tags["mlflow.parentRunId"] == parent_id, f"{name} has another parent")
            self.expect(child.info.run_id == trial["run_id"], f"{name} is recorded in another run")
            self.expect(child.info.status == trial["status"], f"{name} is {child.info.status} in MLflow")
            reason = tags.get("walslab.reason")
            self.expect(
                (reason is None) == (trial["status"] == "FINISHED"), f"{name} has walslab.reason {reason}"
            )
            for key, figures in trial["history"].items():
                history = client.get_metric_history(child.info.run_id, key)
                steps = [metric.step for metric in history]
                self.expect(steps == [*range(1, len(figures) + 1)], f"{name}: {key} has steps {steps}")
                if key != "seconds":
                    values = [metric.value for metric in history]
                    self.expect(
                        np.allclose(values, figures, rtol=0, atol=1e-12, equal_nan=True)
                        if len(values) == len(figures)
                        else True,
                        f"{name}: {key} is {values}, but {figures} in the journal",
                    )
            if trial["status"] == "FINISHED":
                with tempfile.TemporaryDirectory() as folder:
                    factors = Factors.load(client.download_artifacts(child.info.run_id, "factors", folder))
                    figure = rmse(factors, valid.row, valid.col, valid.data, Backend("numpy"))
                self.expect(
                    abs(figure - trial["valid_rmse"]) < 1e-6, f"{name}: factors give {figure}, not {trial}"
                )
        for parent in parents[:1]:
            self.check_parent(client, parent, [*trials.values()])

    def check_parent(self, client, parent, trials):
        metrics = parent.data.metrics
        done = [trial["valid_rmse"] for trial in trials if trial["status"] == "FINISHED"]
        self.expect(metrics.get("best_valid_rmse") == min(done), f"best_valid_rmse of {metrics}")
        counts = {"n_done": len(done), "n_failed": len(trials) - len(done)}
        self.expect({k: metrics.get(k) for k in counts} == counts, f"{metrics} are not {counts}")
        steps = [metric.step for metric in client.get_metric_history(parent.info.run_id, "best_valid_rmse")]
        self.expect(len(steps) == len(set(steps)), f"best_valid_rmse has steps {steps}")
        files = {entry.path for entry in client.list_artifacts(parent.info.run_id)}
        self.expect({"spec.json", "trials.json", "report.html"} <= files, f"the parent has {sorted(files)}")


def proposals(study):
    return [[event["number"], event["sampled"]] for event in study.proposed().values()]


def write_ratings(path):
    """Write a ratings file with a header: 150 users, 60 items."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((150, 2)), rng.standard_normal((60, 2))
    users, items = np.nonzero(rng.random((150, 60)) < 0.3)
    ratings = np.clip(np.rint(3.5 + (x @ y.T)[users, items] + 0.3 * rng.standard_normal(len(users))), 1, 5)
    rows = zip(users * 7 + 1, items * 3 + 10, ratings, strict=True)
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},{r:.0f}\n" for u, i, r in rows))


# Kinds of faults


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


# MLflow


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
    seconds = time.monotonic() - round_.started - round_.campaign.calm(HERE).first
    told = round_.told()
    round_.expect(code == 1 and "no MLflow server answers" in told, f"exit code {code}: {told[-3000:]}")
    round_.expect(seconds < 15, f"it was refused only after {seconds:.0f} s")
    round_.expect(there == round_.study_folder.exists(), "a study came or went")
    round_.expect(round_.ended() == ended, "trials were run")
    server.start()
    round_.complete(code)


# The disk, and the cluster


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


HERE, RAY = "in-process", "ray"
# What is made ready and what happens; where the first, the second … of a kind runs.
KINDS = {
    "all killed": ((None, killed), (HERE, RAY)),
    "driver killed": ((None, driver_killed), (RAY,)),
    "worker killed": ((None, worker_killed), (RAY,)),
    "killed while resumed": ((None, killed_while_resumed), (HERE, RAY)),
    "Ctrl-C": ((None, interrupted), (HERE, RAY)),
    "Ctrl-C twice": ((None, interrupted_twice), (RAY, HERE)),
    "trial raises": ((None, failing("raises", "RuntimeError: made to fail")), (HERE, RAY)),
    "trial gives NaN": ((None, failing("nan", "is not finite")), (RAY, HERE)),
    "trial out of memory": ((None, failing("memory", "out of memory")), (HERE, RAY)),
    "trial's process ends": ((None, dies), (RAY, HERE)),
    "MLflow away": ((served, server_away), (HERE, RAY)),
    "MLflow frozen": ((served, server_frozen), (HERE,)),
    "MLflow gone at the end": ((served, server_gone), (HERE,)),
    "MLflow gone at the start": ((served, server_not_there), (HERE,)),
    "disk full": ((mounted, disk_full), (HERE,)),
    "node lost": ((clustered, node_lost), (RAY,)),
}


def plan(rounds):
    """Return the kinds of so many rounds, each in its turn, and where they run."""
    for number in range(rounds):
        cycle, place = divmod(number, len(KINDS))
        kind = list(KINDS)[place]
        executors = KINDS[kind][1]
        yield kind, executors[cycle % len(executors)]


def run(base, rounds, seed, told=print):
    """Do rounds, each kind in its turn, or those of a list.

    Returns
    -------
    list of Outcome
    """
    campaign = Campaign(base, seed)
    outcomes, began = [], time.monotonic()
    for kind, executor in plan(rounds) if isinstance(rounds, int) else rounds:
        try:
            outcome = campaign.round(kind, executor)
        except SkippedError as error:
            told(f"{kind}: skipped, {error}")
            continue
        outcomes.append(outcome)
        told(
            f"{time.monotonic() - began:6.0f} s  round {campaign.rounds:3d}  {kind} ({executor}): "
            f"{'; '.join(outcome.faults)}: {len(outcome.problems)} problems, {outcome.resumes} resumes, "
            f"{outcome.seconds:.1f} s"
        )
        for problem in outcome.problems:
            told(f"    {problem}")
    return outcomes


def table(outcomes):
    """Return the tally as text."""
    head = ("fault", "rounds", "faults", "lost", "duplicated", "hung", "other", "s to complete (most)")
    kinds = {}
    for outcome in outcomes:
        kinds.setdefault(outcome.kind, []).append(outcome)
    rows = [head, *(_row(kind, of_kind) for kind, of_kind in kinds.items()), _row("all", outcomes)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(head))]
    lines = []
    for first, *others in rows:
        cells = [first.ljust(widths[0])]
        cells += [cell.rjust(width) for cell, width in zip(others, widths[1:], strict=True)]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def _row(kind, outcomes):
    sums = [sum(getattr(o, name) for o in outcomes) for name in ("lost", "duplicated", "hung")]
    others = sum(len(o.problems) for o in outcomes if not (o.lost or o.duplicated or o.hung))
    seconds = [o.seconds for o in outcomes if o.resumes]
    time_ = f"{np.median(seconds):.1f} ({max(seconds):.1f})" if seconds else "by itself"
    faults = sum(len(o.faults) for o in outcomes)
    return (kind, *map(str, (len(outcomes), faults, *sums, others)), time_)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=2 * len(KINDS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", help="rounds of the kinds whose names hold this, and no others")
    parser.add_argument("--keep", type=Path, help="an empty folder, which is kept")
    options = parser.parse_args()
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    rounds = options.rounds
    if options.only:
        some = [each for each in plan(1000 * len(KINDS)) if options.only in each[0]]
        rounds = some[: options.rounds]
    with contextlib.ExitStack() as stack:
        base = options.keep or Path(
            stack.enter_context(tempfile.TemporaryDirectory(prefix="walslab-faults-"))
        )
        outcomes = run(base, rounds, options.seed, lambda text: print(text, flush=True))
    print(table(outcomes))
    sys.exit(any(outcome.problems for outcome in outcomes))


if __name__ == "__main__":
    main()
