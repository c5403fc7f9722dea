"""What a refit of the best trial saves, reports and records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from small_models import PLAIN

from cluster.cli import main
from toolkit.config import PRESETS, RunOptions, WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.errors import ConfigError, ModelError, StudyError
from toolkit.ingest import RatingsSource, ingest_ratings, sample_users
from toolkit.models import WALS, Model
from toolkit.sharded import MemoryPlan
from tune.refit import refit_best
from tune.spec import SearchSpec
from tune.study import Study


class StudyInMemory(Study):
    """A study of which a test says every attribute."""

    name = path = spec = facts = None  # in the place of properties

    def __init__(self, **attributes):
        vars(self).update(attributes)


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


def test_best_trial_alone_is_a_plain_model(study, data, tmp_path):
    refit = refit_best(study, data, tmp_path / "model")
    assert refit.posterior is None
    assert refit.valid_rmse == refit.best["valid_rmse"]
    assert WALS.load(tmp_path / "model").rmse(data.test) == pytest.approx(refit.test_rmse)
    alone = WALS(WALSConfig.from_dict(refit.best["config"]), RunOptions(threads=1))
    alone.config = alone.config.replace(iterations=refit.best["iterations"])
    assert alone.fit(data.train_and_valid()).rmse(data.test) == pytest.approx(refit.test_rmse, abs=1e-5)
    assert study.client.metrics == {
        "test_rmse": refit.test_rmse,
        "test_baseline_rmse": refit.baselines["bias_rmse"],
        "test_mean_rmse": refit.baselines["mean_rmse"],
    }
    assert study.client.artifacts == [(str(tmp_path / "model"), "model")]
    meta = json.loads((tmp_path / "model" / "model.json").read_text(encoding="utf-8"))
    assert meta["trial_run_id"] == refit.best["run_id"]
    assert meta["trained_on"] == "train + valid"


def test_test_ratings_decide_nothing(study, data, tmp_path, monkeypatch):
    first = refit_best(study, data, tmp_path / "a")
    monkeypatch.setattr(data, "test", -data.test)
    second = refit_best(study, data, tmp_path / "b")
    assert second.best == first.best
    assert second.test_rmse > first.test_rmse


def test_progress_is_told_to_the_end(study, data, tmp_path):
    told = []
    refit = refit_best(study, data, tmp_path / "model", progress=lambda *step: told.append(step))
    n = refit.best["iterations"]
    assert told == [("training", done, n) for done in range(n + 1)]


@pytest.mark.parametrize("posterior", [0, 5])
def test_what_must_stay_is_refused_before_any_training(study, data, tmp_path, monkeypatch, posterior):
    for name in ("fit", "fit_posterior"):
        monkeypatch.setattr(WALS, name, lambda *_, **__: pytest.fail("trained"))
    (tmp_path / "taken").mkdir()
    with pytest.raises(ModelError, match="exists already"):
        refit_best(study, data, tmp_path / "taken", posterior=posterior)
    study.facts["digest"] = "other"
    with pytest.raises(StudyError, match="but study first was run on other"):
        refit_best(study, data, tmp_path / "model", posterior=posterior)


def test_store_that_fails_leaves_the_model(study, data, tmp_path):
    study.client.log_batch = None
    with pytest.raises(StudyError, match=r"the model is in .*, but the MLflow store did not take it"):
        refit_best(study, data, tmp_path / "model")
    assert WALS.load(tmp_path / "model").rated.nnz == data.train_and_valid().nnz


# The command


@pytest.fixture
def refit(study, monkeypatch):
    monkeypatch.setattr(Study, "open", lambda _: study)

    def run(*arguments):
        done = CliRunner().invoke(main, ["refit", "first", *map(str, arguments)], catch_exceptions=False)
        assert done.exit_code == 0, done.output
        return done

    return run


def test_command_says_how_good_it_is_and_where(refit, tmp_path):
    shown = refit().stdout
    assert re.search(r"trial-\d+: valid RMSE [0-9.]+   refitted, test RMSE [0-9.]+", shown)
    assert f"model in {tmp_path / 'model'}" in shown.replace("\n", "")


def test_command_tells_machines(refit, tmp_path):
    told = json.loads(refit("--out", tmp_path / "plain", "--json").stdout.splitlines()[-1])
    assert set(told) == {
        "model",
        "run_id",
        "valid_rmse",
        "test_rmse",
        "baselines",
        "posterior",
        "registered",
    }
    assert told["posterior"] is None
    assert Path(told["model"]).is_dir()


def test_command_says_what_took_the_place_of_the_mean_of_trials():
    done = CliRunner().invoke(main, ["refit", "first", "--ensemble", "10"])
    assert done.exit_code == 2
    assert "--ensemble is gone: --posterior gives one model" in done.stderr


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


def test_a_dataset_that_the_sample_is_not_of_is_refused(of_half, data, tmp_path):
    other = sample_users(data, 0.7, tmp_path / "other", seed=9)
    with pytest.raises(
        StudyError, match=f"has digest {other.digest}, but .* a sample of {data.digest}: give the "
    ):
        refit_best(of_half, other, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_refit_in_shards_is_that_in_memory(study, data, tmp_path, monkeypatch):
    refit_best(study, data, tmp_path / "here", progress=False)
    plan = MemoryPlan(True, 3 << 20, 2 << 20, 1 << 20)
    monkeypatch.setattr("toolkit.models.placing.plan_memory", lambda *_, **__: plan)
    refit_best(study, data, tmp_path / "there", progress=False)
    for file in sorted(path.name for path in (tmp_path / "here").iterdir()):
        if file != "model.json":
            assert (tmp_path / "here" / file).read_bytes() == (tmp_path / "there" / file).read_bytes(), file
    here, there = (Model.load(tmp_path / name) for name in ("here", "there"))
    assert here.dataset_digest == there.dataset_digest == data.digest
    assert [h["train_rmse"] for h in here.history] == [h["train_rmse"] for h in there.history]
    # Nothing else is left beside the models.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["here", "there"]


@pytest.mark.parametrize("posterior", [0, 5])
def test_more_samples_to_keep_than_there_are_is_said_before_the_work(study, data, tmp_path, posterior):
    with pytest.raises(ConfigError, match=f"--keep must be at most the {posterior} samples"):
        refit_best(study, data, tmp_path / "model", posterior=posterior, keep=posterior + 1)
    assert list(tmp_path.iterdir()) == []
