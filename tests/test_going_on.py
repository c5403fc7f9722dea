"""A study that is there already: asked for once more, with more trials, other keys, or its posterior."""

from __future__ import annotations

import contextlib
import json
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from trials import end

from cluster.cli import main
from toolkit.config import WALSConfig
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.models import WALS
from tune.record import client_of
from tune.study import Study

SPEC = "space: {factors: {low: 2, high: 4}, iterations: 2}\ntrials: 2\n"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    """A small dataset."""
    root = tmp_path_factory.mktemp("data")
    rows = [f"{u},{i},{(u * i) % 5 + 1}" for u in range(30) for i in range(20) if (u + i) % 3]
    (root / "r.csv").write_text("user,item,rating\n" + "\n".join(rows))
    rule = SplitRule(valid=0.2, test=0.1)
    return ingest_ratings(RatingsSource.detect([root / "r.csv"]), root / "dataset", split=rule).where


@pytest.fixture
def folder(tmp_path, empty_store, monkeypatch, undrawn):
    """A current folder with a specification, and a record of its own."""
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "WALSLAB_STUDIES", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "search.yaml").write_text(SPEC)
    return tmp_path


def run(*words, code=0):
    done = CliRunner().invoke(main, [*map(str, words), "--in-process", "--json"])
    assert done.exit_code == code, done.output
    return json.loads(done.stdout.splitlines()[-1]) if code == 0 else done.stderr


def test_number_of_trials_is_absolute_however_the_study_is_named(folder, dataset):
    words = ("tune", dataset, "--spec", "search.yaml", "--name", "first")
    assert run(*words)["trials"] == 2
    assert run("tune", "--name", "first", "--trials", 3)["trials"] == 3
    assert run(*words, "--trials", 3)["trials"] == 3  # said twice, it is said once
    assert run("tune", "--name", "first", "--spec", "search.yaml", "--trials", 3)["trials"] == 3
    assert run(*words)["trials"] == 3  # the words that made it

    refused = run("tune", "--name", "first", "--trials", 2, code=1)
    assert "has 3 trials already, and 2 are fewer: a study never gives trials back" in refused
    (folder / "search.yaml").write_text(SPEC.replace("trials: 2", "trials: 9"))
    assert "study first has 3 trials, but search.yaml asks for 9: give --trials" in run(*words, code=1)
    (folder / "search.yaml").write_text(SPEC.replace("high: 4", "high: 5"))
    assert "already, with another space: choose another --name" in run(*words, code=1)
    assert "with another seed:" in run("tune", "--name", "first", "--seed", 7, code=1)
    refused = run("tune", "--name", "first", "--concurrency", 7, code=1)
    assert "with another concurrency: " in refused
    assert "resume first`, which can also change that" in refused
    assert "there is no study" in run("tune", "--name", "frist", "--trials", 9, code=1)
    assert "Missing argument 'DIR'" in run("tune", "--trials", 9, code=2)


def test_resume_takes_what_may_change_and_keeps_it(folder, dataset):
    words = ("tune", dataset, "--spec", "search.yaml", "--name", "first")
    run(*words)
    run("resume", "first", "--concurrency", 3, "--cpu", 2, "--max-seconds", 90.5, "--max-failures", "none")
    spec = Study.open("first").spec
    assert (spec.concurrency, spec.cpu, spec.gpu) == (3, 2, 0)
    assert (spec.max_seconds, spec.max_failures) == (90.5, None)
    assert run(*words)["trials"] == 2  # it is the same study as before
    assert Study.open("first").spec == spec
    study = Study.open("first")
    client, run_id = client_of(study), study.facts["parent_run_id"]
    tags = {key: text for key, text in client.get_run(run_id).data.tags.items() if "walslab.spec" in key}
    assert tags == {
        "walslab.spec.concurrency": "3",
        "walslab.spec.max_failures": "none",
        "walslab.spec.max_seconds": "90.5",
        "walslab.spec.resources.cpu": "2.0",
        "walslab.spec.resources.gpu": "0.0",
    }
    assert client.get_run(run_id).data.params["concurrency"] == "auto"  # as it was asked for
    assert json.loads(Path(client.download_artifacts(run_id, "spec.json")).read_text()) == spec.to_dict()
    run("resume", "first", "--max-seconds", "none")
    assert client.get_run(run_id).data.tags["walslab.spec.max_seconds"] == "none"
    assert "'fast' is neither a number nor 'auto'" in run("resume", "first", "--concurrency", "fast", code=2)
    assert "concurrency must be" in run("resume", "first", "--concurrency", 0, code=2)
    assert "No such option" in run("resume", "first", "--seed", 7, code=2)


