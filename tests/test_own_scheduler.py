"""A study whose trials a scheduler of Ray's stops: checked before the start, told all again on resume."""

from __future__ import annotations

import json
import math
import sys

import pytest

from toolkit.errors import SpecError, StudyError
from tune.executors import Recording, UnsavedStudy, VirtualClock, run_simulated, simulate
from tune.search import StudyRun
from tune.spec import OwnScheduler, SearchSpec

SPACE = {"regularization": {"low": 0.01, "high": 10.0, "scale": "log"}, "iterations": 12}
ASHA = {"class": "ray.tune.schedulers.ASHAScheduler", "grace_period": 2, "reduction_factor": 2}
MEDIAN = {"class": "ray.tune.schedulers.MedianStoppingRule", "grace_period": 2, "min_samples_required": 2}
FIRST = ("trial-001", 1)
MODULE = """
from ray.tune.schedulers import FIFOScheduler, HyperBandScheduler

class Noting(FIFOScheduler):
    "Notes what it is told, and answers the third iteration as asked."
    seen = []

    def __init__(self, answer="CONTINUE"):
        super().__init__()
        self.answer = answer
        self.seen.clear()

    def on_trial_add(self, controller, trial):
        self.seen.append(("add", trial.trial_id))

    def on_trial_result(self, controller, trial, result):
        self.seen.append((result["training_iteration"], trial.trial_id, result[self.metric]))
        assert trial in controller.get_trials()
        if result["training_iteration"] != 3:
            return self.CONTINUE
        if self.answer == "raise":
            raise RuntimeError("out of patience")
        return self.answer

    def on_trial_complete(self, controller, trial, result):
        self.seen.append(("complete", trial.trial_id, result[self.metric]))

    def on_trial_error(self, controller, trial):
        self.seen.append(("error", trial.trial_id))

class Mine(HyperBandScheduler):
    pass
"""


