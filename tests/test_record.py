"""MLflow is brought in line with the journal: once, whatever fails in between."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from mlflow import MlflowClient
from processes import wait_for
from recorded_studies import CONFIG, ended, factors, make_store, make_study, runs_of
from trials import result

from toolkit.errors import StudyError
from tune.record import MlflowRecord, client_of, finish_parent, reopen_parent, trial_factors
from tune.record.artifacts import local_path
from tune.search import RunningTrial


@pytest.fixture(scope="module")
def store(tmp_path_factory, empty_store):
    return make_store(tmp_path_factory.mktemp("store"), empty_store)


@pytest.fixture
def study(store, tmp_path):
    return make_study(store, tmp_path)


def test_trials_are_written_once_with_all_that_is_known(study):
    trials = [
        result("trial-001", 0.9, config=CONFIG.to_dict(), stopped="halving"),
        result("trial-002", None, "FAILED", reason="singular", trace="Traceback\nsingular", history={}),
    ]
    ended(study, trials[0])
    ended(study, trials[1], with_factors=False)
    writing = MlflowRecord(study)
    assert writing.close() == 0
    runs = runs_of(study)
    good, bad = runs["trial-001"], runs["trial-002"]
    client = client_of(study)
    assert (good.info.status, bad.info.status) == ("FINISHED", "FAILED")
    assert good.data.params["factors"] == "2"
    assert good.data.tags["walslab.stopped"] == "halving"
    assert good.data.tags["walslab.source"] == "random"
    assert good.data.metrics["train_seconds"] == 0.5
    assert good.data.metrics["peak_memory_mib"] == 256
    assert good.data.tags["walslab.dataset_digest"] == "abc"
    # One dataset input for each trial would make searches in MLflow slow.
    assert [run.inputs.dataset_inputs for run in runs.values()] == [[], []]
    parent = client.get_run(study.facts["parent_run_id"])
    assert [used.dataset.digest for used in parent.inputs.dataset_inputs] == ["abc"]
    steps = client.get_metric_history(good.info.run_id, "valid_rmse")
    assert [(m.step, m.value) for m in steps] == [(1, 0.9), (2, 0.9), (3, 0.9)]
    assert bad.data.tags["walslab.reason"] == "singular"
    assert [a.path for a in client.list_artifacts(bad.info.run_id)] == ["error.txt"]
    # Once more, there is nothing to do.
    before = {name: run.data.metrics for name, run in runs.items()}
    assert MlflowRecord(study).close() == 0
    assert {name: run.data.metrics for name, run in runs_of(study).items()} == before


def test_factors_move_into_the_store_and_are_found_again(study):
    trial = result("trial-001", config=CONFIG.to_dict())
    ended(study, trial)
    np.testing.assert_array_equal(trial_factors(study, trial).items.factors, factors().items.factors)
    MlflowRecord(study).close()
    assert not study.factors_folder("trial-001").exists()
    (kept,) = study.trials()
    np.testing.assert_array_equal(trial_factors(study, kept).items.factors, factors().items.factors)
    ended(study, result("trial-002"), with_factors=False)
    MlflowRecord(study).close()
    assert trial_factors(study, study.trials()[1]) is None


def test_value_of_the_best_iteration_is_what_the_ui_sorts_by(study):
    history = {"valid_rmse": [0.9, 0.8, 0.85], "train_rmse": [0.9] * 3, "seconds": [0.1] * 3}
    ended(study, result("trial-001", 0.8, iterations=2, history=history, stopped="plateau"))
    MlflowRecord(study).close()
    assert runs_of(study)["trial-001"].data.metrics["valid_rmse"] == 0.8


@pytest.mark.parametrize("method", ["create_run", "log_batch", "set_terminated"])
@pytest.mark.parametrize("after", [False, True], ids=["not obeyed", "obeyed, no answer"])
def test_request_that_fails_is_repeated_and_duplicates_nothing(study, monkeypatch, method, after):
    original, failures = getattr(MlflowClient, method), []

    def failing(self, *args, **kwargs):
        if threading.current_thread().name != "mlflow-record" or len(failures) >= 2:
            return original(self, *args, **kwargs)
        failures.append(1)
        if after:
            original(self, *args, **kwargs)
        raise ConnectionError("no answer")

    monkeypatch.setattr(MlflowClient, method, failing)
    ended(study, result("trial-001", config=CONFIG.to_dict()))
    writing = MlflowRecord(study, pause=0.01)
    assert writing.close() == 0
    assert writing.problem is None
    assert failures
    (run,) = runs_of(study).values()
    assert run.info.status == "FINISHED"
    steps = [m.step for m in client_of(study).get_metric_history(run.info.run_id, "valid_rmse")]
    assert steps == [1, 2, 3]


def test_store_that_stays_away_costs_no_trial(study, monkeypatch):

    def gone(self, *args, **kwargs):
        raise ConnectionError("nobody there")

    ended(study, result("trial-001"))
    MlflowRecord(study).close()
    monkeypatch.setattr(MlflowClient, "create_run", gone)
    trial = result("trial-002")
    ended(study, trial)
    writing = MlflowRecord(study, patience=0.2, pause=0.05)
    assert writing.close() == 1
    assert "nobody there" in writing.problem
    assert study.factors_folder("trial-002").is_dir()
    monkeypatch.undo()
    assert MlflowRecord(study).close() == 0
    assert sorted(runs_of(study)) == ["trial-001", "trial-002"]


def test_run_that_somebody_deleted_is_made_anew_and_holds_up_no_other(study):
    ended(study, result("trial-001", config=CONFIG.to_dict()), result("trial-002", config=CONFIG.to_dict()))
    client = client_of(study)
    tags = {"mlflow.parentRunId": study.facts["parent_run_id"], "walslab.trial": "trial-001"}
    run = client.create_run(study.facts["experiment_id"], run_name="trial-001", tags=tags)
    study.journal.append("run", trial="trial-001", run_id=run.info.run_id)
    client.delete_run(run.info.run_id)
    assert MlflowRecord(study, pause=0.01).close() == 0
    runs = runs_of(study)
    assert sorted(runs) == ["trial-001", "trial-002"]
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    assert {trial["run_id"] for trial in study.trials()} == {run.info.run_id for run in runs.values()}


def test_run_deleted_while_the_study_runs_is_made_anew_and_holds_up_no_other(study):
    writing = MlflowRecord(study, pause=0.01, live_after=0.0)
    history = {"valid_rmse": [0.9], "train_rmse": [0.9], "seconds": [0.1]}
    trial = RunningTrial("trial-001", 1, {}, "random", CONFIG, started=time.time() - 1, history=history)
    writing.advanced(None, trial)
    wait_for(lambda: "trial-001" in runs_of(study))
    client_of(study).delete_run(runs_of(study)["trial-001"].info.run_id)
    for n in (1, 2):
        finished = result(f"trial-00{n}", config=CONFIG.to_dict())
        ended(study, finished)
        writing.ended(None, finished)
    assert writing.close() == 0
    assert {run.info.status for run in runs_of(study).values()} == {"FINISHED"}
    assert sorted(runs_of(study)) == ["trial-001", "trial-002"]


def test_trial_that_the_store_never_takes_holds_up_no_other(study, monkeypatch):
    original = MlflowClient.log_batch

    def refusing(self, run_id, *args, **kwargs):
        if client_of(study).get_run(run_id).info.run_name == "trial-001":
            raise ConnectionError("not this one")
        return original(self, run_id, *args, **kwargs)

    monkeypatch.setattr(MlflowClient, "log_batch", refusing)
    ended(study, *(result(f"trial-00{n}", config=CONFIG.to_dict()) for n in (1, 2, 3)))
    writing = MlflowRecord(study, pause=0.01, patience=0.2)
    wait_for(lambda: study.recorded() == {"trial-002", "trial-003"})
    assert writing.close() == 1
    assert writing.problem == "not this one"
    assert study.recorded() == {"trial-002", "trial-003"}
    monkeypatch.undo()
    assert MlflowRecord(study, pause=0.01, patience=0.2).close() == 0
    assert sorted(runs_of(study)) == ["trial-001", "trial-002", "trial-003"]


def test_factors_of_a_run_that_gc_removed_are_none(study):
    ended(study, result("trial-001"), with_factors=False)
    study.journal.append("run", trial="trial-001", run_id="0" * 32)
    assert trial_factors(study, study.trials()[0]) is None


def test_deleted_parent_run_is_refused_with_the_way_back(study, store):
    run_id = study.facts["parent_run_id"]
    client_of(study).delete_run(run_id)
    for refused in (client_of, reopen_parent, MlflowRecord):
        with pytest.raises(StudyError) as raised:
            refused(study)
        assert f"`mlflow runs restore --run-id {run_id}`" in str(raised.value)
        assert f"MLFLOW_TRACKING_URI={store.uri}" in str(raised.value)
    store.client().restore_run(run_id)
    assert MlflowRecord(study).close() == 0


def test_store_that_moved_is_found_by_the_environment(tmp_path, empty_store, monkeypatch):
    (tmp_path / "before").mkdir()
    store = make_store(tmp_path / "before", empty_store)
    study = make_study(store, tmp_path)
    (tmp_path / "before").rename(tmp_path / "after")
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(StudyError, match=r"which is gone: put it back where it was, or set MLFLOW_TRACKING"):
        client_of(study)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/after/mlflow.db")
    reopen_parent(study)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    assert client_of(study).get_run(study.facts["parent_run_id"]).info.status == "RUNNING"
    assert not (tmp_path / "before").exists()


def test_long_trial_shows_while_it_runs_and_goes_on_in_its_run(study):
    writing = MlflowRecord(study, live_after=0.0)
    history = {"valid_rmse": [0.9, 0.8], "train_rmse": [0.9, 0.8], "seconds": [0.1, 0.1]}
    trial = RunningTrial("trial-001", 1, {}, "random", CONFIG, started=time.time() - 1, history=history)
    writing.advanced(None, trial)
    wait_for(lambda: "trial-001" in runs_of(study) and runs_of(study)["trial-001"].data.metrics)
    (run,) = runs_of(study).values()
    assert run.info.status == "RUNNING"
    # The process is killed; the next one trains it anew, at other times.
    again = MlflowRecord(study, live_after=0.0)
    longer = {key: [*figures, 0.7] for key, figures in history.items()}
    final = result("trial-001", 0.7, history=longer, started=time.time(), config=CONFIG.to_dict())
    ended(study, final)
    again.ended(None, final)
    again.close()
    writing.close()
    (found,) = runs_of(study).values()
    assert found.info.run_id == run.info.run_id
    steps = client_of(study).get_metric_history(run.info.run_id, "valid_rmse")
    assert [m.step for m in steps] == [1, 2, 3]


def test_short_trial_has_no_run_before_it_ends(study):
    writing = MlflowRecord(study, live_after=60.0)
    history = {"valid_rmse": [0.9], "train_rmse": [0.9], "seconds": [0.1]}
    trial = RunningTrial("trial-001", 1, {}, "random", CONFIG, started=time.time() - 1, history=history)
    writing.advanced(None, trial)
    other = result("trial-002", config=CONFIG.to_dict())
    ended(study, other)
    writing.ended(None, other)
    wait_for(lambda: runs_of(study) and study.recorded())
    assert writing.close() == 0
    assert sorted(runs_of(study)) == ["trial-002"]


def test_run_holds_no_figures_of_an_attempt_that_was_cut_off_further_on(study):
    writing = MlflowRecord(study, live_after=0.0)
    history = {key: [0.9, 0.8, 0.7] for key in ("valid_rmse", "train_rmse", "seconds")}
    trial = RunningTrial("trial-001", 1, {}, "random", CONFIG, started=time.time() - 1, history=history)
    writing.advanced(None, trial)
    wait_for(lambda: "trial-001" in runs_of(study) and runs_of(study)["trial-001"].data.metrics)
    # Its process died, and meanwhile others ended: this time it was stopped after two iterations.
    once_more = {key: figures[:2] for key, figures in history.items()}
    ended(
        study, result("trial-001", config=CONFIG.to_dict(), history=once_more, valid_rmse=0.8, iterations=2)
    )
    writing.ended(None, study.trials()[0])
    assert writing.close() == 0
    (run,) = runs_of(study).values()
    steps = [metric.step for metric in client_of(study).get_metric_history(run.info.run_id, "valid_rmse")]
    assert steps == [1, 2]
    assert run.data.metrics["valid_rmse"] == 0.8
    assert study.trials()[0]["run_id"] == run.info.run_id


def test_parent_tells_the_story_of_the_search(study):
    ended(
        study,
        result("trial-001", 0.9),
        result("trial-002", 0.95),
        result("trial-003", 0.8),
        with_factors=False,
    )
    MlflowRecord(study).close()
    finish_parent(study, "FINISHED")
    client = client_of(study)
    parent = client.get_run(study.facts["parent_run_id"])
    history = client.get_metric_history(parent.info.run_id, "best_valid_rmse")
    assert [(m.step, m.value) for m in history] == [(1, 0.9), (2, 0.9), (3, 0.8)]
    assert parent.info.status == "FINISHED"
    assert parent.data.tags["walslab.best_trial"] == "trial-003"
    artifacts = {a.path for a in client.list_artifacts(parent.info.run_id)}
    assert artifacts >= {"report.html", "trials.json", "trials.csv", "spec.json"}


@pytest.mark.parametrize(
    ("uri", "path"),
    [
        ("file:///a/b%20c", "/a/b c"),
        ("/a/b", "/a/b"),
        ("file://elsewhere/a", None),
        ("mlflow-artifacts:/0/a", None),
        ("s3://bucket/a", None),
        (None, None),
    ],
)
def test_artifacts_on_this_disk_are_told_from_others(uri, path):
    found = local_path(uri)
    assert (None if found is None else str(found)) == path
