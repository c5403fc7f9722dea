"""The pictures of a report: importances, scales, and what can be drawn of any study."""

from __future__ import annotations

import itertools
import math
import re
import sys

import matplotlib as mpl
import numpy as np
import pytest
from markup import Page
from trials import NOTHING, ONE, SPACE, made_up_trials, spec_of

from tune.report import drawing, scales
from tune.report.importance import importances
from tune.report.pictures import pictures
from tune.spec import Choices, Fixed, Interval

# Drawing takes longer with every hyperparameter that was searched.
TWO = {"momentum": SPACE["momentum"], "bias": SPACE["bias"]}
SCALES = {**TWO, "factors": SPACE["factors"], "regularization_exponent": {"low": 0.3, "high": 0.8}}

# Importances


@pytest.fixture(scope="module")
def forty():
    """Forty trials that all finished, and the importances in them."""
    spec = spec_of()
    trials = made_up_trials(40, spec, failing=0)
    return spec, trials, importances(trials, spec.space, spec.metric)


def test_importances_find_what_the_loss_was_made_of_and_add_up_to_one(forty):
    _, _, found = forty
    assert next(iter(found)) == "regularization"
    assert sum(found.values()) == pytest.approx(1)
    assert set(found) == set(SPACE) - {"iterations"}
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert all(type(part) is float for part in found.values())


def test_importances_of_equal_trials_are_equal_and_touch_no_global_state():
    spec = spec_of()
    trials = made_up_trials(6, spec)
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert importances(trials, spec.space, spec.metric) == importances(trials, spec.space, spec.metric)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


@pytest.mark.parametrize("n", [0, 3])
def test_fewer_than_four_finished_trials_have_no_importances(n):
    spec = spec_of()
    trials = made_up_trials(n, spec, failing=0) + made_up_trials(9, spec, failing=1)
    assert importances(trials, spec.space, spec.metric) == {}


def test_one_trial_that_diverged_is_not_all_there_is_to_explain(forty):
    spec, trials, before = forty
    assert trials[-1]["valid_rmse"] < 1e9
    after = importances([*trials[:-1], {**trials[-1], "valid_rmse": 1e9}], spec.space, spec.metric)
    assert after["regularization"] == pytest.approx(before["regularization"], abs=0.15)


def test_importances_leave_out_trials_outside_of_the_space_and_without_a_figure():
    spec = spec_of()
    trials = made_up_trials(12, spec, failing=0)
    expected = importances(trials[2:], spec.space, spec.metric)
    trials[0]["config"]["factors"] = 1000
    trials[1]["valid_rmse"] = math.nan
    assert importances(trials, spec.space, spec.metric) == expected


def test_importances_of_one_hyperparameter_and_of_equal_trials():
    spec = spec_of(ONE)
    trials = made_up_trials(6, spec, failing=0)
    assert importances(trials, spec.space, spec.metric) == {"factors": 1.0}
    for trial in trials:
        trial["valid_rmse"] = 0.9
    assert importances(trials, spec.space, spec.metric) == {"factors": 0.0}
    assert importances(trials, {"factors": Fixed(3)}, spec.metric) == {}


# Scales


@pytest.mark.parametrize(
    ("domain", "places"),
    [
        (Interval(1.0, 5.0), {1.0: 0, 2.0: 0.25, 5.0: 1, 9.0: 1, -1.0: 0}),
        (Interval(0.01, 1.0, "log"), {0.01: 0, 0.1: 0.5, 1.0: 1}),
        (Interval(0.01, 1.0, "reverse_log"), {0.01: 0, 0.91: 0.5, 1.0: 1}),
        (Interval(2, 2, integer=True), {2: 0.5}),
        (Choices(("a", "b")), {"a": 0.25, "b": 0.75}),
        (Fixed(3), {3: 0.5}),
    ],
)
def test_positions_are_on_the_scale_that_was_searched(domain, places):
    for value, place in places.items():
        assert scales.Scale(domain).position(value) == pytest.approx(place)


@pytest.mark.parametrize("value", [None, math.nan, "c", True])
def test_what_is_no_value_has_no_position(value):
    assert math.isnan(scales.Scale(Interval(0.0, 1.0)).position(value))
    assert math.isnan(scales.Scale(Choices(("a", "b"))).position("c"))


