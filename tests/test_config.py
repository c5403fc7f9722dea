"""Hyperparameters and run options: ranges, types, mistakes in one go, and the way to a dict and back."""

from __future__ import annotations

import dataclasses
import doctest
import json
import re
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import toolkit.config
import toolkit.errors
from toolkit.config import PRESETS, Choice, Range, RunOptions, WALSConfig
from toolkit.errors import ConfigError, WalslabError

NUMBERS = {name: valid for name, valid in WALSConfig.valid().items() if isinstance(valid, Range)}


def strategy(valid):
    """Return any value that is valid."""
    if isinstance(valid, Choice):
        return st.sampled_from(valid.words)
    return st.integers(valid.low, valid.high) if valid.integer else st.floats(valid.low, valid.high)


VALUES = st.fixed_dictionaries(
    {}, optional={name: strategy(valid) for name, valid in WALSConfig.valid().items()}
).filter(lambda v: v.get("unobserved_weight", 0.0) + v.get("observed_weight", 1.0) > 0)


@given(values=VALUES)
def test_any_valid_config_survives_a_round_trip_through_json(values):
    config = WALSConfig.from_dict(values)
    assert WALSConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert {k: v for k, v in config.to_dict().items() if k in values} == values


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("end", ["low", "high"])
def test_both_ends_of_a_range_are_valid(name, end):
    value = getattr(NUMBERS[name], end)
    # An observed weight of 0 needs an unobserved one.
    config = WALSConfig(**{"unobserved_weight": 1.0, name: value})
    assert getattr(config, name) == value


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("side", [-1, 1])
def test_beyond_either_end_is_an_error_that_names_range_and_value(name, side):
    valid = NUMBERS[name]
    end = valid.high if side > 0 else valid.low
    value = end + side if valid.integer else float(np.nextafter(end, side * np.inf))
    text = f"{name} must be between {valid.low:g} and {valid.high:g}, but got {value!r}"
    with pytest.raises(ConfigError, match=re.escape(text)):
        WALSConfig(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize(
    "value", [True, False, np.True_, "3", None, [1], 1 + 0j, float("nan"), float("inf"), np.float32("nan")]
)
def test_what_is_not_a_finite_number_is_an_error(name, value):
    if value is None and NUMBERS[name].optional:
        assert getattr(WALSConfig(**{name: value}), name) is None
        return
    with pytest.raises(ConfigError, match=f"^{name} must be"):
        WALSConfig(**{name: value})


@pytest.mark.parametrize("name", [n for n, v in NUMBERS.items() if v.integer])
@pytest.mark.parametrize("value", [3.0, 2.5, np.float64(4), Fraction(3)])
def test_a_whole_number_is_never_cut_from_another(name, value):
    with pytest.raises(ConfigError, match=f"{name} must be a whole number, but got"):
        WALSConfig(**{name: value})


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", [10**400, -(10**400), 10**5000, Fraction(10**400), 2**64], ids=range(5))
def test_a_number_beyond_every_float_is_out_of_range(name, value):
    kind = "a whole number" if NUMBERS[name].integer and isinstance(value, Fraction) else "between"
    with pytest.raises(ConfigError, match=f"^{name} must be {kind}"):
        WALSConfig(**{name: value})


@pytest.mark.parametrize("values", [None, 3, "factors", [("factors", 3)], {"factors"}])
def test_what_is_no_mapping_is_refused(values):
    with pytest.raises(ConfigError, match="must be a mapping of names to values, but got"):
        WALSConfig.from_dict(values)


@pytest.mark.parametrize("module", [toolkit.config, toolkit.errors])
def test_the_examples_of_the_classes_run(module):
    results = doctest.testmod(module)
    assert (results.failed, results.attempted > 0) == (0, True)


@pytest.mark.parametrize("kind", [np.int8, np.int64, np.uint16, int])
def test_numpy_whole_numbers_become_plain_ones(kind):
    config = WALSConfig(factors=kind(7), regularization=kind(3))
    assert type(config.factors) is int
    assert type(config.regularization) is float
    assert (config.factors, config.regularization) == (7, 3.0)


@pytest.mark.parametrize(
    "kind",
    [
        np.float32,
        np.float64,
        Fraction,
        np.float16,
    ],
)
def test_numpy_reals_become_plain_floats(kind):
    config = WALSConfig(regularization=kind(0.25))
    assert type(config.regularization) is float
    assert config == WALSConfig(regularization=0.25)


@pytest.mark.parametrize("value", ["ful", "FULL", "", None, 0, True, ["full"]])
def test_a_word_that_is_no_choice_is_an_error_that_lists_them(value):
    with pytest.raises(ConfigError, match=r"bias must be one of none, mean, full, but got"):
        WALSConfig(bias=value)


def test_the_nearest_word_is_offered():
    with pytest.raises(ConfigError, match=r"got 'ful' \(did you mean 'full'\?\)"):
        WALSConfig(bias="ful")


def test_a_numpy_word_becomes_a_plain_one():
    assert type(WALSConfig(bias=np.str_("mean")).bias) is str


def test_all_mistakes_are_reported_in_one_go():
    with pytest.raises(ConfigError) as caught:
        WALSConfig(factors=-1, iterations=1.5, regularization=-1, weight_exponent="1", bias="some")
    for name in ("factors", "iterations", "regularization", "weight_exponent", "bias"):
        assert f"{name} must be" in str(caught.value)
    assert str(caught.value).count(";") == 4


def test_unknown_keys_are_all_named_with_the_nearest_valid_ones():
    with pytest.raises(ConfigError) as caught:
        WALSConfig.from_dict({"factor": 3, "regularisation": 1, "qqq": 1, "bias": "full"})
    text = str(caught.value)
    assert "unknown hyperparameter 'factor' (did you mean 'factors'?)" in text
    assert "unknown hyperparameter 'regularisation' (did you mean 'regularization'?)" in text
    assert "unknown hyperparameter 'qqq';" in text
    assert text.endswith(f"valid are {', '.join(WALSConfig.valid())}")


def test_unknown_keys_and_bad_values_are_reported_in_one_go():
    with pytest.raises(ConfigError, match=r"(?s)'factor'.*regularization must be"):
        WALSConfig.from_dict({"factor": 3, "regularization": -1})


@pytest.mark.parametrize("key", [1, None, 2.5])
def test_an_unknown_key_that_is_no_string_is_an_error_of_ours(key):
    with pytest.raises(ConfigError, match="unknown hyperparameter"):
        WALSConfig.from_dict({key: 3})


@pytest.mark.parametrize("option", [f.name for f in dataclasses.fields(RunOptions)])
def test_where_it_runs_is_not_part_of_what_identifies_a_model(option):
    with pytest.raises(ConfigError, match=f"unknown hyperparameter '{option}'"):
        WALSConfig.from_dict({option: getattr(RunOptions(), option)})


def test_weights_that_are_both_zero_are_an_error():
    with pytest.raises(ConfigError, match="must not both be 0"):
        WALSConfig(unobserved_weight=0, observed_weight=0)
    assert WALSConfig(unobserved_weight=0.1, observed_weight=0).observed_weight == 0


def test_replace_checks_and_leaves_the_original():
    config = WALSConfig()
    assert config.replace(factors=5).factors == 5
    assert config == WALSConfig()
    with pytest.raises(ConfigError, match="did you mean 'factors'"):
        config.replace(factor=5)
    with pytest.raises(ConfigError, match="factors must be between"):
        config.replace(factors=-1)


def test_a_config_is_frozen_hashable_and_keyword_only():
    config = WALSConfig(factors=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.factors = 4
    with pytest.raises(TypeError):
        WALSConfig(3)
    assert {config: 1}[WALSConfig(factors=np.int64(3))] == 1


def test_every_hyperparameter_has_a_range_that_holds_its_default_and_an_explanation():
    assert list(WALSConfig.valid()) == list(WALSConfig.help()) == list(WALSConfig().to_dict())
    for name, valid in WALSConfig.valid().items():
        assert valid.problem(WALSConfig().to_dict()[name]) is None
        assert WALSConfig.help()[name]


def test_presets_are_the_two_settings_of_the_tutorial_and_the_defaults():
    assert PRESETS["default"] == WALSConfig()
    plane = {
        "iterations": 20,
        "regularization_exponent": 0.0,
        "regularization_offset": 0.0,
        "bias_regularization": None,
        "bias": "none",
        "scale": "none",
        "pattern_weight": 0.0,
        "momentum": 0.0,
        "clip": "none",
    }
    assert PRESETS["tutorial-default"].to_dict() == {
        **plane,
        "factors": 5,
        "regularization": 0.07,
        "unobserved_weight": 0.01,
        "observed_weight": 1.0,
        "weight_exponent": 0.08,
    }
    assert PRESETS["tutorial-tuned"].to_dict() == {
        **plane,
        "factors": 34,
        "regularization": 9.83,
        "unobserved_weight": 0.001,
        "observed_weight": 189.8,
        "weight_exponent": 1.0,
    }


def test_run_options_have_their_own_ranges():
    options = RunOptions(
        seed=np.int64(2**63 - 1), backend="numpy", threads=2, dtype="float64", solver="exact"
    )
    assert dataclasses.asdict(options) == {
        "seed": 2**63 - 1,
        "backend": "numpy",
        "threads": 2,
        "dtype": "float64",
        "solver": "exact",
    }
    assert RunOptions() == RunOptions(seed=0, backend="auto", threads=0, dtype="float32", solver="auto")


def test_run_options_report_all_mistakes_in_one_go():
    with pytest.raises(ConfigError) as caught:
        RunOptions(seed=-1, backend="gpu", threads=True, dtype="float16")
    text = str(caught.value)
    assert "seed must be between" in text
    assert "backend must be one of auto, numpy, numba, cupy, cuda, but got 'gpu'" in text
    assert "threads must be a whole number, but got True" in text
    assert "dtype must be one of float32, float64, but got 'float16' (did you mean 'float" in text


def test_a_config_error_is_a_value_error_and_bad_usage():
    with pytest.raises(ValueError, match="factors") as caught:
        WALSConfig(factors=-1)
    assert isinstance(caught.value, WalslabError)
    assert caught.value.exit_code == 2
