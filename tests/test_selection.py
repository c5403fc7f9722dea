"""Which trials are averaged, and what a refit of them saves, reports and records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st
from small_models import PLAIN

from cluster.cli import main
from toolkit.config import PRESETS, RunOptions, WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.errors import ConfigError, ModelError, StudyError
from toolkit.ingest import RatingsSource, ingest_ratings, sample_users
from toolkit.models import WALS, Ensemble, Model
from tune.refit.job import refit_best
from tune.refit.selection import greedy
from tune.spec import SearchSpec
from tune.study import Study


class StudyInMemory(Study):
    """A study of which a test says every attribute."""

    name = path = spec = facts = None  # in the place of properties

    def __init__(self, **attributes):
        vars(self).update(attributes)


# Choosing


def rmse_of(rows, ratings, scale):
    predicted = np.mean(np.asarray(rows, float), axis=0)
    if scale:
        predicted = np.clip(predicted, *scale)
    return float(np.sqrt(np.mean((predicted - ratings) ** 2)))


def by_hand(predictions, ratings, n, scale):
    """Return the chosen rows, in order, each mean being taken anew."""
    chosen, error = [], np.inf
    for _ in range(n):
        errors = [rmse_of(predictions[[*chosen, row]], ratings, scale) for row in range(len(predictions))]
        best = int(np.argmin(errors))
        if not errors[best] < error - 1e-9:
            break
        chosen, error = [*chosen, best], errors[best]
    return chosen


@given(
    seed=st.integers(0, 2**32 - 1),
    m=st.integers(1, 6),
    n=st.integers(1, 8),
    scale=st.sampled_from([None, (-0.5, 0.5)]),
)
def test_choice_is_that_of_brute_force(seed, m, n, scale):
    rng = np.random.default_rng(seed)
    ratings = rng.standard_normal(20)
    predictions = (0.7 * ratings + 0.6 * rng.standard_normal((m, 20))).astype(np.float32)
    found, expected = greedy(predictions, ratings, n, scale=scale), by_hand(predictions, ratings, n, scale)
    assert dict(found.members) == {row: expected.count(row) / len(expected) for row in expected}
    assert [row for row, _ in found.members] == list(dict.fromkeys(expected))
    assert sum(weight for _, weight in found.members) == pytest.approx(1)
    steps = [rmse_of(predictions[expected[:k]], ratings, scale) for k in range(1, len(expected) + 1)]
    assert found.path == pytest.approx(steps)
    assert found.path == sorted(found.path, reverse=True)
    assert greedy(predictions, ratings, n, scale=scale) == found


def test_rows_that_err_to_both_sides_are_averaged():
    ratings = np.array([1.0, 2.0, 3.0])
    found = greedy(np.stack([ratings + 1, ratings - 1, ratings + 5]), ratings, 9)
    assert found.members == [(0, 0.5), (1, 0.5)]
    assert found.path == [1.0, 0.0]


def test_good_row_weighs_more_by_being_chosen_again():
    ratings = np.zeros(3)
    found = greedy(np.stack([ratings + 1, ratings - 2]), ratings, 3)
    assert dict(found.members) == pytest.approx({0: 2 / 3, 1: 1 / 3})
    assert found.path == pytest.approx([1.0, 0.5, 0.0])


def test_equal_rows_are_the_first_of_them_alone():
    rng = np.random.default_rng(0)
    row, ratings = rng.random(50).astype(np.float32), rng.random(50)
    found = greedy(np.stack([row, row, row]), ratings, 10)
    assert found.members == [(0, 1.0)]
    assert len(found.path) == 1


def test_no_more_are_chosen_than_asked_for():
    rng = np.random.default_rng(0)
    ratings = rng.standard_normal(500)
    predictions = ratings + rng.standard_normal((12, 500))
    for n in (1, 2, 5):
        assert len(greedy(predictions, ratings, n).members) == n


def test_arguments_are_left_as_they_are():
    predictions, ratings = np.ones((2, 4)), np.zeros(4)
    greedy(predictions, ratings, 3, scale=(0.0, 0.5))
    assert (predictions == 1).all()
    assert (ratings == 0).all()


# Refitting


class Client:
    """Takes what is logged to the parent run."""

    def __init__(self):
        self.metrics, self.artifacts, self.texts = {}, [], {}
        self.tags, self.inputs = {}, []

    def log_batch(self, run_id, metrics):
        self.metrics |= {metric.key: metric.value for metric in metrics}

    def set_tag(self, run_id, key, value):
        self.tags[key] = value

    def log_inputs(self, run_id, datasets):
        self.inputs += datasets

    def list_artifacts(self, run_id, name):
        return []

    def log_text(self, run_id, text, name):
        self.texts[name] = text

    def log_artifacts(self, run_id, folder, name):
        self.artifacts.append((folder, name))


CONFIGS = [
    PLAIN.replace(factors=k, iterations=6, regularization=r, pattern_weight=w)
    for k, r, w in ((2, 0.05, 0.0), (3, 0.1, 0.5), (4, 0.03, 0.0), (6, 0.2, 0.1))
]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """150 users and 60 items, in a dataset directory."""
    folder = tmp_path_factory.mktemp("ratings")
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((150, 3)), rng.standard_normal((60, 3))
    users, items = np.nonzero(rng.random((150, 60)) < 0.3)
    values = np.clip(np.rint(3.5 + 0.6 * (x @ y.T)[users, items] + rng.standard_normal(len(users))), 1, 5)
    lines = [f"{u * 7 + 1},{i * 3 + 10},{r:.0f}\n" for u, i, r in zip(users, items, values, strict=True)]
    (folder / "ratings.csv").write_text("userId,movieId,rating\n" + "".join(lines))
    ingest_ratings(RatingsSource.detect([folder / "ratings.csv"]), folder / "dataset")
    return RatingsDataset.open(folder / "dataset")


@pytest.fixture(scope="module")
def trained(data):
    """What a search would have found: trials, best first, and their factors."""
    models = [WALS(config, RunOptions(threads=1)).fit(data, patience=3) for config in CONFIGS]
    trials = []
    for number, model in enumerate(models, 1):
        done = model.factors.iterations
        trials.append(
            {
                "trial": f"trial-{number:03d}",
                "number": number,
                "run_id": f"run-{number}",
                "status": "FINISHED",
                "valid_rmse": model.history[done - 1]["valid_rmse"],
                "ranking": {},
                "iterations": done,
                "config": model.config.to_dict(),
            }
        )
    factors = {trial["trial"]: model.factors for trial, model in zip(trials, models, strict=True)}
    failed = {**trials[0], "trial": "trial-005", "number": 5, "status": "FAILED", "valid_rmse": None}
    return [*sorted(trials, key=lambda t: t["valid_rmse"]), failed], factors


@pytest.fixture
def study(data, trained, monkeypatch, tmp_path):
    """A finished study, as `refit_best` sees one, and the store it is recorded in."""
    import tune.record

    trials, factors = trained
    found = StudyInMemory(
        location=SimpleNamespace(is_permanent=True),
        keep_refit=lambda refit: found.facts.update(refit=refit),
        name="first",
        path=tmp_path,
        facts={"digest": data.digest, "parent_run_id": "parent", "dataset": str(data.path)},
        spec=SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}}, "trials": 4}),
        trials=lambda: list(trials),
        best=lambda: trials[0],
        client=Client(),
        kept=dict(factors),
    )
    found.update = found.facts.update
    monkeypatch.setattr(tune.record, "client_of", lambda study: study.client)
    monkeypatch.setattr(tune.record, "trial_factors", lambda study, trial: study.kept.get(trial["trial"]))
    return found


def only_with(study, monkeypatch, trials):
    monkeypatch.setattr(study, "trials", lambda: trials)


def test_ensemble_is_what_was_chosen_trained_on_train_and_valid(study, data, tmp_path):
    refit = refit_best(study, data, tmp_path / "model", ensemble=5)
    mean = refit.ensemble
    assert mean.kept
    assert 2 <= len(mean.members) <= 5
    assert mean.valid_rmse == refit.valid_rmse < refit.best["valid_rmse"]
    model = Model.load(tmp_path / "model")
    assert isinstance(model, Ensemble)
    assert model.weights == pytest.approx([weight for _, weight in mean.members])
    assert model.dataset_digest == data.digest
    assert model.rmse(data.test) == pytest.approx(mean.test_rmse)
    assert refit.test_rmse == mean.test_rmse
    both = data.train_and_valid()
    for (trial, _), member in zip(mean.members, model.members, strict=True):
        config = WALSConfig.from_dict(trial["config"]).replace(iterations=trial["iterations"])
        alone = WALS(config, RunOptions(threads=1)).fit(both)
        np.testing.assert_allclose(
            member.factors.items.factors, alone.factors.items.factors, rtol=1e-4, atol=1e-5
        )
        if trial is refit.best:
            assert mean.single_test_rmse == pytest.approx(alone.rmse(data.test), abs=1e-5)


def test_ensemble_is_recorded(study, data, tmp_path):
    refit = refit_best(study, data, tmp_path / "model", ensemble=5)
    mean = refit.ensemble
    assert study.client.metrics == {
        "test_rmse": mean.test_rmse,
        "test_baseline_rmse": refit.baselines["bias_rmse"],
        "test_mean_rmse": refit.baselines["mean_rmse"],
        "single_test_rmse": mean.single_test_rmse,
        "ensemble_members": len(mean.members),
    }
    assert study.client.artifacts == [(str(tmp_path / "model"), "model")]
    assert study.facts["refit"]["members"] == [[trial["trial"], weight] for trial, weight in mean.members]
    meta = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert [entry["run_id"] for entry in meta["trials"]] == [trial["run_id"] for trial, _ in mean.members]
    assert meta["trained_on"] == "train + valid"


def test_a_posterior_takes_the_rank_of_the_best_trial_and_is_measured_first(study, data, tmp_path):
    told = []
    refit = refit_best(
        study, data, tmp_path / "model", posterior=5, keep=2, progress=lambda *step: told.append(step)
    )
    model, best = WALS.load(tmp_path / "model"), WALSConfig.from_dict(refit.best["config"])
    assert (model.config.factors, model.config.pattern_weight) == (best.factors, best.pattern_weight)
    assert model.config.regularization == PRESETS["posterior"].regularization
    assert model.rated.nnz == data.train_and_valid().nnz
    assert len(model.posterior.samples) == 2
    assert model.rmse(data.test) == pytest.approx(refit.test_rmse)
    assert model.posterior.facts == refit.posterior
    assert refit.valid_rmse == refit.posterior["mean_factors_rmse"]
    assert told[-1] == ("sampling", 70, 70)
    metrics = study.client.metrics
    assert metrics["posterior_valid_rmse"] == pytest.approx(refit.posterior["valid_rmse"])
    assert metrics["posterior_coverage_80"] == refit.posterior["coverage"]["0.8"]
    assert study.client.texts["calibration.svg"].startswith("<?xml")
    with pytest.raises(ConfigError, match="an ensemble or a posterior"):
        refit_best(study, data, tmp_path / "other", posterior=5, ensemble=3)


def test_best_trial_alone_is_a_plain_model(study, data, tmp_path):
    refit = refit_best(study, data, tmp_path / "model")
    assert refit.ensemble is None
    assert refit.valid_rmse == refit.best["valid_rmse"]
    assert study.client.metrics["test_rmse"] == refit.test_rmse
    assert WALS.load(tmp_path / "model").rmse(data.test) == pytest.approx(refit.test_rmse)
    assert "members" not in study.facts["refit"]


def test_ensemble_that_is_no_better_is_not_kept(study, data, tmp_path, monkeypatch):
    only_with(study, monkeypatch, study.trials()[:1])
    refit = refit_best(study, data, tmp_path / "model", ensemble=5)
    mean = refit.ensemble
    assert not mean.kept
    assert mean.members == [(refit.best, 1.0)]
    assert (mean.valid_rmse, mean.test_rmse) == (refit.best["valid_rmse"], mean.single_test_rmse)
    assert isinstance(Model.load(tmp_path / "model"), WALS)
    assert study.client.metrics["ensemble_members"] == 1


def test_test_ratings_decide_nothing(study, data, tmp_path, monkeypatch):
    first = refit_best(study, data, tmp_path / "a", ensemble=5)
    monkeypatch.setattr(data, "test", -data.test)
    second = refit_best(study, data, tmp_path / "b", ensemble=5)
    assert second.ensemble.members == first.ensemble.members
    assert second.ensemble.kept
    assert second.test_rmse > first.test_rmse


def test_factors_that_were_not_kept_are_trained_again(study, data, tmp_path):
    first = refit_best(study, data, tmp_path / "a", ensemble=5).ensemble
    del study.kept["trial-002"]
    second = refit_best(study, data, tmp_path / "b", ensemble=5).ensemble
    assert (first.retrained, second.retrained) == ([], ["trial-002"])
    assert [(t["trial"], w) for t, w in second.members] == [(t["trial"], w) for t, w in first.members]


def test_no_more_candidates_than_fit_in_memory(study, data, tmp_path, monkeypatch):
    import tune.refit.members

    monkeypatch.setattr(tune.refit.members, "_CANDIDATES", 2)
    mean = refit_best(study, data, tmp_path / "model", ensemble=9).ensemble
    assert {trial["trial"] for trial, _ in mean.members} <= {t["trial"] for t in study.trials()[:2]}


def test_progress_is_told_to_the_end(study, data, tmp_path):
    told = []
    refit_best(study, data, tmp_path / "model", ensemble=3, progress=lambda *step: told.append(step))
    for stage in ("validation", "training"):
        steps = [(done, total) for name, done, total in told if name == stage]
        assert [done for done, _ in steps] == list(range(steps[-1][1] + 1))


@pytest.mark.parametrize("ensemble", [0, 5])
def test_what_must_stay_is_refused_before_any_training(study, data, tmp_path, monkeypatch, ensemble):
    monkeypatch.setattr(WALS, "fit", lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(ModelError, match="exists already"):
        refit_best(study, data, tmp_path / "taken", ensemble=ensemble)
    study.facts["digest"] = "other"
    with pytest.raises(StudyError, match="but study first was run on other"):
        refit_best(study, data, tmp_path / "model", ensemble=ensemble)


def test_search_for_a_ranking_is_refused(study, data, tmp_path):
    study.spec = SearchSpec.from_dict({**study.spec.to_dict(), "metric": "recall@10"})
    with pytest.raises(
        StudyError, match="search for recall@10, but members of an ensemble are chosen by RMSE"
    ):
        refit_best(study, data, tmp_path / "model", ensemble=5)


def test_store_that_fails_leaves_the_model(study, data, tmp_path):
    study.client.log_batch = None
    with pytest.raises(StudyError, match=r"the model is in .*, but the MLflow store did not take it"):
        refit_best(study, data, tmp_path / "model", ensemble=3)
    assert isinstance(Model.load(tmp_path / "model"), Ensemble)


# The command


@pytest.fixture
def refit(study, monkeypatch):
    monkeypatch.setattr(Study, "open", lambda _: study)

    def run(*arguments):
        done = CliRunner().invoke(main, ["refit", "first", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    return run


def test_command_prints_members_and_what_they_gain(refit, tmp_path):
    shown = refit("--ensemble", 4).stdout
    assert "trial-" in shown
    assert "weight" in shown
    best, mean, single, test, change = numbers(shown)
    assert mean < best
    assert change == pytest.approx(test - single, abs=1.5e-4)
    assert f"model in {tmp_path / 'model'}" in shown.replace("\n", "")


def numbers(shown):
    number = r"(-?\+?[0-9.]+)"
    line = (
        rf"valid RMSE {number} best trial, {number} ensemble; "
        rf"test RMSE {number} single, {number} ensemble \({number}\)"
    )
    return [float(text) for text in re.search(line, shown).groups()]


def test_command_tells_machines(refit, tmp_path):
    told = json.loads(refit("--ensemble", 4, "--json").stdout.splitlines()[-1])
    assert set(told) == {
        "model",
        "run_id",
        "valid_rmse",
        "test_rmse",
        "baselines",
        "posterior",
        "ensemble",
        "registered",
    }
    mean = told["ensemble"]
    assert set(mean) == {"members", "valid_rmse", "test_rmse", "single_test_rmse", "kept"}
    assert sum(member["weight"] for member in mean["members"]) == pytest.approx(1)
    assert (told["test_rmse"], told["valid_rmse"]) == (mean["test_rmse"], mean["valid_rmse"])
    again = json.loads(refit("--out", tmp_path / "plain", "--json").stdout.splitlines()[-1])
    assert again["ensemble"] is None
    assert Path(again["model"]).is_dir()


def test_command_says_that_no_mean_is_better(refit, study, monkeypatch):
    only_with(study, monkeypatch, study.trials()[:1])
    study.kept.clear()
    shown = refit("--ensemble", 4).stdout
    best = study.best()["trial"]
    assert f"factors of {best} were not kept" in shown
    assert f"no mean lowers the valid RMSE of {best}" in shown


@pytest.mark.parametrize("n", ["1", "51", "x"])
def test_number_of_members_is_checked(n):
    assert CliRunner().invoke(main, ["refit", "first", "--ensemble", n]).exit_code == 2


@pytest.fixture
def of_half(study, data, tmp_path):
    """The study as if it was run on half of the users of the dataset."""
    half = sample_users(data, 0.5, tmp_path / "half")
    study.facts.update(digest=half.digest, derived=half.derived, dataset=str(half.path))
    return study


def test_a_study_on_a_sample_is_refitted_on_the_whole(of_half, data, tmp_path):
    study = of_half
    refit = refit_best(study, data, tmp_path / "model")
    # Its trials were measured on the sample.
    assert refit.valid_rmse is None
    model = WALS.load(tmp_path / "model")
    assert model.rated.nnz == data.train_and_valid().nnz
    assert model.dataset_digest == data.digest
    assert model.rmse(data.test) == pytest.approx(refit.test_rmse)
    meta = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert meta["study_digest"] == study.facts["digest"] != data.digest
    # The store knows both datasets, and so does the study.
    assert study.client.tags == {"walslab.refit_dataset_digest": data.digest}
    assert [(each.dataset.digest, each.tags[0].value) for each in study.client.inputs] == [
        (data.digest, "refit")
    ]
    assert study.facts["refit"]["digest"] == data.digest


def test_an_ensemble_is_not_chosen_on_another_dataset(of_half, data, tmp_path):
    with pytest.raises(StudyError, match=r"was run on a sample of .* refit the best trial alone, or give"):
        refit_best(of_half, data, tmp_path / "model", ensemble=3)


def test_a_dataset_that_the_sample_is_not_of_is_refused(of_half, data, tmp_path):
    other = sample_users(data, 0.7, tmp_path / "other", seed=9)
    with pytest.raises(
        StudyError, match=f"has digest {other.digest}, but .* a sample of {data.digest}: give the "
    ):
        refit_best(of_half, other, tmp_path / "model")
    assert not (tmp_path / "model").exists()
