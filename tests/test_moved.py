"""A project that is moved: studies, datasets and stores find each other, and doctor says what is gone."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from mlflow.tracking._tracking_service import utils

from cluster.cli import main
from toolkit.errors import ModelError
from toolkit.serving import open_model
from tune.study import Study

pytestmark = pytest.mark.usefixtures("undrawn")


def invoke(*arguments, code=0):
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=code == 0)
    assert done.exit_code == code, done.output
    return done.output


@pytest.fixture(scope="module")
def made(tmp_path_factory, empty_store):
    """A project with a dataset, a study of one trial and a registered model."""
    folder = tmp_path_factory.mktemp("made") / "a project"
    folder.mkdir()
    shutil.copyfile(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tune.report.write_report", lambda *_, **__: [])
        patch.chdir(folder)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        invoke("synth", "--ratings", 1000, "--users", 100, "--items", 50, "--out", "r.csv")
        invoke("ingest", "r.csv", "--out", "data")
        (folder / "search.yaml").write_text("space: {factors: {low: 2, high: 4}, iterations: 2}\ntrials: 1\n")
        invoke("tune", "data", "--spec", "search.yaml", "--in-process", "--name", "first")
        invoke("refit", "first", "--register", "films", "--alias", "champion")
    return folder


@pytest.fixture
def moved(made, tmp_path, monkeypatch):
    """The same project under another name; the old one is gone meanwhile."""
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    aside = shutil.copytree(made, made.with_name("aside"))
    after = made.rename(tmp_path / "after")
    monkeypatch.chdir(after)
    # MLflow keeps the places of runs as long as a process lives.
    utils._artifact_repos_cache.clear()
    yield after
    monkeypatch.undo()
    recreated = made.exists()
    shutil.rmtree(made, ignore_errors=True)
    aside.rename(made)
    assert not recreated


def test_a_project_that_moved_goes_on(made, moved):
    assert json.loads((moved / "studies/first/study.json").read_text())["dataset"] == "../../data"
    assert "trial-001" in invoke("results", "first")
    assert invoke("doctor", "first").count("ok ") == 4
    invoke("tune", "--name", "first", "--trials", 2, "--in-process")
    assert len(Study.open("first").trials()) == 2
    invoke("refit", "first", "--overwrite", "--register", "films", "--alias", "champion")
    assert len(open_model("models:/films@champion").users) == 100
    assert Study.open("first").facts["refit"]["model"] == str(moved / "studies/first/model")


def test_doctor_names_what_is_gone_and_how_to_mend_it(made, moved):
    shutil.rmtree(moved / "data")
    shutil.rmtree(moved / "mlruns")
    told = invoke("doctor", "first", code=1)
    assert "is not a dataset" in told
    assert "walslab resume first --dataset DIR" in told
    assert "the factors of trial-00" in told
    for command in ("refit first", "resume first --in-process"):
        assert "name its place by --dataset DIR" in invoke(*command.split(), code=2)
    (moved / "mlflow.db").rename(moved / "elsewhere.db")
    assert "which is gone: put it back where it was, or set MLFLOW_TRACKING_URI" in invoke(
        "doctor", "first", code=1
    )


def test_a_champion_whose_files_are_gone_is_refused_before_training(made, moved, monkeypatch):
    shutil.rmtree(moved / "mlruns")
    with pytest.raises(ModelError, match=r"the files of .*@champion are not at .*mlruns.* any more"):
        open_model("models:/films@champion")
    monkeypatch.setattr("tune.refit.retraining._fit", lambda *_: pytest.fail("it trains"))
    told = invoke(*("refit", "first", "--overwrite", "--register", "films", "--alias", "champion"), code=2)
    assert "version 1 has the alias champion" in told
    assert "--promote always" in told
