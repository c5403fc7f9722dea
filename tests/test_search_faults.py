"""A study that is killed, interrupted or let down at any moment: no trial lost, none run twice."""

from __future__ import annotations

import json
import os
import shutil
import signal
import threading
from pathlib import Path

import forks
import numpy as np
import pytest
from campaign import plan, run, table, write_ratings
from campaign_kinds import HERE, KINDS, RAY
from mlflow import MlflowClient
from trials import end, result

from toolkit.datasets import RatingsDataset
from toolkit.ingest import RatingsSource, ingest_ratings
from tune.lifecycle import create_study, run_study
from tune.record import MlflowRecord, Tracking
from tune.search import Segment, StudyRun
from tune.spec import SearchSpec
from tune.study import Study

TRIALS = 3
# What a process imports that opens a store, for forks.
MLFLOW = ("alembic", "mlflow.store.tracking.sqlalchemy_store", "tune.record.tracking")
SPEC = SearchSpec.from_dict(
    {
        "space": {"factors": {"low": 2, "high": 8}, "iterations": 2},
        "trials": TRIALS,
        "sampler": "random",
        "concurrency": 1,
        "early_stopping": "none",
        "backend": "numpy",
    }
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    """Bars of progress would fill the report of a failure."""
    monkeypatch.setenv("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")


# The journal


@pytest.fixture
def half_done(tmp_path):
    """A study of which one trial has ended, another was proposed."""
    study = Study.create(tmp_path / "first", spec=SPEC.to_dict(), seconds=1.0)
    drive(study, 1)
    study.journal.append("proposed", trial="trial-002", number=2, sampled={"factors": 3}, source="random")
    return study


def drive(study, trials):
    """Run so many trials, which are over at once."""
    going = StudyRun(study, 1)
    for _ in range(trials):
        trial = going.next()
        if trial is None:
            break
        figures = {"valid_rmse": 0.9, "train_rmse": 0.8}
        history = {**{key: [figure] for key, figure in figures.items()}, "seconds": [0.1]}
        assert not going.report(trial.trial, Segment(history, figures, iterations=1, done=True))
    going.close()
    assert going.problem is None
    return going


LAST = {
    "proposed": {"trial": "trial-003", "number": 3, "sampled": {"factors": 4}, "source": "random"},
    "ended": {key: value for key, value in result("trial-002").items() if key != "run_id"},
    "run": {"trial": "trial-001", "run_id": "0123456789abcdef"},
    "recorded": {"trial": "trial-001"},
}


@pytest.mark.parametrize("event", LAST)
def test_a_line_that_is_cut_off_anywhere_is_as_if_it_had_not_been_written(half_done, event):
    before = half_done.journal.path.read_bytes()
    half_done.journal.append(event, **LAST[event])
    line = half_done.journal.path.read_bytes()[len(before) :]
    kept = {}
    # Each of the last bytes, and of the others near enough to every one.
    for cut in sorted({*range(0, len(line), 7), *range(len(line) - 2, len(line) + 1)}):
        half_done.journal.path.write_bytes(before + line[:cut])
        study = Study.open(half_done.path)
        whole = cut >= len(line) - 1
        kept[cut] = {
            "proposed": "trial-003" in study.proposed(),
            "ended": len(study.trials()) == 2,
            "run": study.runs() == {"trial-001": "0123456789abcdef"},
            "recorded": study.recorded() == {"trial-001"},
        }[event]
        assert kept[cut] == whole
        # Going on takes a while.
        if cut % 35 == 0 or whole:
            going = drive(study, TRIALS + 1)
            assert going.outcome == "finished"
            assert_each_ended_once(study)


def assert_each_ended_once(study):
    names = [f"trial-{number:03d}" for number in range(1, TRIALS + 1)]
    for kind in ("ended", "proposed"):
        assert sorted(event["trial"] for event in study.journal.events(kind)) == names
    assert sorted(trial["number"] for trial in study.trials()) == [1, 2, 3]


def test_what_is_cut_off_in_the_middle_of_the_journal_is_run_again(half_done):
    lines = half_done.journal.path.read_bytes().splitlines(keepends=True)
    (ended,) = (line for line in lines if b'"ended"' in line)
    half_done.journal.path.write_bytes(b"".join(lines).replace(ended, ended[: len(ended) // 2] + b"\n"))
    assert [trial["trial"] for trial in Study.open(half_done.path).trials()] == []
    study = Study.open(half_done.path)
    drive(study, TRIALS)
    assert_each_ended_once(study)


def test_resumed_after_every_trial_the_proposals_are_the_same(tmp_path):
    spec = {**SPEC.to_dict(), "sampler": "tpe", "startup_trials": 2, "trials": 8}
    proposed = []
    for name, trials in (("at-once", 8), ("one-by-one", 1)):
        study = Study.create(tmp_path / name, spec=spec)
        for _ in range(8 // trials):
            drive(study, trials)
        proposed.append([(event["number"], event["sampled"]) for event in study.proposed().values()])
    assert proposed[0] == proposed[1]
    assert len(proposed[0]) == 8


# The record


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    write_ratings(folder / "ratings.csv")
    return ingest_ratings(RatingsSource.detect([folder / "ratings.csv"]), folder / "dataset").path


@pytest.fixture
def begun(data, empty_store, tmp_path, monkeypatch, undrawn):
    """A study that has its parent run, and no more."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    return create_study(tmp_path / "studies" / "first", RatingsDataset.open(data), SPEC)


def child(study, trial, **tags):
    """Make a run of a trial that the journal does not know of."""
    tags = {"mlflow.parentRunId": study.facts["parent_run_id"], "walslab.trial": trial, **tags}
    client = MlflowClient(study.facts["tracking_uri"])
    return client.create_run(study.facts["experiment_id"], run_name=trial, tags=tags).info.run_id


def finish(study, data):
    """Run a study to its end; return its child runs by trial."""
    run_study(Study.open(study.path), RatingsDataset.open(data), executor="in-process")
    client = MlflowClient(study.facts["tracking_uri"])
    runs = client.search_runs(
        [study.facts["experiment_id"]], f"tags.`mlflow.parentRunId` = '{study.facts['parent_run_id']}'"
    )
    found = {made.data.tags["walslab.trial"]: made for made in runs}
    assert len(runs) == len(found) == TRIALS
    assert {made.info.status for made in runs} == {"FINISHED"}
    for made in runs:
        steps = [metric.step for metric in client.get_metric_history(made.info.run_id, "valid_rmse")]
        assert steps == [1, 2]
    return found


def test_sigterm_ends_a_study_that_ignores_ctrl_c(begun, data):
    """As one does that a script started with &."""
    begun.change(trials=100_000)
    program = """
import signal
import sys
import tune.report
from toolkit.datasets import RatingsDataset
from tune.lifecycle import run_study
from tune.study import Study

tune.report.write_report = lambda *_, **__: []
signal.signal(signal.SIGINT, signal.SIG_IGN)
run_study(Study.open(sys.argv[1]), RatingsDataset.open(sys.argv[2]), executor="in-process")
"""
    with forks.Forked(program, begun.path, data, imports=[*MLFLOW, "tune.lifecycle"]) as process:
        for _ in range(3000):
            if any(begun.journal.events("ended")) or process.poll(0.1) is not None:
                break
        process.send_signal(signal.SIGTERM)
        process.wait()
    assert Study.open(begun.path).status() == "interrupted"


def test_a_study_killed_before_it_noted_its_parent_run_goes_on_in_it(begun, data):
    state = json.loads((begun.path / "state.json").read_text())
    state = {key: value for key, value in state.items() if key not in {"parent_run_id", "experiment_id"}}
    (begun.path / "state.json").write_text(json.dumps(state))
    run_study(Study.open(begun.path), RatingsDataset.open(data), executor="in-process")
    study = Study.open(begun.path)
    assert study.facts["parent_run_id"] == begun.facts["parent_run_id"]
    assert study.status() == "finished"
    runs = MlflowClient(study.facts["tracking_uri"]).search_runs([study.facts["experiment_id"]])
    assert len(runs) == 1 + TRIALS
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_study_interrupted_before_it_began_leaves_neither_folder_nor_run(
    data, empty_store, tmp_path, monkeypatch
):
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)

    def interrupt(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(MlflowClient, "log_dict", interrupt)
    with pytest.raises(KeyboardInterrupt):
        create_study(tmp_path / "studies" / "first", RatingsDataset.open(data), SPEC)
    assert list((tmp_path / "studies").iterdir()) == []
    client = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db")
    assert client.search_runs([made.experiment_id for made in client.search_experiments()]) == []


def test_a_kill_while_the_facts_are_written_leaves_nothing_behind(half_done):
    code = (
        "import os, pathlib, sys\n"
        "from tune.study.study import Study\n"
        "pathlib.Path.replace = lambda *_: os._exit(1)\n"
        "Study.open(sys.argv[1]).update(status='finished')"
    )
    assert forks.run(code, half_done.path).returncode == 1
    assert half_done.status() == "interrupted"
    before = sorted(path.name for path in half_done.path.iterdir())
    assert len(before) == 5, before
    half_done.update(status="interrupted")
    left = {path.name for path in half_done.path.iterdir()} - {".lock", ".running"}
    assert left == {"journal.jsonl", "state.json", "study.json"}


def test_a_kill_while_mlflow_makes_its_store_does_not_spoil_it(empty_store, tmp_path, monkeypatch):
    def quickly(tracking_uri):
        file = Path(tracking_uri.removeprefix("sqlite:///"))
        if not file.exists():
            shutil.copyfile(empty_store, file)
        return MlflowClient(tracking_uri)

    code = (
        "import os\n"
        "from alembic import op\n"
        "make = op.create_table\n"
        "def make_and_die(name, *columns, **options):\n"
        "    make(name, *columns, **options)\n"
        "    os._exit(3)\n"
        "op.create_table = make_and_die\n"
        "from tune.record.tracking import Tracking\n"
        "Tracking.from_environment().client()"
    )
    monkeypatch.chdir(tmp_path)
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_EXPERIMENT_NAME"):
        monkeypatch.delenv(name, raising=False)
    assert forks.run(code, imports=MLFLOW).returncode == 3
    assert any(path.name.startswith(".") for path in tmp_path.iterdir())
    # What is made in one go is as MLflow makes it in a second, of which test_tracking.py is.
    monkeypatch.setattr("mlflow.MlflowClient", quickly)
    tracking = Tracking.from_environment()
    assert tracking.experiment_id(tracking.client()) == "1"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_store_that_is_gone_is_not_made_anew(begun, data, tmp_path):
    (tmp_path / "mlflow.db").rename(tmp_path / "elsewhere.db")
    code = "import sys, tune\nfrom tune.record import runs\nruns.client_of(tune.Study.open(sys.argv[1]))"
    # In a process of its own, where MLflow does not hold the store open.
    done = forks.run(code, begun.path, imports=MLFLOW)
    assert "which is gone: put it back where it was" in done.stderr
    assert not (tmp_path / "mlflow.db").exists()
    (tmp_path / "elsewhere.db").rename(tmp_path / "mlflow.db")
    finish(begun, data)


def test_a_run_that_was_made_and_not_noted_is_taken_up_and_none_of_another_study(begun, data):
    made, stopped = child(begun, "trial-001"), child(begun, "trial-003")
    stranger = child(begun, "trial-002", **{"mlflow.parentRunId": "another"})
    MlflowClient(begun.facts["tracking_uri"]).set_tag(stopped, "walslab.reason", "the study was stopped")
    found = finish(begun, data)
    assert [found[trial].info.run_id for trial in ("trial-001", "trial-003")] == [made, stopped]
    assert set(Study.open(begun.path).runs().values()) == {run.info.run_id for run in found.values()}
    assert found["trial-002"].info.run_id != stranger
    # What a run was stopped for is not told of the run that went on.
    assert "walslab.reason" not in found["trial-003"].data.tags


def test_a_trial_that_was_recorded_and_not_noted_is_recorded_once(begun, data):
    finish(begun, data)
    lines = begun.journal.path.read_bytes().splitlines(keepends=True)
    # As if killed between the run and the journal, of both kinds of lines.
    begun.journal.path.write_bytes(
        b"".join(
            line for line in lines if b'"event": "recorded"' not in line and b'"event": "run"' not in line
        )
    )
    before = Study.open(begun.path).trials()
    finish(begun, data)
    study = Study.open(begun.path)
    assert [trial["ended"] for trial in study.trials()] == [trial["ended"] for trial in before]
    assert study.recorded() == {trial["trial"] for trial in before}


def test_a_trial_shown_while_its_process_dies_has_all_its_steps(begun, monkeypatch):
    shown = MlflowRecord._show
    going = StudyRun(begun, 1)
    record = MlflowRecord(begun, live_after=0.0)
    going._listeners = (record,)

    def lost_meanwhile(self, *arguments):
        monkeypatch.setattr(MlflowRecord, "_show", shown)
        going.lost("trial-001", "it was killed")
        going.next()
        shown(self, *arguments)
        done.set()

    done = threading.Event()
    monkeypatch.setattr(MlflowRecord, "_show", lost_meanwhile)
    figures = {"valid_rmse": 0.9, "train_rmse": 0.8}
    history = {**{key: [figure] for key, figure in figures.items()}, "seconds": [0.1]}
    trial = going.next()
    trial.started -= 1
    assert going.report("trial-001", Segment(history, figures, iterations=1))
    assert done.wait(300)
    twice = {key: 2 * values for key, values in history.items()}
    assert not going.report("trial-001", Segment(twice, figures, iterations=2, done=True))
    going.close()
    assert record.close() == 0
    client = MlflowClient(begun.facts["tracking_uri"])
    run_id = begun.runs()["trial-001"]
    assert [metric.step for metric in client.get_metric_history(run_id, "valid_rmse")] == [1, 2]
    assert Study.open(begun.path).trials()[0]["attempts"] == 2


def test_an_ended_trial_of_an_earlier_process_is_recorded_by_the_next(begun, data):
    event = {"trial": "trial-001", "number": 1, "sampled": {"factors": 2}, "source": "random"}
    begun.journal.append("proposed", **event)
    ended = result("trial-001", config=SPEC.config({"factors": 2}).to_dict())
    two = {key: values[:2] for key, values in ended["history"].items()}
    end(begun, {**ended, "history": two, "iterations": 2})
    found = finish(begun, data)
    assert found["trial-001"].data.metrics["valid_rmse"] == 0.9
    (kept,) = (trial for trial in Study.open(begun.path).trials() if trial["trial"] == "trial-001")
    assert kept == {**ended, "history": two, "iterations": 2, "run_id": found["trial-001"].info.run_id}


# Faults at random moments


SHORT = [
    ("all killed", RAY),
    ("Ctrl-C twice", HERE),
    ("worker killed", RAY),
]


@pytest.mark.integration
@pytest.mark.slow
def test_a_few_faults_lose_and_repeat_nothing(tmp_path):
    seed = int(os.environ.get("WALSLAB_FAULT_SEED", "0"))
    assert_harmless(run(tmp_path, SHORT, seed), len(SHORT))


@pytest.mark.integration
@pytest.mark.slow
def test_many_faults_of_every_kind_lose_and_repeat_nothing(tmp_path, capsys):
    seed = int(os.environ.get("WALSLAB_FAULT_SEED", "0"))
    outcomes = run(tmp_path, 2 * len(KINDS), seed)
    with capsys.disabled():
        print(f"\n{table(outcomes)}")
    assert_harmless(outcomes, 32)


def assert_harmless(outcomes, least):
    problems = [(o.kind, o.executor, o.faults, o.problems) for o in outcomes if o.problems]
    assert problems == []
    assert sum(o.lost + o.duplicated + o.hung for o in outcomes) == 0
    # What was never done proves nothing. Those that this machine does not allow are told.
    done = {o.kind for o in outcomes if o.faults}
    assert done == {o.kind for o in outcomes}
    skipped = least - len(outcomes)
    assert sum(len(o.faults) for o in outcomes) >= least - skipped


def test_every_kind_of_fault_has_its_turn_twice():
    kinds = [kind for kind, _ in plan(2 * len(KINDS))]
    assert {kinds.count(kind) for kind in KINDS} == {2}
    assert np.all([kind in KINDS for kind, _ in SHORT])
