"""Search domains: what they mean, that all of them can be reached, and what a mistake in one is told."""

from __future__ import annotations

import numpy as np
import optuna
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from toolkit.config import WALSConfig
from tune.spec import SCALES, Choices, Fixed, Interval
from tune.spec.checks import MistakesError
from tune.spec.space_parser import parse_space


def problems_of(**entries):
    with pytest.raises(MistakesError) as raised:
        parse_space(entries)
    return raised.value.under("space")


def sample(domain, size, seed=0):
    distribution = domain.to_optuna()
    if distribution is None:
        return [domain.decode(None)]
    sampler = optuna.samplers.RandomSampler(seed=seed)
    # It heeds neither study nor trial.
    return [domain.decode(sampler.sample_independent(None, None, "x", distribution)) for _ in range(size)]


# Sampling


@given(low=st.integers(1, 60), span=st.integers(0, 4), scale=st.sampled_from(SCALES))
@settings(max_examples=settings.default.max_examples)
def test_every_whole_number_between_both_ends_is_reached(low, span, scale):
    domain = Interval(low, low + span, scale, integer=True)
    values = sample(domain, 300)
    assert set(values) == set(range(low, low + span + 1))
    assert {type(value) for value in values} == {int}


@pytest.mark.parametrize("scale", SCALES)
def test_wide_whole_number_ranges_reach_their_dense_end_and_stay_inside(scale):
    values = sample(Interval(5, 50, scale, integer=True), 1500)
    assert min(values) >= 5
    assert max(values) <= 50
    if scale != "reverse_log":
        assert min(values) == 5
    if scale != "log":
        assert max(values) == 50


@given(
    low=st.floats(1e-4, 10),
    factor=st.floats(1.001, 1e4),
    scale=st.sampled_from(SCALES),
    seed=st.integers(0, 99),
)
@settings(max_examples=settings.default.max_examples)
def test_numbers_come_near_both_ends_and_never_beyond(low, factor, scale, seed):
    high = low * factor
    domain = Interval(low, high, scale)
    values = np.array(sample(domain, 200, seed))
    assert (values >= low).all()
    assert (values <= high).all()
    # On the domain's own scale, the nearest of 200 is farther than 8 % from an end with a chance of 1e-7.
    unit = {
        "linear": lambda x: (x - low) / (high - low),
        "log": lambda x: np.log(x / low) / np.log(high / low),
        "reverse_log": lambda x: 1 - np.log((low + high - x) / low) / np.log(high / low),
    }[scale](values)
    assert unit.min() < 0.08
    assert unit.max() > 0.92


@pytest.mark.parametrize("integer", [False, True])
def test_reverse_log_is_dense_at_the_upper_end(integer):
    up = np.array(sample(Interval(1, 1000, "reverse_log", integer), 1000))
    down = np.array(sample(Interval(1, 1000, "log", integer), 1000))
    # On a log scale from 1 to 1000, two thirds of the values lie in the tenth at the dense end.
    assert np.mean(up > 900) == pytest.approx(2 / 3, abs=0.06)
    assert np.mean(down < 101) == pytest.approx(2 / 3, abs=0.06)
    if integer:
        np.testing.assert_allclose(up, 1001 - down)
    else:  # both ends themselves are found
        assert 0.02 < np.mean(up == 1) < 0.08
        assert 0.02 < np.mean(up == 1000) < 0.08


