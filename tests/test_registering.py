"""A refit in MLflow's registry: what a version says, who gets the alias, and what goes wrong on the way."""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import warnings
from dataclasses import replace
from types import SimpleNamespace

import mlflow
import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner

from cluster.cli import main
from toolkit import WALS, Model, RatingsDataset, RunOptions, WALSConfig
from toolkit.errors import ConfigError, ModelError, StudyError
from toolkit.serving import load_served, open_model
from tune import SearchSpec, create_study, refit_best, run_study
from tune.refit import Target
from tune.refit.comparison import Comparison, compare
from tune.refit.registry import Registry
from tune.study import Study


def invoke(*arguments, code=0):
    done = CliRunner().invoke(main, [*map(str, arguments)], catch_exceptions=code == 0)
    assert done.exit_code == code, done.output
    return done


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, empty_store):
    """A folder with a dataset, a study of it, and a file of titles."""
    folder = tmp_path_factory.mktemp("registry")
    shutil.copyfile(empty_store, folder / "mlflow.db")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr("tune.report.write_report", lambda *_, **__: [])
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        invoke("synth", "--ratings", 2000, "--users", 100, "--items", 50, "--out", "r.csv")
        invoke("ingest", "r.csv", "--out", "data")
        invoke("tune", "data", "--in-process", "--trials", 2, "--name", "first", "--seed", 1)
        items = RatingsDataset.open("data").item_ids
        lines = ["item,title", *(f"{item},The {item}th" for item in items)]
        (folder / "titles.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture
def here(workshop, monkeypatch):
    monkeypatch.chdir(workshop)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return workshop


@pytest.fixture(scope="module")
def client(workshop):
    return mlflow.MlflowClient(f"sqlite:///{workshop}/mlflow.db")


def refit(*arguments, out, code=0):
    done = invoke("refit", "first", "--out", out, *arguments, "--json", code=code)
    return json.loads(done.stdout.splitlines()[-1])["registered"] if code == 0 else done.output


@pytest.fixture(scope="module")
def first(workshop):
    """The study, its dataset, its refit, and what the command says of the first version of movies."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(workshop)
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        told = refit(
            "--register", "movies", "--alias", "champion", "--titles", "titles.csv", out="models/first"
        )
        study, data = Study.open("first"), RatingsDataset.open("data")
        folder = workshop / "models/first"
        facts, model = dict(study.facts), Model.load(folder)
        return SimpleNamespace(told=told, study=study, data=data, folder=folder, facts=facts, model=model)


def write_plain(folder, out, *, metadata):
    """Write what `open_model` reads of an MLflow model, without the code that answers requests."""
    shutil.copytree(folder, out / "artifacts" / "model")
    (out / "MLmodel").write_text(json.dumps({"flavors": {}, "metadata": {"walslab": {}, **metadata}}))


@pytest.fixture
def register(first, client, monkeypatch):
    """Return a function that registers a model of the study without training it anew, that of the refit."""
    monkeypatch.setattr("tune.refit.registry.write_mlflow_model", write_plain)

    def register(name, alias=None, *, promote="better", folder=first.folder, **facts):
        registry = Registry(client, Target(name, alias, promote))
        return registry.register(folder, Model.load(folder), first.study, first.data, facts)

    return register


@pytest.mark.integration
def test_the_first_version_is_champion_and_says_where_it_comes_from(here, client, first):
    told, study, data = first.told, first.study, first.data
    assert (told["name"], told["alias"], told["compared"]) == ("movies", "champion", None)
    version = client.get_model_version_by_alias("movies", "champion")
    assert str(version.version) == told["version"]
    assert version.run_id == first.facts["parent_run_id"]
    assert version.tags["walslab.study"] == "first"
    assert version.tags["walslab.dataset_digest"] == data.digest
    assert version.tags["walslab.trial"] == study.best()["trial"]
    assert float(version.tags["walslab.test_rmse"]) == first.facts["refit"]["test_rmse"]
    served = load_served_of(client, "models:/movies@champion", here / "got")
    assert served.dataset_digest == data.digest
    assert served.titles[0] == first.model.titles[0] == f"The {data.item_ids[0]}th"
    np.testing.assert_array_equal(served.factors.users.factors, first.model.factors.users.factors)


def load_served_of(client, uri, folder):
    folder.mkdir(exist_ok=True)
    path = mlflow.artifacts.download_artifacts(uri, dst_path=str(folder), tracking_uri=client.tracking_uri)
    return load_served(path)


@pytest.mark.integration
def test_an_equal_one_does_not_take_the_alias_unless_told_to(here, client, first, register):
    one, other = (register("equal", "champion") for _ in range(2))
    assert (one.version, one.alias) == ("1", "champion")
    assert (other.version, other.alias) == ("2", None)
    assert other.compared.new_rmse == other.compared.champion_rmse
    assert other.compared.ratings == first.data.test.nnz
    assert "version 1 keeps champion: test RMSE" in other.reason
    assert str(client.get_model_version_by_alias("equal", "champion").version) == "1"
    third = register("equal", "champion", promote="always")
    assert str(client.get_model_version_by_alias("equal", "champion").version) == third.version == "3"


@pytest.mark.integration
def test_a_better_one_takes_the_alias(here, first, register):
    """The study's own model beside one that does not know the users apart."""
    good, poor = first.model, here / "models/poor"
    factors = replace(good.factors, mean=good.factors.mean + 1)
    ids = {"user_ids": good.users.ids, "item_ids": good.items.ids}
    WALS.from_factors(factors, good.rated, **ids).save(poor)
    assert register("better", "champion", folder=poor).alias == "champion"
    told = register("better", "champion", test_rmse=0.5, n=None)
    assert (told.version, told.alias) == ("2", "champion")
    assert told.compared.better
    assert "of version 1" in told.reason
    # Compared with the version that has the alias, which is no longer the first.
    kept = register("better", "champion", folder=poor)
    assert (kept.alias, kept.compared.version) == (None, "2")
    assert kept.compared.champion_rmse < kept.compared.new_rmse


@pytest.mark.integration
def test_a_second_refit_leaves_nothing_of_the_first_in_the_run(here, client, monkeypatch):
    monkeypatch.setattr("tune.report.calibration_picture", lambda *_: "")
    run_id = Study.open("first").facts["parent_run_id"]
    sampled = ("--posterior", "--samples", 3, "--keep", 2)
    for out, arguments in (("models/sampled", sampled), ("models/one", ())):
        told = json.loads(
            invoke("refit", "first", "--out", out, *arguments, "--json").stdout.splitlines()[-1]
        )
        files = {entry.path for entry in client.list_artifacts(run_id, "model")}
        assert files == {f"model/{path.name}" for path in (here / out).iterdir()}
    assert "model/samples" not in files
    assert told["posterior"] is None


@pytest.mark.integration
def test_without_an_alias_it_is_a_version_and_no_more(here, client, register):
    made = register("plain")
    assert (made.version, made.alias, made.reason) == ("1", None, "")
    assert client.get_registered_model("plain").aliases == {}


@pytest.mark.integration
def test_what_is_not_a_model_of_ours_keeps_the_alias(here, client, register, tmp_path):
    class Other(mlflow.pyfunc.PythonModel):
        def predict(self, model_input: list[str]):
            return model_input

    mlflow.pyfunc.save_model(str(tmp_path / "other"), python_model=Other(), pip_requirements=["mlflow"])
    client.create_registered_model("foreign")
    client.create_model_version("foreign", str(tmp_path / "other"))
    client.set_registered_model_alias("foreign", "champion", "1")
    output = refit("--register", "foreign", "--alias", "champion", out="models/f", code=2)
    assert "walslab" in output
    assert str(client.get_model_version_by_alias("foreign", "champion").version) == "1"
    assert register("foreign", "champion", promote="always").alias == "champion"


@pytest.mark.integration
def test_a_registry_that_fails_leaves_no_model_half_there(here, client, first, register, monkeypatch):
    search = lambda: {  # noqa: E731
        m.model_id for m in client.search_logged_models(experiment_ids=[first.facts["experiment_id"]])
    }
    before = search()

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(mlflow.MlflowClient, "log_model_artifacts", fail)
    with pytest.raises(StudyError, match=r"but the registry did not take it.*No space left") as raised:
        register("full")
    assert f"the model is in {first.folder}, " in str(raised.value)
    assert search() == before


@pytest.mark.integration
def test_a_study_is_registered_in_its_own_store_from_anywhere(here, client, register, monkeypatch, tmp_path):
    register("Bob's v1.0", "champion")
    monkeypatch.chdir(tmp_path)
    done = invoke(
        *("refit", here / "studies/first", "--dataset", here / "data", "--out", "m"),
        *("--register", "Bob's v1.0", "--alias", "champion", "--promote", "always", "--json"),
    )
    told = json.loads(done.stdout.splitlines()[-1])["registered"]
    assert (told["version"], told["alias"], told["compared"]["known"]) == ("2", "champion", 1)
    assert str(client.get_model_version_by_alias("Bob's v1.0", "champion").version) == "2"
    assert not (tmp_path / "mlflow.db").exists()
    assert "MLFLOW_TRACKING_URI" not in os.environ


def state_of_process():
    """Return all that a notebook shares with a study: variables, loggers, signals, warnings, addresses."""
    loggers = [logging.getLogger(name) for name in sorted(logging.root.manager.loggerDict)]
    return {
        "environment": dict(os.environ),
        "levels": {logger.name: logger.level for logger in loggers},
        "signals": {number: signal.getsignal(number) for number in signal.valid_signals()},
        "warnings": list(warnings.filters),
        "addresses": (mlflow.get_tracking_uri(), mlflow.get_registry_uri()),
    }


@pytest.mark.integration
@pytest.mark.parametrize(
    "address", [None, pytest.param("sqlite:///of-the-notebook.db", marks=pytest.mark.slow)]
)
def test_process_is_afterwards_what_it_was(here, empty_store, monkeypatch, tmp_path, address):
    import optuna

    optuna.logging.get_verbosity()  # the first call sets the level of Optuna's logger
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(empty_store, "mlflow.db")
    mlflow.set_tracking_uri(address)
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_TIMEOUT", "7")
    if address is None:  # once with the report is enough
        monkeypatch.setattr("tune.report.write_report", lambda *_, **__: [])
    data = RatingsDataset.open(here / "data")
    spec = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 4}, "iterations": 2}, "trials": 1})

    def steps():
        yield "start"
        study = create_study(tmp_path / "study", data, spec)
        yield "create_study"
        run_study(study, data, executor="in-process")
        yield "run_study"
        refit_best(study, data, tmp_path / "model", register=Target("kept", "champion"))
        yield "refit_best"
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("MLFLOW_TRACKING_URI", study.facts["tracking_uri"])
            open_model("models:/kept@champion")
        yield "open_model"
        with pytest.raises(ModelError):
            open_model("models:/nothing@champion")
        yield "a failure"

    try:
        before = None
        for step in steps():
            now = state_of_process()
            # A library that is imported on the way brings loggers of its own.
            shared = {name: now["levels"].get(name) for name in (before or now)["levels"]}
            assert (step, {**now, "levels": shared}) == (step, before or {**now, "levels": shared})
            before = before or now
    finally:
        mlflow.set_tracking_uri(None)


