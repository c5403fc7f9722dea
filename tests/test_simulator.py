"""Studies in virtual time: they decide as a real run does, and a thousand trials at once take seconds."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.errors import StudyError
from toolkit.solver import stopping
from tune.executors import (
    RecordedTrials,
    Recording,
    UnsavedStudy,
    VirtualClock,
    run_in_process,
    run_simulated,
    simulate,
    simulator,
)
from tune.search import StudyRun
from tune.spec import SearchSpec
from tune.study import Study

SPACE = {
    "factors": {"low": 2, "high": 16, "scale": "log"},
    "regularization": {"low": 0.01, "high": 10.0, "scale": "log"},
    "bias": {"choices": ["mean", "full"]},
    "iterations": 9,
}


def spec_of(**keys):
    return SearchSpec.from_dict({"space": SPACE, "trials": 12, "early_stopping": "none", **keys})


def curve(*rmse, seconds=10.0, reason=None):
    figures = {"valid_rmse": list(rmse), "train_rmse": list(rmse), "seconds": [seconds] * len(rmse)}
    return Recording(figures, reason)


def bowl(config):
    """Errors that fall to a minimum at a regularization of 0.5; larger trials take longer."""
    end = 0.9 + 0.05 * math.log(config.regularization / 0.5) ** 2
    return curve(*(end + 0.5 * math.exp(-n) for n in range(1, 10)), seconds=float(config.factors))


def plan(run):
    """Return what was proposed, by trial."""
    return {name: line["sampled"] for name, line in run.study.proposed().items()}


def decisions(results):
    """Return what became of each trial, without times."""
    return [
        (t["trial"], t["sampled"], t["source"], t["stopped"], t["status"], t["iterations"], t["valid_rmse"])
        for t in sorted(results, key=lambda t: t["number"])
    ]


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(1)
    full = np.clip(3.5 + rng.standard_normal((40, 2)) @ rng.standard_normal((2, 30)), 1, 5).astype("float32")
    u, i = np.nonzero(rng.random((40, 30)) < 0.5)
    held = rng.random(len(u)) < 0.2
    train = sp.csr_matrix((full[u[~held], i[~held]], (u[~held], i[~held])), (40, 30))
    valid = sp.coo_matrix((full[u[held], i[held]], (u[held], i[held])), (40, 30))
    return {"train": train, "train_by_item": train.T.tocsr(), "valid": valid}


# The same study


@pytest.mark.parametrize(
    "early_stopping",
    ["none", {"grace_iterations": 2, "reduction_factor": 2}, {"patience": 2, "reduction_factor": "none"}],
    ids=["none", "halving", "patience"],
)
def test_a_recorded_study_is_decided_as_it_was(tmp_path, ratings, early_stopping):
    spec = spec_of(early_stopping=early_stopping, backend="numpy", startup_trials=4, trials=7)
    study = Study.create(tmp_path / "recorded", spec=spec.to_dict())
    run = StudyRun(study, 1)
    run_in_process(run, ratings)
    run.close()
    again = simulate(spec, RecordedTrials(spec, study.trials()))
    assert decisions(again.results) == decisions(run.results)
    assert again.outcome == run.outcome == "finished"
    assert again.seconds == pytest.approx(sum(trial["seconds"] for trial in study.trials()))


def test_a_configuration_that_is_not_in_the_table_is_its_nearest():
    spec = spec_of()
    sampled = [
        {"factors": 2, "regularization": 0.01, "bias": "mean"},
        {"factors": 2, "regularization": 10.0, "bias": "mean"},
        {"factors": 16, "regularization": 0.01, "bias": "full"},
    ]
    table = RecordedTrials(
        spec,
        [
            {"config": spec.config(s).to_dict(), "history": {"seconds": [n]}, "reason": None}
            for n, s in enumerate(sampled)
        ],
    )

    def nearest(**values):
        return table(spec.config(values)).history["seconds"][0]

    assert [nearest(**values) for values in sampled] == [0, 1, 2]
    # The middle of a logarithmic range is 0.3.
    assert nearest(factors=2, regularization=0.2, bias="mean") == 0
    assert nearest(factors=2, regularization=0.5, bias="mean") == 1
    assert nearest(factors=12, regularization=0.02, bias="mean") == 0
    assert nearest(factors=12, regularization=0.02, bias="full") == 2


def test_a_table_without_trials_is_refused():
    with pytest.raises(StudyError, match="one at least, but it is empty"):
        RecordedTrials(spec_of(), [])


def test_the_example_runs():
    assert doctest.testmod(simulator).failed == 0


def test_the_example_of_the_page_on_the_search_runs(repo_root, capsys):
    page = (repo_root / "docs/search.md").read_text(encoding="utf-8")
    (example,) = [block for block in page.split("```python\n") if block.startswith("from math import log")]
    exec(compile(example.partition("```")[0], "docs/search.md", "exec"), {})
    assert capsys.readouterr().out.endswith("hours\n")


# Which configurations are the same, whoever runs them


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_one_at_a_time_proposals_do_not_depend_on_how_long_trials_take(sampler):
    spec = spec_of(sampler=sampler, trials=10, startup_trials=4)
    slow = simulate(spec, lambda config: Recording({**bowl(config).history, "seconds": [1e4] * 9}))
    assert plan(simulate(spec, bowl)) == plan(slow)


def test_random_proposals_depend_on_nothing_but_their_number():
    spec = spec_of(sampler="random", trials=40)
    assert plan(simulate(spec, bowl)) == plan(simulate(spec, bowl, concurrency=7))


def test_several_at_once_tpe_starts_alike_and_repeats_itself_where_times_do():
    spec = spec_of(trials=12, startup_trials=8)
    one, three, again = (simulate(spec, bowl, concurrency=n) for n in (1, 3, 3))
    assert plan(three) == plan(again)
    first = [f"trial-{number:03d}" for number in range(1, 9)]
    assert [plan(one)[name] for name in first] == [plan(three)[name] for name in first]
    assert plan(one) != plan(three)


# Budgets, verdicts and deaths


def test_no_trial_begins_after_max_seconds_of_virtual_time():
    run = simulate(spec_of(max_seconds=95.0, trials=1000), lambda _: curve(1.0, 0.9), concurrency=2)
    # Two at once, 20 s each: the fifth pair begins at 80 s, and is waited for.
    assert (len(run.results), run.seconds, run.outcome) == (10, 100.0, "finished")
    assert "95 seconds are over" in run.exhausted


def test_failures_have_a_budget():
    def fails(config):
        if config.factors > 8:
            raise MemoryError("no room")
        return curve(0.9, reason="singular")

    run = simulate(spec_of(max_failures=5, trials=1000), fails)
    assert (run.n_failed, run.outcome) == (5, "failed")
    assert {trial["reason"].partition(" (")[0] for trial in run.results} <= {"singular", "out of memory"}


def test_a_figure_that_is_not_finite_fails_the_trial():
    run = simulate(spec_of(trials=1), lambda _: curve(1.0, math.nan, 0.9))
    assert (
        run.results[0]["reason"]
        == "valid RMSE is not finite after iteration 2: more regularization is needed"
    )
    assert run.seconds == 20.0


def test_halving_ends_what_is_behind_at_its_rung():
    spec = spec_of(early_stopping={"grace_iterations": 3, "reduction_factor": 3}, trials=90, sampler="random")
    run = simulate(spec, bowl, concurrency=5)
    halved = [trial for trial in run.results if trial["stopped"] == "halving"]
    assert 40 < len(halved) < 75
    assert {trial["iterations"] for trial in halved} == {3}
    assert run.best["stopped"] is None


def test_patience_takes_a_trial_back_to_its_best_iteration():
    spec = spec_of(early_stopping={"patience": 2, "reduction_factor": "none"}, trials=1)
    trial = simulate(spec, lambda _: curve(1.0, 0.8, 0.9, 0.9, 0.1)).results[0]
    assert (trial["stopped"], trial["iterations"], trial["valid_rmse"]) == ("plateau", 2, 0.8)
    assert len(trial["history"]["seconds"]) == 4
    assert stopping.stalled([1.0, 0.8, 0.9, 0.9], 2)


def test_a_process_that_dies_costs_its_time_and_three_deaths_the_trial():
    def dies(trial, attempt):
        return 35.0 if (trial, attempt) == ("trial-001", 1) or trial == "trial-002" else None

    run = simulate(spec_of(trials=3), lambda _: curve(*[0.9] * 9), dies=dies)
    by_name = {trial["trial"]: trial for trial in run.results}
    assert by_name["trial-001"]["attempts"] == 2
    assert by_name["trial-001"]["status"] == "FINISHED"
    assert (by_name["trial-002"]["attempts"], by_name["trial-002"]["status"]) == (3, "FAILED")
    assert "a simulated death" in by_name["trial-002"]["reason"]
    assert run.seconds == 35.0 + 90.0 + 3 * 35.0 + 90.0
    assert run.outcome == "finished"


def test_a_study_that_was_cut_off_goes_on_in_virtual_time():
    spec = spec_of(trials=10, startup_trials=4)
    study = UnsavedStudy(spec)
    clock = VirtualClock(1000.0)
    first = StudyRun(study, 1, clock=clock, in_background=False)

    def cut_off(config):
        first.interrupted = len(first.results) >= 7
        return bowl(config)

    run_simulated(first, cut_off, clock)
    assert len(first.results) == 7
    rest = StudyRun(study, 1, clock=VirtualClock(5000.0), in_background=False)
    assert rest.seconds == first.seconds > 0
    run_simulated(rest, bowl, VirtualClock(5000.0))
    assert plan(rest) == plan(simulate(spec, bowl))
    assert len(study.trials()) == 10


# Size


@pytest.mark.parametrize(
    ("at_once", "trials"), [(200, 250), pytest.param(1_000, 10_000, marks=pytest.mark.slow)]
)
def test_hundreds_and_a_thousand_at_once(at_once, trials):
    most = []

    class Counting(VirtualClock):
        def time(self):
            most.append(len(run.running))
            return super().time()

    clock = Counting()
    spec = spec_of(
        trials=trials, sampler="random", early_stopping={"grace_iterations": 2, "reduction_factor": 3}
    )
    run = StudyRun(UnsavedStudy(spec), at_once, clock=clock, in_background=False)
    run_simulated(run, bowl, clock)
    assert run.outcome == "finished"
    assert len({trial["trial"] for trial in run.results}) == trials
    assert max(most) == at_once
    assert run.best["valid_rmse"] == pytest.approx(0.9, abs=1e-3)