@given(
    st.sampled_from(SCALES),
    st.integers(1, 1000),
    st.integers(0, 1000),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_decoding_stays_in_range_whatever_was_sampled(scale, low, span, integer, raw):
    value = Interval(low, low + span, scale, integer).decode(raw)
    assert low <= value <= low + span
    assert isinstance(value, int if integer else float)


def test_rounding_of_the_sum_of_both_ends_does_not_leave_the_range():
    assert 0.1 + 0.3 - 0.1 > 0.3
    assert Interval(0.1, 0.3, "reverse_log").decode(0.1) == 0.3


def test_choices_reach_every_value():
    domain = Choices(("none", "mean", "full"))
    assert set(sample(domain, 100)) == set(domain.values)


@pytest.mark.parametrize(
    "domain",
    [Fixed(3), Interval(3, 3, integer=True), Interval(3.0, 3.0, "log"), Choices((3,)), Choices((3, 3))],
)
def test_one_value_is_no_search(domain):
    assert domain.to_optuna() is None
    assert not domain.searched
    assert domain.bounds == (3, 3)
    assert domain.decode(None) == domain.encode(3) == 3


# The way back


@given(
    low=st.floats(1e-4, 10),
    factor=st.floats(1.001, 1e4),
    scale=st.sampled_from(SCALES),
    share=st.floats(0, 1),
)
def test_number_that_was_sampled_is_found_again_to_the_last_digit(low, factor, scale, share):
    domain = Interval(low, low * factor, scale)
    value = domain.decode(low + share * (low * factor - low))
    assert domain.decode(domain.encode(value)) == value


@pytest.mark.parametrize(
    ("low", "high"),
    [(0.9999999999999999, 1.9999999999999998), (1.491493615671061, 524286.6334303419), (1e-100, 1.0)],
)
def test_number_from_beyond_an_end_is_found_again(low, high):
    domain = Interval(low, high, "reverse_log")
    distribution = domain.to_optuna()
    for raw in (distribution.low, *np.linspace(low, high, 501), distribution.high):
        value = domain.decode(float(raw))
        assert distribution._contains(domain.encode(value))
        assert domain.decode(domain.encode(value)) == value


@given(
    low=st.integers(1, 500), span=st.integers(0, 500), scale=st.sampled_from(SCALES), share=st.floats(0, 1)
)
def test_whole_number_is_found_again(low, span, scale, share):
    domain = Interval(low, low + span, scale, integer=True)
    value = low + round(share * span)
    raw = domain.encode(value)
    assert isinstance(raw, int)
    assert domain.decode(raw) == value
    assert not domain.searched or domain.to_optuna()._contains(raw)


@pytest.mark.parametrize("scale", SCALES)
def test_numbers_outside_become_the_end_they_are_beyond(scale):
    domain = Interval(0.5, 8.0, scale)
    assert [domain.decode(domain.encode(value)) for value in (0.1, 90)] == [0.5, 8.0]


def test_choice_is_found_again_and_other_numbers_become_the_nearest():
    assert Choices(("mean", "full")).encode("full") == "full"
    assert [Choices((8, 16, 64)).encode(value) for value in (16, 1, 13, 500)] == [16, 8, 16, 64]
    assert isinstance(Choices((1.0, 2.0)).encode(1), float)


def test_word_that_is_no_choice_has_no_nearest():
    with pytest.raises(ValueError, match="must be one of mean, full, but got 'none'"):
        Choices(("mean", "full")).encode("none")


@pytest.mark.parametrize(
    ("domain", "value", "text"),
    [
        (Fixed(3), 3, None),
        (Fixed(3), 4, "must be 3, but got 4"),
        (Interval(0.5, 8.0), 0.5, None),
        (Interval(0.5, 8.0), 9, "must be between 0.5 and 8, but got 9"),
        (Choices((1, 2)), 2, None),
        (Choices((1, 2)), 3, "must be one of 1, 2, but got 3"),
    ],
    ids=str,
)
def test_domain_says_what_is_wrong_with_a_value(domain, value, text):
    assert domain.problem(value) == text


# Reading


def test_every_form_of_an_entry_is_read():
    entries = {
        "factors": {"low": 8, "high": 64, "scale": "log"},
        "iterations": 15,
        "regularization": {"low": 0, "high": 1},
        "bias": {"choices": ["mean", "full"]},
        "observed_weight": {"choices": [1, 2.5]},
    }
    space = parse_space(entries)
    assert space == {
        "factors": Interval(8, 64, "log", integer=True),
        "iterations": Fixed(15),
        "regularization": Interval(0.0, 1.0, "linear"),
        "bias": Choices(("mean", "full")),
        "observed_weight": Choices((1.0, 2.5)),
    }
    assert isinstance(space["regularization"].low, float)


NAMES = ", ".join(WALSConfig.valid())


@pytest.mark.parametrize(
    ("entries", "text"),
    [
        (
            {"regularisation": 1},
            f"space.regularisation: unknown hyperparameter (did you mean 'regularization'?); valid: {NAMES}",
        ),
        ({"xyz": 1}, f"space.xyz: unknown hyperparameter; valid: {NAMES}"),
        ({"factors": 8.5}, "space.factors must be a whole number, but got 8.5"),
        ({"factors": -1}, "space.factors must be between 0 and 1024, but got -1"),
        ({"factors": True}, "space.factors must be a whole number, but got True"),
        ({"factors": None}, "space.factors must be a whole number, but got None"),
        (
            {"factors": [8, 16]},
            "space.factors must be a whole number, but got [8, 16]: write {choices: [8, 16]}",
        ),
        ({"bias": "ful"}, "space.bias must be one of none, mean, full, but got 'ful' (did you mean 'full'?)"),
        (
            {"regularization": "1e-3"},
            ("space.regularization must be a number, but got '1e-3' (that is text: write it without quotes)"),
        ),
        ({"factors": {"low": 1}}, "space.factors.high is missing"),
        (
            {"factors": {"low": 1, "high": 2000}},
            "space.factors.high must be between 0 and 1024, but got 2000",
        ),
        (
            {"factors": {"low": 9, "high": 3}},
            "space.factors: low must not be above high, but got (low=9, high=3)",
        ),
        (
            {"factors": {"low": 1, "high": 3, "step": 1}},
            "space.factors.step: unknown key; valid: low, high, scale, choices",
        ),
        (
            {"factors": {"low": 1, "hihg": 3, "high": 3}},
            "space.factors.hihg: unknown key (did you mean 'high'?); valid: low, high, scale, choices",
        ),
        (
            {"factors": {"low": 1, "high": 3, "scale": "logarithm"}},
            (
                "space.factors.scale must be one of linear, log, reverse_log, but got 'logarithm' "
                "(did you mean 'log'?)"
            ),
        ),
        (
            {"regularization": {"low": 0.5, "high": 0.5000000001}},
            (
                "space.regularization: low and high must be equal or farther apart, "
                "but got (low=0.5, high=0.5000000001)"
            ),
        ),
        (
            {"regularization": {"low": 0, "high": 3, "scale": "log"}},
            "space.regularization.low must be at least 1e-100 on a log scale, but got 0",
        ),
        (
            {"regularization": {"low": 0, "high": 3, "scale": "reverse_log"}},
            "space.regularization.low must be at least 1e-100 on a reverse_log scale, but got 0",
        ),
        (
            {"bias": {"low": 0, "high": 1}},
            "space.bias takes words: write one of none, mean, full, or {choices: [...]}",
        ),
        (
            {"factors": {"choices": []}},
            "space.factors.choices must be a list of at least one value, but got []",
        ),
        (
            {"factors": {"choices": [1, -1]}},
            "space.factors.choices[1] must be between 0 and 1024, but got -1",
        ),
        (
            {"factors": {"choices": [1], "low": 1}},
            "space.factors.low: unknown key; valid: choices",
        ),
    ],
    ids=str,
)
def test_mistake_is_told_with_its_key_path_and_the_way_out(entries, text):
    assert problems_of(**entries) == [text]


def test_all_mistakes_are_told():
    lines = problems_of(
        factors={"low": -1, "high": 5000}, regularization={"low": 0.1}, bias="all", iterations=3, weight=1
    )
    assert [text.split()[0].rstrip(":") for text in lines] == [
        "space.factors.low",
        "space.factors.high",
        "space.regularization.high",
        "space.bias",
        "space.weight",
    ]


@pytest.mark.parametrize("entries", [None, [], "factors", 3])
def test_space_that_is_no_mapping_is_told(entries):
    with pytest.raises(MistakesError) as raised:
        parse_space(entries)
    assert raised.value.lines == (f" must map hyperparameters to domains, but got {entries!r}",)


@pytest.mark.parametrize(
    "domain",
    [Fixed(8), Interval(1, 8, "log", integer=True), Interval(0.5, 8.0, "reverse_log"), Choices(("a", "b"))],
    ids=str,
)
def test_written_form_is_plain(domain):
    written = domain.to_dict()
    assert written == 8 or set(written) in ({"low", "high", "scale"}, {"choices"})
