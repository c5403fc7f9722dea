"""AI Platform tuning files, read as they are."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path

import pytest
import yaml

from toolkit.config import PRESETS
from toolkit.errors import SpecError
from tune.spec import Choices, Fixed, Interval, SearchSpec
from tune.spec.aiplatform import NAMES

# The search of the TensorFlow WALS tutorial.
TUTORIAL = json.loads(
    (Path(__file__).parent.parent / "examples/tutorial-tuning.json").read_text(encoding="utf-8")
)
PATH = "trainingInput.hyperparameters"


@pytest.fixture
def load(tmp_path):
    def load(document, **overrides):
        path = tmp_path / "tune.json"
        path.write_text(json.dumps(document), encoding="utf-8")
        return SearchSpec.load(path, **overrides)

    return load


@pytest.fixture
def mistakes(load):
    """Return the mistakes that are told of a file, one a line."""

    def mistakes(document):
        with pytest.raises(SpecError) as raised:
            load(document)
        first, *rest = str(raised.value).splitlines()
        assert re.fullmatch(rf".*tune\.json has {len(rest)} mistake\(s\):", first)
        return [line.strip() for line in rest]

    return mistakes


def searching(*params, **keys):
    return {"trainingInput": {"hyperparameters": {"params": list(params), **keys}}}


def double(name, low, high, **keys):
    return {"parameterName": name, "type": "DOUBLE", "minValue": low, "maxValue": high, **keys}


def test_the_tutorials_file_is_its_search(load):
    spec = load(TUTORIAL)
    assert spec.space == {
        "regularization": Interval(0.001, 10.0, "reverse_log"),
        "factors": Interval(5, 50, "reverse_log", integer=True),
        "unobserved_weight": Interval(0.001, 5.0, "reverse_log"),
        "observed_weight": Interval(1.0, 200.0, "linear"),
        "weight_exponent": Fixed(1.0),
    }
    assert (spec.preset, spec.trials, spec.concurrency) == ("tutorial-default", 500, 1)


def test_a_trial_of_the_tutorials_search_is_the_tutorials_model(load):
    config = load(TUTORIAL).config(
        {"regularization": 10.001 - 9.83, "factors": 21, "unobserved_weight": 5.0, "observed_weight": 189.8}
    )
    tuned = PRESETS["tutorial-tuned"].to_dict()
    assert config.bias == tuned.pop("bias")
    assert {k: v for k, v in config.to_dict().items() if k != "bias"} == pytest.approx(tuned)


def test_given_options_replace_those_of_the_file(load):
    assert load(TUTORIAL, trials=3).trials == 3


def test_yaml_is_read_as_json_is(load, tmp_path):
    (tmp_path / "tune.yaml").write_text(yaml.safe_dump(TUTORIAL), encoding="utf-8")
    assert SearchSpec.load(tmp_path / "tune.yaml") == load(TUTORIAL)


def tuning(**keys):
    document = copy.deepcopy(TUTORIAL)
    document["trainingInput"]["hyperparameters"] |= keys
    return document


def test_keys_that_mean_nothing_here_are_passed_over(load):
    document = tuning()
    document["trainingInput"] |= {"scaleTier": "CUSTOM", "region": "us-central1"}
    assert load(document) == load(TUTORIAL)


@pytest.mark.parametrize("tag", ["rmse", "RMSE", "eval/valid_rmse", "training/hptuning/metric"])
def test_tag_of_an_rmse_is_passed_over(load, tag):
    assert load(tuning(hyperparameterMetricTag=tag)) == load(TUTORIAL)


def test_trials_do_all_their_iterations_unless_the_file_says_otherwise(load):
    assert load(TUTORIAL).early_stopping is None
    assert load(tuning(enableTrialEarlyStopping=False)).early_stopping is None
    assert load(tuning(enableTrialEarlyStopping=True)).early_stopping == SearchSpec.load().early_stopping


@pytest.mark.parametrize(
    ("keys", "sampler"),
    [
        ({}, "tpe"),
        ({"algorithm": "ALGORITHM_UNSPECIFIED"}, "tpe"),
        ({"algorithm": "RANDOM_SEARCH"}, "random"),
    ],
)
def test_algorithms_have_their_sampler(load, keys, sampler):
    assert load(tuning(**keys)).sampler == sampler


def test_failures_are_counted_as_the_file_says(load):
    assert load(tuning(maxFailedTrials="7")).max_failures == 7
    assert load(tuning(maxFailedTrials=0)).max_failures == load(TUTORIAL).max_failures == 20


@pytest.mark.parametrize(
    ("keys", "text"),
    [
        (
            {"algorithm": "GRID_SEARCH"},
            ("algorithm must be one of ALGORITHM_UNSPECIFIED, RANDOM_SEARCH, but got 'GRID_SEARCH'"),
        ),
        (
            {"algorithm": "RANDOM"},
            "algorithm must be one of ALGORITHM_UNSPECIFIED, RANDOM_SEARCH, but got 'RANDOM' (did you mean",
        ),
        (
            {"algorithm": ["x"]},
            "algorithm must be one of ALGORITHM_UNSPECIFIED, RANDOM_SEARCH, but got ['x']",
        ),
        (
            {"enableTrialEarlyStopping": "yes"},
            "enableTrialEarlyStopping must be true or false, but got 'yes'",
        ),
        (
            {"hyperparameterMetricTag": "auc"},
            "hyperparameterMetricTag must name an RMSE, since one is searched",
        ),
        (
            {"resumePreviousJobId": "job_1"},
            "resumePreviousJobId must be left out (in a specification of our own, `start` names studies)",
        ),
        ({"maxFailedTrials": -1}, "maxFailedTrials must be between 0 and 100000, but got -1"),
        (
            {"maxTrails": 3},
            (
                "maxTrails: unknown key (did you mean 'maxTrials'?); valid: params, goal, maxTrials, "
                "maxParallelTrials, maxFailedTrials, hyperparameterMetricTag, resumePreviousJobId, "
                "enableTrialEarlyStopping, algorithm"
            ),
        ),
    ],
    ids=str,
)
def test_mistake_of_the_search_is_told_with_its_key_path(mistakes, keys, text):
    (found,) = mistakes(tuning(**keys))
    assert found.startswith(f"{PATH}.{text}")


def test_numbers_may_be_numbers_and_scale_may_be_left_out(load):
    spec = load(searching(double("regularization", 0.5, 2), double("latent_factors", 2.0, "8.0")))
    assert spec.space == {
        "regularization": Interval(0.5, 2.0, "linear"),
        "factors": Interval(2, 8, "linear", integer=True),
    }


@pytest.mark.parametrize(
    ("scale", "ours"),
    [("NONE", "linear"), ("UNIT_LINEAR_SCALE", "linear"), ("UNIT_LOG_SCALE", "log")],
)
def test_scales_have_their_meaning(load, scale, ours):
    assert (
        load(searching(double("regularization", 1, 2, scaleType=scale))).space["regularization"].scale == ours
    )


def test_listed_values_are_choices(load):
    spec = load(
        searching(
            {"parameterName": "latent_factors", "type": "DISCRETE", "discreteValues": [5, 10.0, "20"]},
            {"parameterName": "regularization", "type": "CATEGORICAL", "categoricalValues": ["0.1", "1"]},
        )
    )
    assert spec.space == {"factors": Choices((5, 10, 20)), "regularization": Choices((0.1, 1.0))}


def test_searched_exponent_is_not_set_to_the_linear_weights(load):
    space = load(searching(double("feature_wt_exp", 0.1, 2), double("feature_wt_factor", 1, 9))).space
    assert space["weight_exponent"] == Interval(0.1, 2.0)


def test_all_mistakes_are_listed_in_one_go_with_the_files_own_keys(mistakes):
    found = mistakes(
        searching(
            double("regularisation", 0, 1),
            double("regularization", "little", "much"),
            double("unobs_weight", 0, 5, scaleType="UNIT_LOG_SCALE"),
            double("feature_wt_factor", 5, -5, scaletype="UNIT_LOG_SCALE"),
            {"parameterName": "latent_factors", "type": "INTEGER", "minValue": "5.5", "maxValue": 5000},
            {"parameterName": "num_iters", "type": "INT", "minValue": 1, "maxValue": 2},
            {"type": "DOUBLE"},
            {"parameterName": "feature_wt_exp", "type": "DISCRETE", "discreteValues": [1, 11]},
            double("factors", 1, 2),
            "params",
            goal="MAXIMIZE",
            maxTrials="many",
            maxParallelTrials=0,
        )
    )
    at = f"{PATH}.params"
    assert found == [
        (
            f"{at}[0].parameterName: unknown 'regularisation' (did you mean 'regularization'?); "
            f"valid: {', '.join(NAMES)}"
        ),
        f"{at}[1].minValue must be a number, but got 'little'",
        f"{at}[1].maxValue must be a number, but got 'much'",
        f"{at}[2].minValue must be at least 1e-100 on a log scale, but got 0",
        (
            f"{at}[3].scaletype: unknown key (did you mean 'scaleType'?); "
            "valid: parameterName, type, minValue, maxValue, discreteValues, categoricalValues, scaleType"
        ),
        f"{at}[3].maxValue must be between 0 and 1e+06, but got -5",
        f"{at}[4].minValue must be a whole number, but got 5.5",
        f"{at}[4].maxValue must be between 0 and 1024, but got 5000",
        (
            f"{at}[5].type must be one of INTEGER, DOUBLE, DISCRETE, CATEGORICAL, but got 'INT'"
            " (did you mean 'INTEGER'?)"
        ),
        f"{at}[6].parameterName is missing",
        f"{at}[7].discreteValues[1] must be between 0 and 10, but got 11",
        f"{at}[8].parameterName: 'factors' occurs twice",
        (
            f"{at}[9] must map parameterName, type, minValue, maxValue, discreteValues, categoricalValues "
            "and scaleType to values, but got 'params'"
        ),
        f"{PATH}.goal must be MINIMIZE, since an RMSE is searched, but got 'MAXIMIZE'",
        f"{PATH}.maxTrials must be a whole number, but got 'many'",
        f"{PATH}.maxParallelTrials must be between 1 and 10000, but got 0",
    ]


@pytest.mark.parametrize(
    ("param", "text"),
    [
        (
            double("regularization", 2, 1),
            "[0]: minValue must not be above maxValue, but got (minValue=2, maxValue=1)",
        ),
        (double("regularization", None, 1), "[0].minValue must be a number, but got None"),
        (double("regularization", "nan", 1), "[0].minValue must be between 0 and 1e+06, but got nan"),
        (
            double("regularization", 1, 2, scaleType="LOG"),
            "[0].scaleType must be one of NONE, UNIT_LINEAR_SCALE",
        ),
        (double(["x"], 1, 2), "[0].parameterName: unknown \"['x']\""),
        (
            {"parameterName": "regularization", "type": "DISCRETE"},
            "[0].discreteValues must be a list of at least one value, but got None",
        ),
        (
            {"parameterName": "regularization", "type": "CATEGORICAL", "categoricalValues": ["low"]},
            "[0].categoricalValues[0] must be a number, but got 'low'",
        ),
    ],
    ids=str,
)
def test_mistake_of_a_parameter_is_told_with_its_key_path(mistakes, param, text):
    (found,) = mistakes(searching(param))
    assert found.startswith(f"{PATH}.params{text}")


@pytest.mark.parametrize("params", [[], None, {"parameterName": "regularization"}, "regularization"])
def test_file_that_searches_nothing_is_refused(mistakes, params):
    document = searching()
    document["trainingInput"]["hyperparameters"]["params"] = params
    assert mistakes(document) == [
        f"{PATH}.params must be a list of at least one parameter, but got {params!r}"
    ]


@pytest.mark.parametrize(
    "training_input",
    [None, [], "x", {}, {"hyperparameters": None}, {"hyperparameters": {"goal": "MINIMIZE"}}],
)
def test_file_without_parameters_is_refused(load, training_input):
    with pytest.raises(SpecError, match=rf"tune.json: {PATH}.params is missing"):
        load({"trainingInput": training_input})
