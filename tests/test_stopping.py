"""The rule by which training stops."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.solver.stopping import best, stalled

NAN = math.nan


@pytest.mark.parametrize(
    ("errors", "patience", "stops"),
    [
        ([], 1, False),
        ([1.0], 1, False),
        ([1.0, 0.9], 1, False),
        ([1.0, 1.0], 1, True),
        ([1.0, 0.999995], 1, True),
        ([1.0, 1.1, 0.9], 2, False),
        ([1.0, 1.1, 1.2], 2, True),
        ([0.9, 1.1, 1.0, 0.95], 3, True),
        ([1.0, NAN], 1, True),
        ([NAN, NAN], 1, True),
        ([NAN, 1.0], 1, False),
        ([1.0, 2.0, 3.0], 0, False),
    ],
)
def test_it_stops_when_nothing_gets_better_for_so_long(errors, patience, stops):
    assert stalled(errors, patience) is stops


@given(st.lists(st.floats(0, 10), min_size=1), st.integers(1, 5))
def test_it_never_stops_while_errors_fall(errors, patience):
    falling = sorted({round(e, 3) for e in errors}, reverse=True)
    assert not stalled(falling, patience)


@pytest.mark.parametrize(("errors", "at"), [([2.0], 0), ([2, 1, 1], 1), ([NAN, 3], 1), ([NAN, NAN], 0)])
def test_the_best_is_the_first_of_the_smallest(errors, at):
    assert best(errors) == at
