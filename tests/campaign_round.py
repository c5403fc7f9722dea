"""A round of the fault campaign: one study, what is done to it, and what must be true of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import uuid
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from mlflow import MlflowClient

from toolkit.backends import Backend
from toolkit.datasets import RatingsDataset
from toolkit.evaluation import rmse
from toolkit.solver import Factors
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


class HungError(Exception):
    """Something did not end."""


class SkippedError(Exception):
    """This machine does not allow a fault."""


class LateError(Exception):
    """The study was over before the fault came."""


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
        self.logs = {}
        self.before = {}
        # What the study's folder may hold at the end.
        self.files = {".lock", ".running", "factors", "journal.jsonl", "state.json", "study.json"}
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

    def command(self, *arguments, executor=True):
        """Start a command in a session of its own; one that runs trials is told the executor."""
        log = self.campaign.base / "logs" / f"{self.name}-{len(self.logs)}.log"
        executor = ["--executor", self.executor] if executor else []
        with log.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "cluster", *arguments, *executor, "--json"],
                cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=out,
                start_new_session=True,
            )  # fmt: skip
        self.logs[process] = log
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

    def told(self, process=None):
        """Return what a command printed, the last one where none is given."""
        log = self.logs[process] if process else [*self.logs.values()][-1]
        return log.read_text(errors="replace").strip()

    def finish(self, process):
        """Wait for the end of a process; return its exit code."""
        try:
            return process.wait(max(1.0, LIMIT - (time.monotonic() - self.started)))
        except subprocess.TimeoutExpired as error:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGUSR1)  # let it say where it is
                time.sleep(2)
            raise HungError(f"it has not ended after {LIMIT:.0f} s: {self.told(process)[-6000:]}") from error

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

    def client(self):
        """Return a client of its MLflow store."""
        return MlflowClient(self.tracking_uri)

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
            return json.loads((self.study_folder / "state.json").read_text())
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
        except LateError:
            outcome.faults.clear()
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
            set(litter) <= self.files,
            f"the study has {litter}",
        )
        kept = sorted(path.name for path in (study.path / "factors").glob("*"))
        self.expect(kept == [], f"factors are left: {kept}")

    def expect(self, good, text):
        if not good:
            self.problem(text)

    def check_record(self, study, trials):
        """Look at the runs in MLflow."""
        client = self.client()
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
                    figure = rmse(factors, valid.row, valid.col, valid.data, Backend())
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
