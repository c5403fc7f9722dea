"""Where the trials of a study run that nobody chose a place for."""

import sys

import pytest

from tune.executors import choose_executor
from tune.spec import SearchSpec

SMALL, LARGE = {"train": 80_000}, {"train": 200_000_000}


@pytest.fixture(autouse=True)
def machine(monkeypatch):
    """A machine of eight processors, without a Ray."""
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setattr("tune.executors.executor_choice.usable_processors", lambda: 8)


def chosen(counts=SMALL, trials=24, **spec):
    return choose_executor(SearchSpec.from_dict({"trials": trials, **spec}), counts, trials)


def test_what_ends_before_ray_has_started_runs_in_this_process_and_says_why():
    choice = chosen()
    assert choice.executor == "in-process"
    assert "--executor ray" in choice.reason
    assert chosen(trials=5000).executor == "ray"
    assert chosen(LARGE) == ("ray", None)
    assert chosen(LARGE, trials=1).executor == "in-process"  # one trial has nothing to run beside


@pytest.mark.parametrize(
    "asked", [{"concurrency": 2}, {"resources": {"gpu": 0.5}}, {"resources": {"cpu": 2}}], ids=str
)
def test_ray_runs_what_asks_for_it(asked):
    assert chosen(**asked).executor == "ray"


def test_one_trial_at_once_is_no_wish_for_ray():
    assert chosen(concurrency=1).executor == "in-process"


def test_ray_that_is_there_is_used(monkeypatch):
    monkeypatch.setenv("RAY_ADDRESS", "head:6379")
    assert chosen().executor == "ray"
