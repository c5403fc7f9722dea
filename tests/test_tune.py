"""A study end to end: real local Ray, a real SQLite MLflow store, the command line as users call it."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from mlflow import MlflowClient

from cluster.cli import main
from toolkit.backends import Backend
from toolkit.datasets import RatingsDataset
from toolkit.evaluation import rmse
from toolkit.files import process_settings
from toolkit.models import WALS
from toolkit.solver import Factors
from tune.executors import connected
from tune.record import MlflowRecord
from tune.study import Study

# Of the report that a study ends with are test_record.py and test_report.py.
pytestmark = [pytest.mark.integration, pytest.mark.usefixtures("undrawn")]

SPEC = """
space:
  factors: {low: 2, high: 4}
  iterations: 4
  regularization: {low: 0.01, high: 1.0, scale: log}
trials: 4
startup_trials: 2
early_stopping: {grace_iterations: 2, reduction_factor: 2}
"""


def invoke(*arguments):
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def made_up_ratings_csv(tmp_path_factory):
    """A ratings file with a header: 150 users, 60 items, ids with gaps."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((150, 2)), rng.standard_normal((60, 2))
    users, items = np.nonzero(rng.random((150, 60)) < 0.3)
    ratings = np.clip(np.rint(3.5 + (x @ y.T)[users, items] + 0.3 * rng.standard_normal(len(users))), 1, 5)
    path = tmp_path_factory.mktemp("ratings") / "ratings.csv"
    rows = zip(users * 7 + 1, items * 3 + 10, ratings, strict=True)
    path.write_text("userId,movieId,rating\n" + "".join(f"{u},{i},{r:.0f}\n" for u, i, r in rows))
    return path


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, empty_store, made_up_ratings_csv):
    """A folder with a dataset, a finished study and its refitted model, made by the commands on one Ray."""
    folder = tmp_path_factory.mktemp("workshop")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch, process_settings(), contextlib.chdir(folder), connected():
        patch.setattr("tune.report.write_report", lambda *_, **__: [])
        invoke("ingest", made_up_ratings_csv, "--out", "dataset")
        (folder / "search.yaml").write_text(f"{SPEC}concurrency: 1\n")
        told = {
            "tune": invoke("tune", "dataset", "--spec", "search.yaml", "--name", "first"),
            "results": invoke("results", "first"),
            "refit": invoke("refit", "first"),
        }
        yield folder, told


def client_of(folder):
    return MlflowClient(tracking_uri=f"sqlite:///{folder}/mlflow.db")


def test_study_has_one_parent_and_a_finished_child_per_trial(workshop):
    folder, told = workshop
    client = client_of(folder)
    runs = client.search_runs([client.get_experiment_by_name("walslab").experiment_id])
    children = [r for r in runs if "mlflow.parentRunId" in r.data.tags]
    (parent,) = [r for r in runs if "mlflow.parentRunId" not in r.data.tags]
    assert parent.info.run_id == told["tune"]["parent_run_id"]
    assert parent.info.status == "FINISHED"
    assert parent.data.metrics["n_done"] == 4
    assert parent.data.metrics["n_failed"] == 0
    assert parent.data.metrics["best_valid_rmse"] == told["tune"]["best"]["valid_rmse"]
    assert parent.inputs.dataset_inputs[0].dataset.digest == RatingsDataset.open(folder / "dataset").digest
    assert len(children) == told["tune"]["trials"] == 4
    failed = [c.data.tags for c in children if c.info.status != "FINISHED"]
    assert failed == []
    assert {c.data.tags["mlflow.parentRunId"] for c in children} == {parent.info.run_id}
    for child in children:
        history = client.get_metric_history(child.info.run_id, "valid_rmse")
        assert [m.step for m in history] == list(range(1, len(history) + 1))
        assert len(history) >= 2
        assert set(child.data.params) >= {"factors", "regularization", "bias", "unobserved_weight"}


def test_factors_of_every_trial_reload_to_the_rmse_it_reported(workshop, tmp_path):
    folder, told = workshop
    valid = RatingsDataset.open(folder / "dataset").valid
    for trial in told["results"]["trials"]:
        path = client_of(folder).download_artifacts(trial["run_id"], "factors", str(tmp_path))
        factors = Factors.load(path)
        assert factors.config.to_dict() == trial["config"]
        assert factors.iterations == trial["iterations"]
        assert rmse(factors, valid.row, valid.col, valid.data, Backend()) == pytest.approx(
            trial["valid_rmse"], abs=1e-6
        )


