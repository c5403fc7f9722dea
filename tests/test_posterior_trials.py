"""Trials that sample a posterior: their figures, their specification, and the refit of such a study."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest
from click.testing import CliRunner

from cluster.cli import main
from toolkit import WALS, Backend, WALSConfig
from toolkit.config import PRESETS
from toolkit.errors import ConfigError, SpecError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.solver import PosteriorTrainer, TrainingData
from tune.spec import Fixed, Interval, SearchSpec

CONFIG = WALSConfig(factors=3, iterations=6, pattern_weight=1.0)


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings(40, 25, density=0.5, empty_users=(5,))


def trainer_of(ratings, config=CONFIG):
    return PosteriorTrainer(TrainingData(ratings, backend=Backend.require("numpy")), config, seed=3)


def test_the_factors_are_those_of_fit_posterior(ratings):
    trainer = trainer_of(ratings)
    for _ in range(6):
        trainer.step()
    assert trainer.factors.iterations == 6
    model = WALS(CONFIG, backend="numpy", threads=1, seed=3)
    model.fit_posterior(ratings, samples=6, burn_in=10)
    for mine, its in zip(trainer.host_factors().users, model.factors.users, strict=True):
        np.testing.assert_array_equal(mine, its)
    assert trainer.train_rmse() == pytest.approx(model.rmse(ratings), abs=1e-6)
    assert trainer.finished(trainer.factors) is trainer.factors


def test_a_state_goes_on_bit_for_bit_and_must_be_whole(ratings):
    one, other = trainer_of(ratings), trainer_of(ratings)
    for _ in range(2):
        one.step()
    other.restore(one.host_state())
    for trainer in (one, other):
        trainer.step()
    for name in ("users", "items"):
        for a, b in zip(getattr(one.factors, name), getattr(other.factors, name), strict=True):
            np.testing.assert_array_equal(a, b)
    with pytest.raises(ConfigError, match="a state without 'user_factors' continues no sampling"):
        trainer_of(ratings).restore({})
    with pytest.raises(ConfigError):
        trainer_of(ratings, CONFIG.replace(factors=4)).restore(one.host_state())


def test_the_solver_of_a_training_is_refused(ratings):
    with pytest.raises(ConfigError, match="solver cg is that of a training, and a posterior takes none"):
        WALS(CONFIG, solver="cg").fit_posterior(ratings, samples=2, burn_in=1)


def test_specification_of_posteriors_has_defaults_of_its_own():
    spec = SearchSpec.from_dict({"model": "posterior"})
    assert (spec.preset, spec.start, spec.max_iterations) == ("posterior", ("posterior",), 40)
    assert {name for name, domain in spec.space.items() if domain.searched} == {"factors", "pattern_weight"}
    assert spec.config({"factors": 9, "pattern_weight": 2.0}) == PRESETS["posterior"].replace(
        factors=9, pattern_weight=2.0, iterations=40
    )
    assert SearchSpec.from_dict(spec.to_dict()) == spec
    own = SearchSpec.from_dict({"model": "posterior", "space": {"factors": {"low": 2, "high": 4}}})
    assert own.space == {"factors": Interval(2, 4, "linear", integer=True)}
    assert own.domain("pattern_weight") == Fixed(PRESETS["posterior"].pattern_weight)
    assert SearchSpec.load().model == "wals"


def test_what_no_posterior_has_is_refused_in_one_go():
    space = {
        "factors": {"low": 0, "high": 3},
        "bias": {"choices": ["mean", "full"]},
        "momentum": 0.5,
        "unobserved_weight": {"low": 0, "high": 0.1},
        "observed_weight": {"low": 0, "high": 1},
    }
    with pytest.raises(SpecError) as raised:
        SearchSpec.from_dict({"model": "posterior", "space": space})
    told = str(raised.value)
    for name in ("unobserved_weight", "observed_weight", "factors", "momentum"):
        assert f"\n  space.{name} " in told
    with pytest.raises(SpecError, match=r"model must be one of wals, posterior, .*did you mean 'posterior'"):
        SearchSpec.from_dict({"model": "posteriour"})


@pytest.mark.integration
def test_a_study_of_posteriors_ends_with_the_one_that_refit_samples(
    tmp_path, empty_store, monkeypatch, undrawn
):
    rows = [f"{u},{i},{(u * i) % 5 + 1}" for u in range(30) for i in range(20) if (u + i) % 3]
    (tmp_path / "r.csv").write_text("user,item,rating\n" + "\n".join(rows))
    source, rule = RatingsSource.detect([tmp_path / "r.csv"]), SplitRule(valid=0.2, test=0.1)
    data = ingest_ratings(source, tmp_path / "dataset", split=rule)
    shutil.copyfile(empty_store, tmp_path / "mlflow.db")
    for name in ("MLFLOW_TRACKING_URI", "WALSLAB_STUDIES", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    space = {"factors": {"low": 1, "high": 4}, "iterations": 4}
    spec = {"model": "posterior", "space": space, "trials": 2, "early_stopping": "none", "backend": "numpy"}
    (tmp_path / "search.json").write_text(json.dumps(spec))

    def run(*words):
        done = CliRunner().invoke(main, [*words, "--json"])
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout.splitlines()[-1])

    found = run("tune", "dataset", "--spec", "search.json", "--name", "first", "--executor", "in-process")
    assert found["trials"] == 2
    refit = run("refit", "first", "--samples", "5", "--keep", "2")
    assert refit["posterior"]["samples"] == 5
    model = WALS.load(refit["model"])
    assert len(model.posterior.samples) == 2
    assert model.config.iterations == 4
    assert model.rmse(data.test) == pytest.approx(refit["test_rmse"], abs=1e-6)