@pytest.mark.parametrize(
    "domain",
    [
        Interval(low, high, scale)
        for low, high in [(1e-4, 1e3), (0.3, 0.8), (8, 64), (9.99, 10), (1e-9, 1e-8)]
        for scale in ("linear", "log", "reverse_log")
    ],
)
def test_ticks_begin_and_end_the_axis_and_do_not_touch(domain):
    ticks = scales.Scale(domain).ticks()
    at = [place for place, _ in ticks]
    assert (at[0], at[-1]) == (0, 1)
    assert min(b - a for a, b in itertools.pairwise(at)) > 0.08
    assert len(ticks) <= 13


def test_ticks_of_whole_numbers_are_whole():
    labels = [label for _, label in scales.Scale(Interval(1, 4, integer=True)).ticks()]
    assert labels == ["1", "2", "3", "4"]


# Pictures


@pytest.fixture(scope="module")
def one():
    """A study of one hyperparameter: its specification, its trials, and their pictures."""
    spec = spec_of(ONE)
    trials = made_up_trials(5, spec)
    return spec, trials, pictures(spec, trials)


def check(drawn):
    assert list(drawn) == ["history", "curves", "importances", "slices", "parallel"]
    for name, picture in drawn.items():
        assert Page(drawing.embedded(picture.document, name, picture.description)).open == []
        assert Page(picture.document).open == []
        assert not any(f"var(--{name})" in picture.document for name in drawing.VARIABLES.values())


@pytest.mark.parametrize(
    ("n", "kind", "space", "metric"),
    [
        (0, {}, None, "rmse"),
        (1, {"failing": 0}, TWO, "rmse"),
        (2, NOTHING, TWO, "ndcg@10"),
        (9, {"diverging": 0.2}, SCALES, "recall@5"),
    ],
)
def test_every_picture_can_be_drawn(n, kind, space, metric):
    spec = spec_of(space, metric=metric)
    before = dict(mpl.rcParams)
    check(pictures(spec, made_up_trials(n, spec, **kind)))
    assert dict(mpl.rcParams) == before
    pyplot = sys.modules.get("matplotlib.pyplot")
    assert pyplot is None or pyplot.get_fignums() == []


def test_pictures_of_one_hyperparameter_can_be_drawn(one):
    check(one[2])


def test_pictures_bear_figures_that_are_none():
    spec = spec_of(ONE)
    trials = made_up_trials(8, spec, failing=0)
    trials[0]["history"]["valid_rmse"][3] = None
    trials[1]["history"]["valid_rmse"][-1] = trials[1]["valid_rmse"] = math.nan
    trials[2]["history"] = {}
    trials[3]["history"]["valid_rmse"] = [math.inf] * 4
    trials[4]["config"] = {}
    for trial in (trials[5], trials[6]):
        trial["valid_rmse"], trial["train_rmse"] = math.inf, None
    for name, picture in pictures(spec, trials).items():
        assert "<svg" in drawing.embedded(picture.document, name, picture.description)


def test_pictures_of_a_space_where_all_is_fixed_say_so():
    spec = spec_of()
    fixed = {name: Fixed(1) for name in spec.space}
    again = pictures(_with(spec, fixed), made_up_trials(5, spec, failing=0))
    assert "Every hyperparameter was fixed." in drawing.embedded(again["parallel"].document, "p", "x")
    assert "Every hyperparameter was fixed." in drawing.embedded(again["slices"].document, "s", "x")


def _with(spec, space):
    import dataclasses

    return dataclasses.replace(spec, space=space)


def test_equal_trials_make_equal_pictures(one):
    spec, trials, first = one
    for name, second in pictures(spec, made_up_trials(len(trials), spec)).items():
        assert second.document == first[name].document


def test_numbers_that_people_read_are_not_rounded_with_the_coordinates(one):
    _, trials, drawn = one
    shown = drawing.embedded(drawn["parallel"].document, "parallel", "RMSE 0.12345")
    assert f"valid RMSE {trials[0]['valid_rmse']:.4f}" in shown
    assert 'aria-label="RMSE 0.12345"' in shown
    assert not re.findall(r'd="[^"]*\d\.\d{3}', shown)


@pytest.mark.parametrize("mode", ["min", "max"])
def test_window_leaves_out_what_is_far_worse_and_nothing_else(mode):
    sign = 1 if mode == "min" else -1
    values = [sign * (0.9 + 0.001 * n) for n in range(20)]
    low, high = drawing.window([*values, sign * 1e6, math.nan], mode=mode)
    assert low < min(values)
    assert high > max(values)
    assert max(abs(low), abs(high)) < 1
    assert drawing.window([], mode=mode) == (0, 1)
    low, high = drawing.window([0.9], mode=mode)
    assert low < 0.9 < high