def test_results_are_sorted_and_say_what_the_study_is(workshop):
    _, told = workshop
    scores = [t["valid_rmse"] for t in told["results"]["trials"]]
    assert scores == sorted(scores)
    assert told["results"]["status"] == "finished"
    assert told["tune"]["best"]["valid_rmse"] == scores[0]
    # A process of Ray measured them.
    to_beat = told["results"]["baselines"]
    assert scores[0] < min(to_beat["mean_rmse"], to_beat["bias_rmse"])
    assert set(told["tune"]) == {
        "study", "parent_run_id", "tracking_uri", "trials", "failed", "best", "baselines", "at_edge",
        "seconds", "trial_seconds", "refit",
    }  # fmt: skip


def test_refit_trains_on_train_and_valid_and_tests_once(workshop):
    folder, told = workshop
    data = RatingsDataset.open(folder / "dataset")
    model = WALS.load(told["refit"]["model"])
    assert model.rated.nnz == data.counts["train"] + data.counts["valid"]
    assert model.rmse(data.test) == pytest.approx(told["refit"]["test_rmse"], abs=1e-6)
    parent = client_of(folder).get_run(told["refit"]["run_id"])
    assert parent.data.metrics["test_rmse"] == told["refit"]["test_rmse"]
    assert {a.path for a in client_of(folder).list_artifacts(parent.info.run_id)} >= {"model", "spec.json"}
    assert (
        CliRunner().invoke(main, ["refit", "first"]).exit_code == 2
    )  # an existing model is not replaced unasked


def test_refit_model_recommends_and_exports(workshop):
    folder, told = workshop
    user = int(RatingsDataset.open(folder / "dataset").user_ids[0])
    answer = invoke("recommend", told["refit"]["model"], "--user", user, "-n", 3)
    assert answer["user"] == user
    assert len(answer["items"]) == 3
    invoke("export", told["refit"]["model"], "--out", "exported")
    row, col = np.load("exported/row.npy"), np.load("exported/col.npy")
    users, items = np.load("exported/user.npy"), np.load("exported/item.npy")
    for entry in answer["items"]:
        u, i = np.flatnonzero(users == user)[0], np.flatnonzero(items == entry["item"])[0]
        assert row[u] @ col[i] == pytest.approx(entry["score"], abs=1e-4)


def test_name_of_an_existing_study_is_refused_with_the_way_out(workshop):
    result = CliRunner().invoke(main, ["tune", "dataset", "--name", "first"])
    assert result.exit_code == 1
    assert "walslab resume" in result.stderr


def test_more_than_the_cluster_has_is_refused_not_awaited(workshop, tmp_path):
    spec = tmp_path / "greedy.yaml"
    spec.write_text(SPEC + "resources: {cpu: 1, gpu: 1}\n")
    result = CliRunner().invoke(main, ["tune", "dataset", "--spec", str(spec), "--name", "greedy"])
    assert result.exit_code == 1
    assert "each trial asks for 1 CPU (resources.cpu), 1 GPU (resources.gpu), but no node" in result.stderr
    assert Study.open("greedy").facts["status"] == "interrupted"


@pytest.mark.parametrize("executor", ["in-process", pytest.param("ray", marks=pytest.mark.slow)])
def test_failed_trials_are_recorded_with_their_reason(workshop, tmp_path, executor):
    spec = tmp_path / "undetermined.yaml"
    # Without any regularization, users with fewer ratings than factors have no unique solution.
    spec.write_text(
        "space: {factors: {choices: [2, 64]}, iterations: 2, regularization: 0.0}\n"
        "trials: 4\nsampler: random\nseed: 1\nearly_stopping: none\n"
    )
    name = f"undetermined-{executor}"
    told = invoke("tune", "dataset", "--spec", spec, "--name", name, "--executor", executor)
    trials = Study.open(name).trials()
    failed = [t for t in trials if t["status"] == "FAILED"]
    assert told["trials"] == 4
    assert 0 < told["failed"] == len(failed) < 4
    assert all(t["config"]["factors"] == 64 and "set regularization above 0" in t["reason"] for t in failed)
    client = client_of(workshop[0])
    assert {client.get_run(t["run_id"]).info.status for t in failed} == {"FAILED"}
    assert client.get_run(told["parent_run_id"]).info.status == "FINISHED"


def test_dataset_without_validation_ratings_is_refused(workshop, made_up_ratings_csv):
    invoke("ingest", made_up_ratings_csv, "--out", "no-valid", "--valid", "0")
    result = CliRunner().invoke(main, ["tune", "no-valid", "--name", "hopeless"])
    assert result.exit_code == 1
    assert "no validation ratings" in result.stderr
    assert not Path("studies/hopeless").exists()


