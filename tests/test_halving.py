"""Successive halving: where the rungs are, who goes on at one, and that Ray Tune would say the same."""

from __future__ import annotations

import math
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray.tune.schedulers.async_hyperband import _Bracket

from tune.search.halving import Halving, quantile, rungs, stops
from tune.spec import EarlyStopping

FACTORS = [1.5, 2.0, 2.5, 3.0, 4.0, 7.3]


@pytest.mark.parametrize(
    ("grace", "factor", "most", "expected"),
    [
        (5, 3, 15, (5,)),
        (5, 3, 16, (5, 15)),
        (1, 4, 100, (1, 4, 16, 64)),
        (5, 2.5, 40, (5, 13, 32)),
        (10, 1.1, 14, (10, 11, 13)),
        (1, 1.01, 4, (1, 2, 3)),
        (5, 3, 5, ()),
        (9, 3, 5, ()),
    ],
)
def test_rungs_are_ever_farther_apart_and_before_the_end(grace, factor, most, expected):
    assert rungs(grace, factor, most) == expected


@given(st.integers(1, 50), st.floats(1.01, 10), st.integers(1, 300))
def test_rungs_rise_from_the_grace_and_stay_below_the_end(grace, factor, most):
    found = rungs(grace, factor, most)
    assert list(found) == sorted(set(found))
    assert all(grace <= rung < most for rung in found)
    assert (found[:1] == (grace,)) == (grace < most)


@pytest.mark.parametrize(
    ("others", "loss", "factor", "stopped"),
    [
        ([], 9.0, 3, False),
        ([1.0], 1.0, 3, False),
        ([1.0], 1.1, 3, True),
        ([1.0], 0.9, 3, False),
        ([1, 2, 3, 4], 2.0, 3, False),
        ([1, 2, 3, 4], 2.1, 3, True),
        ([1, 2, 3], 2.0, 2, False),
        ([-0.3, -0.1], -0.25, 2, False),
        ([], math.nan, 3, True),
        ([], math.inf, 3, True),
        ([math.inf, math.nan], 1.0, 3, False),
        ([1.0, math.inf, math.nan], 1.1, 3, True),
    ],
)
def test_best_part_goes_on(others, loss, factor, stopped):
    assert stops(others, loss, factor) is stopped


LOSSES = st.floats(-10, 10) | st.sampled_from([0.1, 0.3, -0.4, 0.7])


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=40), st.floats(0, 1))
def test_quantile_is_that_of_numpy_to_the_last_digit(numbers, share):
    assert quantile(sorted(numbers), share) == np.quantile(numbers, share)


@given(st.lists(st.tuples(st.sampled_from("abcd"), LOSSES | st.just(math.nan)), max_size=30))
def test_a_trial_counts_once_at_a_rung(reports):
    """With the last loss that it came with, as after the death of its process."""
    halving = Halving(EarlyStopping(grace_iterations=1, reduction_factor=3), 9)
    last = {}
    for trial, loss in reports:
        others = [each for name, each in last.items() if name != trial]
        assert halving.verdict(trial, 1, loss) == stops(others, loss, 3)
        last[trial] = loss


@given(st.lists(LOSSES, min_size=1, max_size=30), st.sampled_from(FACTORS))
def test_ray_decides_the_same_at_a_rung(losses, factor):
    bracket = _Bracket(1, 1, factor, 0)
    for number, loss in enumerate(losses):
        ray = bracket.on_result(SimpleNamespace(trial_id=str(number)), 1, -loss)
        assert stops(losses[:number], loss, factor) == (ray == "STOP")


@given(st.lists(st.lists(LOSSES, min_size=30, max_size=30), min_size=1, max_size=8), st.sampled_from(FACTORS))
def test_ray_stops_the_same_trials_after_the_same_iteration(trials, factor):
    grace, most = 2, 30
    bracket = _Bracket(grace, most, factor, 0)
    recorded = {rung: [] for rung in rungs(grace, factor, most)}
    for number, losses in enumerate(trials):
        trial = SimpleNamespace(trial_id=str(number))
        for iteration in range(1, most):
            loss = losses[iteration - 1]
            stopped = False
            if iteration in recorded:
                stopped = stops(recorded[iteration], loss, factor)
                recorded[iteration].append(loss)
            assert stopped == (bracket.on_result(trial, iteration, -loss) == "STOP")
            if stopped:
                break