@pytest.fixture(autouse=True)
def my_schedulers(tmp_path, monkeypatch):
    (tmp_path / "my_schedulers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("my_schedulers", None)


def spec_of(early_stopping, **keys):
    document = {"space": SPACE, "trials": 20, "sampler": "random", "start": [], **keys}
    return SearchSpec.from_dict({**document, "early_stopping": early_stopping})


def surface(config):
    """Errors that fall at different speed, so that the order of two trials changes."""
    end = 0.9 + 0.05 * math.log(config.regularization / 0.5) ** 2
    rmse = [end + 0.5 * math.exp(-n * config.regularization) for n in range(1, 13)]
    return Recording({"valid_rmse": rmse, "train_rmse": rmse, "seconds": [1.0] * 12})


def decisions(run):
    return {t["trial"]: (len(t["history"]["seconds"]), t["valid_rmse"]) for t in run.results}


@pytest.mark.parametrize(
    ("scheduler", "text"),
    [
        ({"class": "ASHAScheduler"}, "early_stopping.class must be an import path, as in {class: ray.tune."),
        (
            {"class": "ray.tune.schedulers.ASHASchedule"},
            "has no ASHASchedule (did you mean 'ASHAScheduler'?)",
        ),
        ({"class": "ray.tune.schedulers.create_scheduler"}, "has another kind of create_scheduler"),
        (
            {**ASHA, "grace_periods": 3},
            "grace_periods: ASHAScheduler has no such argument (did you mean 'grace_period'?)",
        ),
        ({**ASHA, "metric": "rmse"}, "early_stopping.metric must be left out: walslab gives it"),
        ({**ASHA, "grace_period": 13}, "ASHAScheduler refuses its arguments: AssertionError: grace_period"),
        (
            {**MEDIAN, "grace_period": 60},
            "grace_period must not be above the 12 iterations of a trial, but is",
        ),
        ({**MEDIAN, "hard_stop": False}, "early_stopping.hard_stop must be true, because a study does not"),
        ({"class": "ray.tune.schedulers.HyperBandScheduler"}, "pauses trials until others come as far"),
        ({"class": "my_schedulers.Mine"}, "my_schedulers.Mine pauses trials until others come as far"),
        ({"class": "ray.tune.schedulers.PopulationBasedTraining"}, "run tune.WALSTrainable in a Tuner of"),
        ({"class": "ray.tune.schedulers.pb2.PB2"}, "changes the configurations of running trials"),
    ],
)
def test_what_cannot_stop_trials_is_refused_before_the_start(scheduler, text):
    with pytest.raises(SpecError) as caught:
        spec_of(scheduler)
    assert "has 1 mistake(s)" in str(caught.value)
    assert text in str(caught.value)


def test_a_stored_specification_is_read_where_the_scheduler_is_not_installed():
    document = {**spec_of("none").to_dict(), "early_stopping": {"class": "nowhere.Rule", "depth": 3}}
    spec = SearchSpec.from_dict(document, stored=True)
    assert spec.early_stopping == OwnScheduler("nowhere.Rule", {"depth": 3})
    assert json.loads(json.dumps(spec.to_dict())) == document
    with pytest.raises(StudyError, match=r"early_stopping\.class nowhere\.Rule cannot be imported"):
        StudyRun(UnsavedStudy(spec), 1)


@pytest.mark.parametrize("concurrency", [1, 4])
def test_asha_stops_what_our_own_halving_stops(concurrency):
    theirs = simulate(spec_of(ASHA), surface, concurrency=concurrency)
    ours = simulate(spec_of({"grace_iterations": 2, "reduction_factor": 2}), surface, concurrency=concurrency)
    assert decisions(theirs) == decisions(ours)
    assert {t["stopped"] for t in theirs.results} == {None, "scheduler"}
    assert {t["trial"] for t in theirs.results if t["stopped"]} == {
        t["trial"] for t in ours.results if t["stopped"] == "halving"
    }


def test_the_median_rule_stops_what_is_behind_the_mean_of_most():
    run = simulate(spec_of(MEDIAN), surface)
    earlier, stopped = [], 0
    for trial in run.results:
        rmse = trial["history"]["valid_rmse"]
        if trial["stopped"]:
            n = len(rmse)
            means = sorted(sum(each[1:n]) / (n - 1) for each in earlier if len(each) >= n)
            assert len(means) >= 2
            assert min(rmse) > means[(len(means) - 1) // 2]
            stopped += 1
        earlier.append(rmse)
    assert 0 < stopped < len(run.results)


@pytest.mark.parametrize("scheduler", [ASHA, MEDIAN], ids=["asha", "median"])
@pytest.mark.parametrize("after", [1, 7, 15])
def test_a_study_that_was_cut_off_stops_the_same_trials(scheduler, after):
    def diverging(config):
        recording = surface(config)
        if config.regularization < 0.05:
            recording.history["valid_rmse"][1] = math.inf
        return recording

    spec = spec_of(scheduler)
    whole = simulate(spec, diverging)
    assert {trial["status"] for trial in whole.results[:15]} == {"FINISHED", "FAILED"}
    study, clock = UnsavedStudy(spec), VirtualClock()
    names = {f"trial-{number:03d}" for number in range(1, after + 1)}
    study.lines = [line for line in whole.study.lines if line["trial"] in names]
    run = StudyRun(study, 1, clock=clock, in_background=False)
    run_simulated(run, diverging, clock)
    assert len(run.results) == 20
    assert decisions(run) == decisions(whole)


def test_it_is_told_in_rays_order_and_of_each_iteration_once():
    from my_schedulers import Noting

    spec = spec_of({"class": "my_schedulers.Noting"}, trials=3, metric="ndcg@10", max_failures=9)

    attempts = []

    def four_iterations(config):
        attempts.append(config)
        ndcg = [0.1, 0.2, 0.3, 0.4]
        history = {"valid_rmse": ndcg, "train_rmse": ndcg, "valid_ndcg_10": ndcg, "seconds": [1.0] * 4}
        return Recording(history, "it fails" if len(attempts) == 3 else None)

    simulate(spec, four_iterations, dies=lambda trial, attempt: 2.5 if (trial, attempt) == FIRST else None)
    told = [[entry for entry in Noting.seen if entry[1] == f"trial-00{number}"] for number in (1, 2, 3)]
    for number, entries in enumerate(told, 1):
        trial = f"trial-00{number}"
        end = ("error", trial) if number == 2 else ("complete", trial, 0.4)
        assert entries == [("add", trial), *((n, trial, n / 10) for n in (1, 2, 3, 4)), end]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ("PAUSE", "answers PAUSE on trial-001, but trials of a study only go on or stop"),
        ("raise", "failed on trial-001 (RuntimeError: out of patience)"),
    ],
)
def test_a_scheduler_that_asks_for_more_ends_the_study(answer, text):
    run = simulate(spec_of({"class": "my_schedulers.Noting", "answer": answer}), surface)
    assert f"scheduler my_schedulers.Noting {text}" in str(run.problem)
    assert run.outcome == "interrupted"
