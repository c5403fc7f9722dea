"""What a model has to beat: the mean, and mean and biases; and what is said of one that does not."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
import scipy.sparse as sp
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient
from trials import FACTS, ONE, end, made_up_trials, spec_of

from cluster.cli import main
from toolkit.backends import Backend
from toolkit.config import PRESETS, RunOptions
from toolkit.evaluation import pairs_on
from toolkit.models import Model, baseline_errors
from toolkit.solver import Baselines, TrainingData, shortfall
from tune.report import at_edge, remarks
from tune.study import Study

NUMPY = Backend.require("numpy")
OPTIONS = RunOptions(backend="numpy", dtype="float64")


def split(ratings, seed=1):
    """Return two thirds of the ratings to train on, and a third to measure on."""
    coo = ratings.tocoo()
    held_out = np.random.default_rng(seed).random(coo.nnz) < 1 / 3
    return (
        sp.csr_matrix((coo.data[which], (coo.row[which], coo.col[which])), shape=coo.shape)
        for which in (~held_out, held_out)
    )


def by_hand(train, test, damping):
    """Return both RMSEs from dense arrays: three solves of items and users, clipped to the ratings."""
    seen, dense = train.toarray() != 0, train.toarray()
    mean = train.data.mean()
    users, items = np.zeros(train.shape[0]), np.zeros(train.shape[1])
    for _ in range(3):
        items = (seen * (dense - mean - users[:, None])).sum(0) / (seen.sum(0) + damping)
        users = (seen * (dense - mean - items)).sum(1) / (seen.sum(1) + damping)
    coo = test.tocoo()
    predicted = np.clip(mean + users[coo.row] + items[coo.col], train.data.min(), train.data.max())
    return {
        "mean_rmse": np.sqrt(np.mean((mean - coo.data) ** 2)),
        "bias_rmse": np.sqrt(np.mean((predicted - coo.data) ** 2)),
    }


def test_baselines_are_the_mean_and_damped_biases(made_up_ratings):
    train, test = split(made_up_ratings(40, 25))
    without_choice = baseline_errors(train, {"test": test}, OPTIONS)["test"]
    assert without_choice == pytest.approx(by_hand(train, test, 3))
    assert baseline_errors(train, {"test": test}, OPTIONS, damping=20)["test"] == pytest.approx(
        by_hand(train, test, 20)
    )
    none = sp.csr_matrix(train.shape)
    assert baseline_errors(train, {"valid": none, "test": test}, OPTIONS) == {
        "valid": None,
        "test": pytest.approx(without_choice),
    }


@pytest.mark.parametrize(("noise", "damping"), [(0.01, 1), (4.0, 20)])
def test_the_penalty_of_biases_is_chosen_on_the_validation_ratings(made_up_ratings, noise, damping):
    train, valid = split(made_up_ratings(60, 30, rank=1, noise=noise, density=0.3))
    data = TrainingData(train, backend=NUMPY, dtype="float64")
    assert Baselines(data, pairs_on(NUMPY, valid)).damping == damping


@settings(max_examples=settings.default.max_examples)
@given(unit=st.floats(0.01, 100), sign=st.sampled_from([1, -1]), shift=st.floats(-50, 50))
def test_baselines_are_in_the_unit_of_the_ratings(made_up_ratings, unit, sign, shift):
    train, test = split(made_up_ratings(20, 12))
    before = baseline_errors(train, {"test": test}, OPTIONS)["test"]
    for matrix in (train, test):
        matrix.data = sign * unit * matrix.data + shift
    after = baseline_errors(train, {"test": test}, OPTIONS)["test"]
    assert after == pytest.approx({name: unit * error for name, error in before.items()}, rel=1e-6)


def test_a_model_that_is_not_below_its_biases_is_told_of():
    to_beat = {"mean_rmse": 1.2, "bias_rmse": 0.9}
    assert shortfall(0.8999, to_beat) is None
    assert "regularization" in shortfall(0.9, to_beat, of="It")
    assert shortfall(0.9, to_beat, of="It", sampled=True).endswith("may hold no more")
    assert "pattern_weight 0" in shortfall(0.95, to_beat, sampled=True)
    # Biases may be worse than the mean.
    assert "than the mean of the ratings" in shortfall(0.85, {"mean_rmse": 0.8, "bias_rmse": 0.9})
    # Nothing is known, or nothing could be better.
    assert [shortfall(None, to_beat), shortfall(0.9, None)] == [None, None]
    assert shortfall(0.0, {"mean_rmse": 0.0, "bias_rmse": 0.0}) is None


# A study


@pytest.mark.parametrize(
    ("name", "at", "ends"),
    [
        ("regularization", 2.0, {"regularization": "high"}),
        ("regularization", 0.1 * 20**0.985, {"regularization": "high"}),
        ("regularization", 0.1 * 20**0.975, {}),
        ("regularization", 0.1 * 20**0.015, {"regularization": "low"}),
        ("regularization_exponent", 0.79, {"regularization_exponent": "high"}),
        ("regularization_exponent", 0.7899, {}),
        ("factors", 8, {"factors": "low"}),
        ("factors", 9, {}),
        ("momentum", 0.9, {"momentum": "high"}),
        ("bias", "full", {}),
    ],
)
def test_ends_of_the_searched_range(name, at, ends):
    middle = {"factors": 30, "regularization": 0.5, "regularization_exponent": 0.5, "momentum": 0.6}
    assert at_edge({**middle, "bias": "mean", name: at}, spec_of().space) == ends


def test_an_end_beyond_which_nothing_is_valid_does_not_count():
    space = {"unobserved_weight": {"low": 0, "high": 1}, "momentum": {"low": 0, "high": 0.99}}
    spec = spec_of({**space, "bias_regularization": {"low": 1, "high": 9}})
    assert (
        at_edge({"unobserved_weight": 0.0, "momentum": 0.99, "bias_regularization": None}, spec.space) == {}
    )


def test_a_wider_range_is_one_that_a_file_may_have():
    spec = spec_of(
        {"factors": {"low": 4, "high": 600, "scale": "log"}, "momentum": {"low": 0.2, "high": 0.9}}
    )
    (trial,) = made_up_trials(1, spec, failing=0)
    for factors, momentum, wider in [
        (600, 0.9, ["factors: {low: 4, high: 1024, scale: log}", "momentum: {low: 0.2, high: 0.99}"]),
        (4, 0.2, ["factors: {low: 1, high: 600, scale: log}", "momentum: {low: 0, high: 0.9}"]),
    ]:
        trial["config"] |= {"factors": factors, "momentum": momentum}
        said = remarks(spec, [trial], None)
        assert [line.partition("such as ")[2] for line in said] == wider
        assert all(line.startswith(key) for line, key in zip(said, ("factors", "momentum"), strict=True))


@pytest.mark.parametrize(("factors", "widened"), [(600, False), (4, True)])
def test_more_factors_are_not_advised_to_a_trial_that_overfits(factors, widened):
    spec = spec_of({"factors": {"low": 4, "high": 600, "scale": "log"}})
    (trial,) = made_up_trials(1, spec, failing=0)
    trial["config"] |= {"factors": factors}
    low, *edges = remarks(spec, [trial], {"mean_rmse": 0.02, "bias_rmse": 0.01})
    assert "take fewer factors" in low
    assert [line.startswith("factors is at the lower end") for line in edges] == [True] * widened


@pytest.mark.parametrize(
    ("metric", "figures", "stuck"),
    [
        ("rmse", [0.0, 0.0], True),
        ("rmse", [0.0, 0.1], False),
        ("recall@10", [1.0, 1.0], True),
        ("recall@10", [0.0, 0.0], True),
        ("ndcg@10", [1.0, 0.9], False),
    ],
)
def test_a_metric_at_its_floor_or_ceiling_is_told_of(metric, figures, stuck):
    spec = spec_of({"factors": 8, "iterations": {"low": 1, "high": 90}}, metric=metric)
    trials = made_up_trials(2, spec, failing=0)
    for trial, figure in zip(trials, figures, strict=True):
        trial |= {"valid_rmse": 0.5 if spec.metric.k else figure, "config": {"iterations": 45}}
        trial["ranking"] = dict.fromkeys(spec.metric.keys, figure)
    said = remarks(spec, trials, {"mean_rmse": 0.3, "bias_rmse": 0.2})
    assert [line.startswith("Every trial has") for line in said] == [True] * stuck


def run(*arguments):
    """Return the JSON object that a command prints, and what it tells people."""
    result = CliRunner().invoke(main, [*map(str, arguments), "--json"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout.splitlines()[-1]), " ".join(result.stderr.split())


def invoke(*arguments):
    return run(*arguments)[0]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory, made_up_ratings):
    """Return a folder with a dataset whose noise a model without regularization learns."""
    folder = tmp_path_factory.mktemp("workshop")
    ratings = made_up_ratings(80, 40, noise=0.3, density=0.4).tocoo()
    lines = "".join(
        f"{u},{i},{r:.2f}\n" for u, i, r in zip(ratings.row, ratings.col, ratings.data, strict=True)
    )
    (folder / "ratings.csv").write_text("user,item,rating\n" + lines)
    invoke("ingest", folder / "ratings.csv", "--out", folder / "dataset")
    return folder


def test_train_shows_the_baselines_and_says_what_is_wrong(workshop):
    words = "train", workshop / "dataset", "--out", workshop / "model", "--overwrite", "--iterations", 8
    words += "--backend", "numpy"
    overfitted = "--factors", 24, "--regularization", 1e-6
    told, shown = run(*words, *overfitted)
    for name in ("valid", "test"):
        assert 0 < told["baselines"][name]["bias_rmse"] < told["baselines"][name]["mean_rmse"]
    assert f"bias-only: valid RMSE {told['baselines']['valid']['bias_rmse']:.4f}" in shown
    assert "no better than biases alone" in shown
    assert "and no worse" in run(*words, "--factors", 0, "--bias-regularization", 3)[1]
    plain = "--regularization-offset", 0, "--bias-regularization", "none", "--pattern-weight", 0
    assert "no better" not in run(*words, "--factors", 2, "--regularization", 0.1, *plain)[1]


def test_train_samples_a_posterior_and_says_how_often_its_intervals_hold(workshop):
    out = workshop / "sampled"
    words = "train", workshop / "dataset", "--out", out, "--overwrite", "--posterior", "--backend", "numpy"
    words += "--samples", 8, "--factors", 3
    told, shown = run(*words, "--keep", 2)
    facts = told["posterior"]
    assert (facts["samples"], told["config"]["pattern_weight"]) == (8, PRESETS["posterior"].pattern_weight)
    assert told["valid_rmse"] == pytest.approx(facts["mean_factors_rmse"], rel=1e-5)
    assert len(Model.load(out).posterior.samples) == 2
    assert not [path for path in workshop.iterdir() if path.name.startswith("sampled.")]
    assert f"posterior: 8 samples, noise {facts['noise']:.4f}, worth" in shown
    assert f"intervals of valid ratings hold, of 50%: {facts['coverage']['0.5']:.1%}" in shown
    result = CliRunner().invoke(main, [*map(str, words[:4]), "--samples", "3"])
    assert "--samples and --keep go with --posterior." in result.output


def test_a_study_has_its_baselines_without_the_dataset(workshop, empty_store, undrawn, monkeypatch):
    monkeypatch.chdir(workshop)
    shutil.copyfile(empty_store, "mlflow.db")
    (workshop / "search.yaml").write_text(
        "space: {factors: 24, iterations: 3, regularization: {low: 0.000001, high: 0.00001}}\n"
        "start: [{regularization: 0.00001}]\nearly_stopping: none\ntrials: 1\nbackend: numpy\n"
    )
    told = invoke("tune", "dataset", "--spec", "search.yaml", "--name", "first", "--in-process")
    shutil.copytree("dataset", "moved")
    shutil.rmtree("dataset")
    assert told["at_edge"] == {"regularization": "high"}
    to_beat = told["baselines"]
    trained = invoke("train", "moved", "--out", "model", "--overwrite", "--backend", "numpy")["baselines"]
    assert {name: to_beat[name] for name in trained["valid"]} == pytest.approx(trained["valid"])
    listed, shown = run("results", "first", "--report", "first.html")
    assert (listed["baselines"], listed["at_edge"]) == (to_beat, told["at_edge"])
    assert f"bias-only RMSE {to_beat['bias_rmse']:.4f}" in shown
    for text in (shown, (workshop / "first.html").read_text(encoding="utf-8")):
        assert "no better than biases alone" in text
        assert "regularization is at the upper end of its range (1e-05)" in text
    refit = invoke("refit", "first", "--dataset", "moved")["baselines"]["test"]
    client = MlflowClient(told["tracking_uri"])
    parent = client.get_run(told["parent_run_id"]).data.metrics
    assert (parent["baseline_rmse"], parent["mean_rmse"]) == (to_beat["bias_rmse"], to_beat["mean_rmse"])
    assert (parent["test_baseline_rmse"], parent["test_mean_rmse"]) == (
        refit["bias_rmse"],
        refit["mean_rmse"],
    )
    trial = client.get_run(told["best"]["run_id"]).data.metrics
    assert trial["baseline_rmse"] == to_beat["bias_rmse"]


def test_a_study_of_before_is_shown_without(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    spec = spec_of(ONE, trials=1)
    facts = {key: fact for key, fact in FACTS.items() if key not in {"status", "seconds"}}
    study = Study.create(tmp_path / "studies" / "old", **{**facts, "name": "old", "spec": spec.to_dict()})
    for trial in made_up_trials(1, spec, failing=0):
        end(study, trial)
    study.update(status="finished", seconds=1.0)
    listed, shown = run("results", "old", "--report", "old.html")
    assert listed["baselines"] is None
    assert "bias-only" not in shown
    assert "best" in shown
