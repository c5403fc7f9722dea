"""What a study does with trials, whoever runs them: budgets, verdicts, deaths, and taking up a journal."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest

from tune.search import Segment, StudyRun
from tune.spec import SearchSpec
from tune.study import Study

SPACE = {"factors": {"low": 2, "high": 8}, "iterations": 9, "regularization": {"low": 0.01, "high": 1.0}}


@pytest.fixture
def make(tmp_path):
    """Return a function that makes a study of a given specification."""

    def make(start=None, **keys):
        keys = {"space": SPACE, "trials": 4, "early_stopping": "none", **keys}
        spec = SearchSpec.from_dict(keys)
        return Study.create(tmp_path / f"study-{time.monotonic_ns()}", spec=spec.to_dict(), start=start or {})

    return make


def segment(*rmses, done=True, **changes):
    """Return the iterations with these validation errors."""
    history = {key: list(rmses) for key in ("valid_rmse", "train_rmse")}
    history["seconds"] = [0.01] * len(rmses)
    figures = dict.fromkeys(("valid_rmse", "train_rmse"), rmses[-1]) if rmses else {}
    return Segment(history, figures, iterations=len(rmses), done=done, **changes)


def run_all(run, rmse=lambda _: 0.9):
    """Let every trial end at once."""
    while (trial := run.next()) is not None:
        assert not run.report(trial.trial, segment(rmse(trial)))
    run.close()


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self):
        self.steps, self.results = [], []

    def advanced(self, run, trial):
        self.steps.append((trial.trial, trial.iterations))

    def ended(self, run, result):
        self.results.append(result)


# From the first trial to the last


def test_trials_are_handed_out_kept_and_told_of(make):
    study, heard = make(), Heard()
    run = StudyRun(study, 1, (heard,))
    assert not run.over
    first = run.next()
    assert run.next() is None, "one at a time"
    assert run.report(first.trial, segment(1.0, 0.95, done=False))
    assert not run.report(first.trial, segment(0.9))
    run_all(run, lambda trial: 1.0 - trial.number / 100)
    assert run.over
    assert run.outcome == "finished"
    assert heard.steps == [("trial-001", 2)]
    assert [result["trial"] for result in heard.results] == [f"trial-00{n}" for n in (1, 2, 3, 4)]
    kept = {trial["trial"]: trial for trial in study.trials()}
    assert kept["trial-001"]["history"]["valid_rmse"] == [1.0, 0.95, 0.9]
    assert kept["trial-001"]["seconds"] == pytest.approx(0.03)
    assert study.best()["trial"] == "trial-001"


def test_as_many_are_out_as_run_at_once(make):
    run = StudyRun(make(trials=10), 3)
    assert [run.next().number for _ in range(3)] == [1, 2, 3]
    assert run.next() is None
    run.report("trial-002", segment(0.9))
    assert run.next().number == 4
    run.close()


def test_trial_that_fails_counts_and_is_no_best(make):
    run = StudyRun(make(trials=2), 1)
    run.report(run.next().trial, Segment({}, done=True, reason="singular", trace="Traceback"))
    assert run.best is None
    assert (run.n_failed, run.outcome) == (1, "interrupted")
    run_all(run)
    assert run.outcome == "finished"
    failed = run.study.trials()[-1]
    assert (failed["status"], failed["reason"], failed["trace"]) == ("FAILED", "singular", "Traceback")


def test_study_without_any_success_has_failed(make):
    run = StudyRun(make(trials=2), 1)
    while (trial := run.next()) is not None:
        run.report(trial.trial, Segment({}, done=True, reason="singular"))
    run.close()
    assert run.over
    assert run.outcome == "failed"


# Budgets


def test_no_trial_starts_after_max_seconds(make):
    now = [100.0]
    clock = SimpleNamespace(time=time.time, monotonic=lambda: now[0])
    run = StudyRun(make(max_seconds=60, trials=1000), 1, clock=clock)
    trial = run.next()
    now[0] += 61
    assert not run.over, "the trial that is out is waited for"
    run.report(trial.trial, segment(0.9))
    assert run.next() is None
    assert run.over
    assert run.outcome == "finished"
    run.close()


def test_time_of_earlier_runs_counts_even_where_a_kill_hid_it(make):
    study = make(max_seconds=3600, trials=1000)
    run = StudyRun(study, 1)
    trial = run.next()
    trial.started -= 4000
    run.report(trial.trial, segment(0.9))
    run.close()
    again = StudyRun(study, 1)
    assert again.over
    again.close()


def test_failures_have_a_budget(make):
    run = StudyRun(make(max_failures=2, trials=1000), 1)
    for _ in range(2):
        run.report(run.next().trial, Segment({}, done=True, reason="no"))
    assert run.next() is None
    assert run.over
    assert run.outcome == "failed"
    run.close()


# Verdicts


def test_halving_stops_what_is_not_among_the_best(make):
    keys = {"early_stopping": {"grace_iterations": 3, "reduction_factor": 3}, "trials": 5}
    run = StudyRun(make(**keys), 1)
    assert run.rungs == (3,)
    rung = [0.90, 0.95, 0.80, 0.88, 0.79]
    goes_on = []
    for rmse in rung:
        trial = run.next()
        goes_on.append(run.report(trial.trial, segment(1.2, 1.1, rmse, done=False)))
        if goes_on[-1]:
            run.report(trial.trial, segment(*[rmse] * 6))
    assert goes_on == [True, False, True, False, True]
    run.close()
    stopped = {trial["trial"]: trial["stopped"] for trial in run.study.trials()}
    assert stopped["trial-002"] == stopped["trial-004"] == "halving"
    assert stopped["trial-001"] is None


def test_a_resumed_study_halves_by_what_there_was(make):
    study = make(early_stopping={"grace_iterations": 1, "reduction_factor": 3}, trials=9)
    run = StudyRun(study, 1)
    for rmse in (0.80, 0.81, 0.82):
        trial = run.next()
        if run.report(trial.trial, segment(rmse, done=False)):
            run.report(trial.trial, segment(rmse, rmse))
    run.close()
    again = StudyRun(study, 1)
    assert not again.report(again.next().trial, segment(0.83, done=False))
    assert again.report(again.next().trial, segment(0.79, done=False))
    again.close()


def test_plateau_is_noted(make):
    run = StudyRun(make(early_stopping={"patience": 2, "reduction_factor": "none"}), 1)
    assert run.settings.patience == 2
    assert run.rungs == ()
    run.report(run.next().trial, segment(0.9, 0.8, 0.9, 0.9, stalled=True))
    run.close()
    assert run.study.trials()[0]["stopped"] == "plateau"


# Processes that die


def test_trial_whose_process_died_is_begun_again_three_times_at_most(make):
    run = StudyRun(make(trials=2), 2)
    first, second = run.next(), run.next()
    for attempt in (1, 2):
        assert first.attempts == attempt
        run.lost(first.trial, "killed")
        assert run.next() is first
        assert first.history == {}
    run.report(second.trial, segment(0.9))
    assert not run.over
    run.lost(first.trial, "killed")
    assert run.over
    run.close()
    lost = run.study.trials()[-1]
    assert (lost["trial"], lost["status"], lost["attempts"]) == ("trial-001", "FAILED", 3)
    assert "its process died 3 times (killed)" in lost["reason"]


def test_what_cannot_be_set_up_ends_the_study_and_no_trial(make):
    run = StudyRun(make(), 1)
    assert not run.report(run.next().trial, Segment({}, done=True, fatal=True, reason="no device"))
    assert run.over
    assert "no trial can be run: no device" in str(run.problem)
    run.close()
    assert run.study.trials() == []


def test_disk_that_takes_nothing_ends_the_study(make, monkeypatch):
    study = make()
    run = StudyRun(study, 1)
    trial = run.next()

    def full(*args, **facts):
        raise OSError("no space left on device")

    monkeypatch.setattr(study.journal, "append", full)
    run.report(trial.trial, segment(0.9))
    run.close()
    assert run.over
    assert "no space left on device" in str(run.problem)
    monkeypatch.undo()
    assert [trial.trial for trial in iter(StudyRun(study, 1).next, None)] == ["trial-001"]


# Taking up a journal


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_study_that_was_cut_off_goes_on_as_if_it_had_not(make, sampler):
    keys = {"sampler": sampler, "trials": 9, "startup_trials": 3}

    def rmse(trial):
        return 1.0 + abs(trial.config.factors - 5) + trial.config.regularization

    whole, cut = make(**keys), make(**keys)
    run_all(StudyRun(whole, 1), rmse)
    for _ in range(4):  # each time, two trials end and a third is cut off
        run = StudyRun(cut, 1)
        for _ in range(2):
            if (trial := run.next()) is not None:
                run.report(trial.trial, segment(rmse(trial)))
        run.next()
        run.close()
    run_all(StudyRun(cut, 1), rmse)
    plan = [[(p["trial"], p["sampled"], p["source"]) for p in s.proposed().values()] for s in (whole, cut)]
    assert plan[0] == plan[1]
    assert len(cut.trials()) == 9


def test_extended_study_has_more_to_do(make):
    study = make(trials=2)
    run_all(StudyRun(study, 1))
    assert StudyRun(study, 1).over
    study.change(trials=5)
    run = StudyRun(study, 1)
    assert not run.over
    run_all(run)
    assert sorted(trial["number"] for trial in study.trials()) == [1, 2, 3, 4, 5]


def test_points_to_start_from_come_first_and_under_their_name(make):
    study = make(start={"points": [{"sampled": {"factors": 7}, "source": "point"}], "known": []})
    run = StudyRun(study, 1)
    first = run.next()
    assert (first.sampled["factors"], first.source) == (7, "point")
    assert 0.01 <= first.sampled["regularization"] <= 1.0
    run.report(first.trial, segment(0.9))
    assert run.next().source == "random"
    run.close()