@pytest.mark.parametrize("name", ["a/b", "a:b", "", " "])
def test_names_that_mlflow_does_not_take_are_refused_before_training(name):
    with pytest.raises(ConfigError, match="without / and :"):
        Target(name)


@pytest.mark.parametrize("alias", ["latest", "v1", "a b", "", "é"])
def test_aliases_that_mlflow_does_not_take_are_refused(alias):
    with pytest.raises(ConfigError, match="an alias must be"):
        Target("movies", alias)


def test_registry_that_does_not_answer_is_told_before_training():
    def fail(**_):
        raise OSError("no route to http://ann:secret@host")

    with pytest.raises(StudyError, match=r"does not answer: no route to http://ann:\*\*\*@host"):
        Registry(SimpleNamespace(search_registered_models=fail), Target("movies"))


def test_alias_without_a_name_is_bad_usage():
    output = invoke("refit", "first", "--alias", "champion", code=2).output
    assert "name it with --register" in output


def dense(rows, columns):
    rng = np.random.default_rng(0)
    return sp.csr_matrix(rng.integers(1, 6, (rows, columns)).astype(float))


def test_models_are_compared_on_what_neither_was_trained_on():
    """A champion that saw some of today's test ratings is not measured on them, nor the new one."""
    options = RunOptions(backend="numpy")
    ratings = dense(8, 6)
    old, new = ratings.copy(), ratings.copy()
    old[0, 0] = new[1, 1] = new[2, 2] = 0
    for matrix in (old, new):
        matrix.eliminate_zeros()
    config = WALSConfig(factors=2, iterations=3)
    ids = {"user_ids": np.arange(8) * 10, "item_ids": np.array(list("abcdef"))}
    champion, fresh = WALS(config, options).fit(old, **ids), WALS(config, options).fit(new, **ids)
    pairs = [(0, 0), (1, 1), (2, 2), (7, 5)]
    test = sp.coo_matrix((np.array([3.0, 4, 5, 2]), np.transpose(pairs)), shape=(8, 6))
    data = SimpleNamespace(test=test, **ids)
    assert compare(fresh, champion, data, "1") == Comparison("1", 0, 0.0, None, None)
    both = sp.csr_matrix(old.multiply(new > 0))
    champion, fresh = WALS(config, options).fit(both, **ids), WALS(config, options).fit(both, **ids)
    found = compare(fresh, champion, data, "1")
    assert found.ratings == 3
    error = fresh.predict([0, 10, 20], ["a", "b", "c"]) - [3, 4, 5]
    assert found.new_rmse == found.champion_rmse == pytest.approx(np.sqrt(np.mean(error**2)))
    assert not found.better


def test_a_champion_of_other_users_predicts_by_the_average():
    config, options = WALSConfig(factors=2, iterations=3), RunOptions(backend="numpy")
    champion = WALS(config, options).fit(dense(4, 6), user_ids=[100, 101, 102, 103])
    fresh = WALS(config, options).fit(dense(8, 6))
    test = sp.coo_matrix(([3.0], ([2], [7])), shape=(8, 8))
    data = SimpleNamespace(test=test, user_ids=np.arange(8), item_ids=np.arange(8))
    found = compare(fresh, champion, data, "3")
    assert (found.ratings, found.known) == (1, 0)
    alias, reason = Registry(
        SimpleNamespace(search_registered_models=lambda **_: None), Target("m", "best")
    )._verdict(found)
    assert alias is None
    assert "it knows user and item of 0% of the test ratings only" in reason
    assert found.champion_rmse == abs(champion.predict(2, 7, unknown="average")[0] - 3)