def test_study_with_too_many_failures_and_a_finished_trial_says_what_can_be_done(folder, dataset):
    run("tune", dataset, "--spec", "search.yaml", "--name", "first")
    study = Study.open("first")
    failed = {
        **study.trials()[0],
        "trial": "trial-003",
        "number": 3,
        "status": "FAILED",
        "reason": "singular",
    }
    end(study, failed)
    done = CliRunner().invoke(main, ["resume", "first", "--max-failures", "1", "--in-process"])
    assert done.exit_code == 1
    assert "No trial succeeded" not in done.stdout
    assert "as many trials failed as its max_failures allows (1)" in done.stdout
    assert "walslab resume first --max-failures none" in done.stdout
    assert "walslab refit first" in done.stdout


@pytest.fixture
def steps(monkeypatch):
    """Samplings are short; the steps that commands show, and at which of them the process is killed."""
    told, killed_at = [], []

    def show(stage, done, total):
        told.append((stage, done, total))
        if done in killed_at:
            raise KeyboardInterrupt

    monkeypatch.setattr("tune.refit.SAMPLES", 12)
    monkeypatch.setattr("toolkit.commands.progress", lambda: contextlib.nullcontext(show))
    return told, killed_at


def test_posterior_is_the_last_step_of_a_study_and_is_sampled_once(folder, dataset, steps):
    told, killed_at = steps
    words = ("tune", dataset, "--spec", "search.yaml", "--name", "first")
    (folder / "search.yaml").write_text(f"{SPEC}posterior: true\n")
    killed_at.append(70)  # a sampling is 42 sweeps on the training ratings, and 42 on more
    assert CliRunner().invoke(main, [*words, "--in-process"]).exit_code == 1
    assert Study.open("first").status() == "finished"
    killed_at.clear()
    told.clear()
    refit = run("resume", "first")["refit"]
    assert told[:2] == [("sampling", 0, 84), ("sampling", 63, 84)]  # after the last checkpoint
    assert not Path("studies/first/model.sampling").exists()
    assert refit["model"] == "studies/first/model"
    assert refit["posterior"]["samples"] == 12
    study, model = Study.open("first"), WALS.load(refit["model"])
    assert model.posterior.facts == refit["posterior"]
    client, run_id = client_of(study), study.facts["parent_run_id"]
    metrics = client.get_run(run_id).data.metrics
    assert metrics["test_rmse"] == refit["test_rmse"]
    assert metrics["posterior_valid_rmse"] == pytest.approx(refit["posterior"]["valid_rmse"])
    assert {file.path for file in client.list_artifacts(run_id)} >= {"model", "calibration.svg"}

    told.clear()
    again = [run(*words)["refit"], run("resume", "first")["refit"]]
    assert told == []
    assert again == [refit, refit]
    # A better trial has another posterior.
    better = {**study.trials()[0], "trial": "trial-003", "number": 3, "valid_rmse": 0.01}
    end(study, {**better, "config": WALSConfig(factors=5).to_dict()})
    assert run("resume", "first")["refit"].keys() == refit.keys()
    assert WALS.load(refit["model"]).config.factors == 5
    # One of the user counts as well.
    refit = run_refit("--posterior", "--keep", 2, "--overwrite")
    assert run("resume", "first")["refit"] == refit


def test_posterior_does_not_replace_what_a_user_made(folder, dataset, steps):
    _, killed_at = steps
    (folder / "search.yaml").write_text(f"{SPEC}posterior: true\n")
    killed_at.append(0)
    words = ("tune", dataset, "--spec", "search.yaml", "--name", "first", "--in-process")
    assert CliRunner().invoke(main, words).exit_code == 1
    killed_at.clear()
    run_refit()
    error = run("resume", "first", code=1)
    assert "study first is finished, but its posterior is not: studies/first/model has a model that" in error
    assert "`walslab refit first --posterior --overwrite`" in error
    assert "go on by `walslab resume first`" in error
    assert WALS.load("studies/first/model").posterior is None
    assert Study.open("first").status() == "finished"


def run_refit(*words):
    done = CliRunner().invoke(main, ["refit", "first", *map(str, words), "--json"])
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout.splitlines()[-1])


def test_study_that_is_older_than_a_key_goes_on(folder, dataset):
    words = ("tune", dataset, "--spec", "search.yaml", "--name", "first")
    run(*words)
    path = Path("studies/first/study.json")
    asked = json.loads(path.read_text())
    del asked["spec"]["posterior"]
    path.write_text(json.dumps(asked))
    for line in (words, ("resume", "first")):
        assert run(*line)["refit"] is None
    (folder / "search.yaml").write_text(f"{SPEC}posterior: true\n")
    assert "already, with another posterior: " in run(*words, code=1)