@pytest.mark.slow  # as a round of the fault campaign's short form
def test_killed_study_resumes_in_the_same_runs(workshop):
    folder, _ = workshop
    (folder / "longer.yaml").write_text(SPEC.replace("trials: 4", "trials: 12"))
    walslab = [sys.executable, "-m", "cluster"]
    root = Path(__file__).parent.parent
    environment = {**os.environ, "PYTHONPATH": str(root)}
    log = folder / "killed.log"
    with log.open("w") as out:
        process = subprocess.Popen(
            [*walslab, "tune", "dataset", "--spec", "longer.yaml", "--name", "killed"],
            cwd=folder, env=environment, stdout=out, stderr=out, start_new_session=True,
        )  # fmt: skip
    journal = folder / "studies/killed/journal.jsonl"
    deadline = time.monotonic() + 90
    while not (journal.exists() and journal.read_text().count('"ended"') >= 2):
        assert process.poll() is None, log.read_text()
        assert time.monotonic() < deadline, log.read_text()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    before = {t["trial"]: t for t in Study.open("killed").trials()}
    told = invoke("resume", "killed")
    assert told["trials"] == 12
    found = {t["trial"]: t for t in Study.open("killed").trials()}
    assert sorted(found) == [f"trial-{n:03d}" for n in range(1, 13)]
    assert len({t["run_id"] for t in found.values()}) == 12
    # What had ended was not run again.
    assert {name: found[name]["ended"] for name in before} == {n: t["ended"] for n, t in before.items()}
    client = client_of(folder)
    assert client.get_run(told["parent_run_id"]).info.status == "FINISHED"
    assert_recorded_once(client, told["parent_run_id"], 12)


def test_finished_study_is_extended_in_the_same_parent(workshop):
    first = invoke("tune", "dataset", "--spec", "search.yaml", "--name", "longer", "--in-process")
    again = invoke("tune", "--name", "longer", "--trials", 5, "--in-process")
    assert again["parent_run_id"] == first["parent_run_id"]
    assert again["trials"] == first["trials"] + 1 == 5
    assert_recorded_once(client_of(workshop[0]), again["parent_run_id"], 5)


def test_resume_of_a_finished_study_starts_no_ray(workshop, monkeypatch):
    def started(*_, **__):
        raise AssertionError("there is nothing to run")

    monkeypatch.setattr("tune.executors.connected", started)
    assert invoke("resume", "first")["trials"] == 4


def test_study_in_this_process_is_the_same_study(workshop):
    told = invoke("tune", "dataset", "--spec", "search.yaml", "--name", "here", "--in-process")
    ray, here = (
        {trial["trial"]: trial for trial in Study.open(study).trials()} for study in ("first", told["study"])
    )
    assert set(ray) == set(here)
    for name, trial in ray.items():
        same = ("number", "sampled", "config", "source", "stopped", "iterations", "status")
        assert {key: trial[key] for key in same} == {key: here[name][key] for key in same}
        assert trial["valid_rmse"] == pytest.approx(here[name]["valid_rmse"], abs=1e-5)


def test_study_starts_from_presets_points_and_earlier_studies(workshop):
    spec = workshop[0] / "started.yaml"
    spec.write_text(SPEC + "start: [ml-100k, {factors: 3, regularization: 0.5}, first]\n")
    told = invoke("tune", "dataset", "--spec", spec, "--name", "started", "--in-process")
    study = Study.open("started")
    trials = sorted(study.trials(), key=lambda trial: trial["number"])
    assert trials[0]["source"] == "preset ml-100k"
    assert (trials[1]["config"]["factors"], trials[1]["config"]["regularization"]) == (3, 0.5)
    # Trials of the same dataset and space are known: they teach the sampler and are not run again.
    assert len(study.facts["start"]["known"]) >= 1
    assert told["trials"] == 4


def test_budgets_of_time_and_failures_end_a_study(workshop):
    spec = workshop[0] / "budget.yaml"
    spec.write_text(SPEC.replace("trials: 4", "trials: 100000") + "max_seconds: 0.2\n")
    told = invoke("tune", "dataset", "--spec", spec, "--name", "in-time", "--in-process")
    assert 1 <= told["trials"] < 100000
    assert told["seconds"] < 60
    spec.write_text(
        "space: {factors: {low: 65, high: 70}, iterations: 2, regularization: 0.0}\n"
        "trials: 1000\nmax_failures: 3\nearly_stopping: none\n"
    )
    result = CliRunner().invoke(
        main, ["tune", "dataset", "--spec", str(spec), "--name", "failing", "--in-process"]
    )
    assert result.exit_code == 1
    assert "the study ends here: 3 trials failed (max_failures)" in result.stderr
    assert len(Study.open("failing").trials()) == 3


def assert_recorded_once(client, parent, n_trials):
    """Every trial has one child run, finished, and each of its iterations one value."""
    children = client.search_runs(
        [client.get_run(parent).info.experiment_id], f"tags.`mlflow.parentRunId` = '{parent}'"
    )
    assert len({c.info.run_name for c in children}) == len(children) == n_trials
    assert {c.info.status for c in children} == {"FINISHED"}
    for child in children:
        steps = [m.step for m in client.get_metric_history(child.info.run_id, "valid_rmse")]
        assert steps == list(range(1, len(steps) + 1))


