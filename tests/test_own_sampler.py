"""A search by a sampler that the specification names: checked before the start, seeded, told what failed."""

from __future__ import annotations

import json
import sys

import pytest

from toolkit.errors import SpecError, StudyError
from tune import SearchSpec
from tune.executors import Recording, simulate
from tune.search import Proposer
from tune.spec import OwnSampler

SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "regularization": {"low": 0.01, "high": 10.0, "scale": "log"},
    "iterations": 3,
}
MODULE = """
from optuna.samplers import BaseSampler, RandomSampler
from optuna.trial import TrialState

class Patient(RandomSampler):
    "Notes what it is told, and gives up after some trials."
    seen = []

    def __init__(self, gives_up_after, seed=None):
        super().__init__(seed=seed)
        self.seen.clear()
        self.left = gives_up_after

    def sample_independent(self, study, trial, name, distribution):
        self.left -= 1
        if self.left < 0:
            raise RuntimeError("out of ideas")
        return super().sample_independent(study, trial, name, distribution)

    def after_trial(self, study, trial, state, values):
        self.seen.append((state.name, values))

class Choosy(BaseSampler):
    def __init__(self):
        raise ValueError("never")
"""


@pytest.fixture(autouse=True)
def my_samplers(tmp_path, monkeypatch):
    (tmp_path / "my_samplers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_samplers", None)


def spec_of(sampler, **keys):
    return SearchSpec.from_dict({"space": SPACE, "trials": 6, "sampler": sampler, "start": [], **keys})


def surface(config):
    rmse = [1.0 + abs(config.regularization - 0.5) + 0.1 / n for n in (1, 2, 3)]
    return Recording({"valid_rmse": rmse, "train_rmse": rmse, "seconds": [1.0] * 3})


@pytest.mark.parametrize(
    ("sampler", "text"),
    [
        (
            "cmaes",
            "sampler must be one of tpe, gp, random, but got 'cmaes'; a sampler of Optuna's or your own",
        ),
        ({"n_startup_trials": 5}, "sampler.class must be an import path, as in {class: optuna.samplers.Cma"),
        ({"class": "CmaEsSampler"}, "sampler.class must be an import path"),
        ({"class": "optuna.samplers.TPESample"}, "has no TPESample (did you mean 'TPESampler'?)"),
        ({"class": "optuna.create_study"}, "optuna has another kind of create_study"),
        (
            {"class": "nowhere.Sampler"},
            "sampler.class nowhere.Sampler cannot be imported (ModuleNotFoundError",
        ),
        (
            {"class": "optuna.samplers.TPESampler", "n_startup_trial": 5},
            "sampler.n_startup_trial: TPESampler has no such argument (did you mean 'n_startup_trials'?)",
        ),
        ({"class": "my_samplers.Patient"}, "sampler.gives_up_after is missing: Patient needs it"),
        ({"class": "my_samplers.Choosy"}, "sampler Choosy refuses its arguments: "),
        ({"class": "optuna.samplers.TPESampler", "seed": 1}, "sampler.seed must be left out"),
        ({"class": "optuna.samplers.TPESampler", "gamma": max}, "sampler.gamma must be a plain value"),
    ],
)
def test_what_cannot_propose_is_refused_before_the_start(sampler, text):
    with pytest.raises(SpecError) as caught:
        spec_of(sampler)
    assert "has 1 mistake(s)" in str(caught.value)
    assert text in str(caught.value)


def test_a_stored_specification_is_read_where_the_sampler_is_not_installed():
    sampler = {"class": "somewhere_else.Sampler", "depth": 3}
    document = {**spec_of("tpe").to_dict(), "sampler": sampler}
    spec = SearchSpec.from_dict(document, stored=True)
    assert spec.sampler == OwnSampler("somewhere_else.Sampler", {"depth": 3})
    assert json.loads(json.dumps(spec.to_dict())) == document
    with pytest.raises(StudyError, match=r"somewhere_else\.Sampler cannot be imported"):
        Proposer(spec, 1)


@pytest.mark.parametrize(
    "sampler",
    [
        {"class": "optuna.samplers.NSGAIISampler", "population_size": 3},
        {"class": "optuna.samplers.QMCSampler", "scramble": True, "warn_independent_sampling": False},
        {"class": "optuna.samplers.TPESampler", "multivariate": True, "n_startup_trials": 3},
    ],
    ids=lambda sampler: sampler["class"].rpartition(".")[2],
)
def test_optunas_samplers_search(sampler):
    spec = spec_of(sampler, early_stopping="none")
    runs = [simulate(spec, surface, concurrency=1) for _ in range(2)]
    sampled = [[trial["sampled"] for trial in run.results] for run in runs]
    assert runs[0].outcome == "finished"
    assert sampled[0] == sampled[1], "the seed decides"
    assert len({trial["regularization"] for trial in sampled[0]}) >= 4
    assert {trial["source"] for trial in runs[0].results} == {spec.sampler.name}
    assert Proposer(spec, 1).ask(1, {"factors": 20})[0]["factors"] == 20
    other = simulate(spec_of(sampler, early_stopping="none", seed=1), surface, concurrency=1)
    assert [trial["sampled"] for trial in other.results] != sampled[0]


def test_a_sampler_that_goes_through_a_grid_ends_with_it():
    space = {"regularization": {"choices": [0.1, 0.2, 0.3]}, "iterations": 3}
    spec = spec_of(
        {"class": "optuna.samplers.BruteForceSampler"}, space=space, early_stopping="none", trials=3
    )
    run = simulate(spec, surface, concurrency=1)
    assert run.outcome == "finished"
    assert {trial["sampled"]["regularization"] for trial in run.results} == {0.1, 0.2, 0.3}
    document = {**spec.to_dict(), "trials": 5}
    run = simulate(SearchSpec.from_dict(document), surface, concurrency=1)
    assert len(run.results) == 3
    assert "has nothing left to propose: set `trials` to 3" in str(run.problem)


def test_it_is_told_which_trials_failed_and_a_resumed_study_draws_anew():
    from my_samplers import Patient

    spec = spec_of({"class": "my_samplers.Patient", "gives_up_after": 100})
    whole = Proposer(spec, 1)
    journal = []
    for number, loss in ((1, 0.5), (2, None), (3, float("nan")), (4, 0.4)):
        sampled, source = whole.ask(number)
        whole.tell(number, loss)
        journal.append((number, sampled, loss))
        assert source == "Patient"
    assert [state for state, _ in Patient.seen] == ["COMPLETE", "FAIL", "FAIL", "COMPLETE"]
    again = Proposer(spec, 1)
    for number, sampled, loss in journal:
        again.restore(number, sampled, loss)
    assert again.ask(5)[0] not in [sampled for _, sampled, _ in journal]


def test_a_sampler_that_fails_midway_stops_the_study():
    run = simulate(spec_of({"class": "my_samplers.Patient", "gives_up_after": 5}), surface, concurrency=1)
    assert len(run.results) == 2
    assert "sampler my_samplers.Patient failed on trial 3 (RuntimeError: out of ideas)" in str(run.problem)