def test_study_is_run_by_one_process_at_a_time(workshop):
    with Study.open("first").locked():
        result = CliRunner().invoke(main, ["resume", "first"])
    assert result.exit_code == 1
    assert f"is being run by process {os.getpid()}" in result.stderr


def test_study_without_a_successful_trial_fails(workshop, tmp_path):
    spec = tmp_path / "hopeless.yaml"
    spec.write_text(
        "space: {factors: {low: 65, high: 70}, iterations: 2, regularization: 0.0}\n"
        "trials: 1\nearly_stopping: none\n"
    )
    result = CliRunner().invoke(
        main, ["tune", "dataset", "--spec", str(spec), "--name", "hopeless", "--in-process"]
    )
    assert result.exit_code == 1
    assert "No trial succeeded" in result.stdout
    assert Study.open("hopeless").status() == "failed"
    parent = client_of(workshop[0]).get_run(Study.open("hopeless").facts["parent_run_id"])
    assert parent.info.status == "FAILED"


def test_study_is_refitted_from_another_folder(workshop, monkeypatch, tmp_path):
    folder, told = workshop
    monkeypatch.chdir(tmp_path)
    again = invoke("refit", folder / "studies/first", "--out", tmp_path / "model")
    assert again["test_rmse"] == told["refit"]["test_rmse"]
    assert not (tmp_path / "mlflow.db").exists()


def test_store_that_fails_in_the_middle_stops_no_trial_and_resume_records_them(workshop, monkeypatch):
    written, calls = MlflowClient.log_batch, []

    def full_after_two_trials(self, *args, **values):
        if threading.current_thread().name == "mlflow-record":
            calls.append(1)
            if len(calls) > 2:  # one for each trial
                raise OSError("disk full")
        return written(self, *args, **values)

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_batch", full_after_two_trials)
        patch.setattr("tune.record.MlflowRecord", functools.partial(MlflowRecord, patience=0.2))
        result = CliRunner().invoke(
            main, ["tune", "dataset", "--spec", "search.yaml", "--name", "full", "--in-process"]
        )
    assert result.exit_code == 1
    assert "2 of its trials are not yet in MLflow: disk full" in result.stderr
    assert "walslab resume full" in result.stderr
    found = Study.open("full").trials()
    assert len(found) == 4
    told = invoke("resume", "full", "--in-process")
    assert [t["ended"] for t in Study.open("full").trials()] == [t["ended"] for t in found]
    assert_recorded_once(client_of(workshop[0]), told["parent_run_id"], 4)
    assert client_of(workshop[0]).get_run(told["parent_run_id"]).info.status == "FINISHED"


def test_sparse_matrix_and_dataset_train_the_same_model(workshop):
    data = RatingsDataset.open("dataset")
    from_dataset, from_matrix = WALS().fit(data), WALS().fit(sp.csr_matrix(data.train))
    np.testing.assert_array_equal(from_dataset.factors.items.factors, from_matrix.factors.items.factors)


@pytest.mark.slow  # as those of test_trainable_on_ray.py; test_wals_trainable.py is quick
def test_a_tuner_of_ones_own_searches_stops_and_gives_a_model(workshop, tmp_path):
    import ray.tune as ray_tune
    from ray.tune.schedulers import ASHAScheduler
    from ray.tune.search.optuna import OptunaSearch

    from tune import WALSTrainable

    tuner = ray_tune.Tuner(
        ray_tune.with_parameters(WALSTrainable, data=workshop[0] / "dataset", metrics=["ndcg@5"]),
        param_space={"factors": ray_tune.randint(2, 5), "regularization": 0.1, "iterations": 4},
        tune_config=ray_tune.TuneConfig(
            metric="valid_ndcg_5",
            mode="max",
            num_samples=4,
            max_concurrent_trials=2,
            reuse_actors=True,
            search_alg=OptunaSearch(),
            scheduler=ASHAScheduler(max_t=4, grace_period=2, reduction_factor=2),
        ),
        run_config=ray_tune.RunConfig(storage_path=str(tmp_path), verbose=0),
    )
    results = tuner.fit()
    assert (len(results), results.num_errors) == (4, 0)
    assert {result.metrics["training_iteration"] for result in results} <= {2, 4}
    best = results.get_best_result()
    data = RatingsDataset.open(workshop[0] / "dataset")
    model = WALSTrainable.model_of(best, data)
    assert model.factors.iterations == best.metrics["training_iteration"]
    assert model.rmse(data.valid) == pytest.approx(best.metrics["valid_rmse"], abs=1e-6)
