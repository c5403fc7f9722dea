"""The search specification: every mistake of it in one go, and the same document in every form."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from toolkit.config import PRESETS
from toolkit.errors import SpecError
from tune.spec import Choices, EarlyStopping, Fixed, Interval, SearchSpec, default_text

SPACE = {"factors": {"low": 2, "high": 8}}


def mistakes(document):
    """Return the mistakes that are told of a document, one a line."""
    with pytest.raises(SpecError) as raised:
        SearchSpec.from_dict(document)
    first, *rest = str(raised.value).splitlines()
    assert first == f"specification has {len(rest)} mistake(s):"
    return [line.strip() for line in rest]


def write(path, text):
    path.write_text(text, encoding="utf-8")
    return path


# The default


def test_default_specification_is_valid_and_says_what_the_code_does():
    spec = SearchSpec.load()
    assert spec.space["factors"] == Interval(8, 64, "log", integer=True)
    assert spec.space["iterations"] == Fixed(15)
    assert (spec.trials, spec.concurrency, spec.seed, spec.sampler) == (24, None, 0, "tpe")
    assert spec.early_stopping == EarlyStopping(5, 3.0, patience=0)
    assert (spec.start, spec.max_seconds, spec.max_failures, spec.keep_factors) == (
        ("default",),
        None,
        20,
        "all",
    )
    assert (spec.cpu, spec.gpu, spec.backend, spec.posterior) == (1.0, 0.0, "auto", False)
    assert spec.max_iterations == 15


def test_keys_that_are_left_out_keep_their_defaults():
    assert SearchSpec.from_dict({}) == SearchSpec.load()
    assert SearchSpec.from_dict({"resources": {"gpu": 0.5}}).cpu == 1.0
    spec = SearchSpec.from_dict({"early_stopping": {"grace_iterations": 2}})
    assert spec.early_stopping == EarlyStopping(2, 3.0)


def test_document_that_is_older_than_a_key_is_read():
    document = SearchSpec.load().to_dict()
    for key in ("model", "start", "max_seconds", "max_failures", "keep_factors", "posterior"):
        del document[key]
    del document["early_stopping"]["patience"]
    assert SearchSpec.from_dict(document) == SearchSpec.load()


@pytest.mark.parametrize("nothing", ["none", None])
def test_none_is_said_by_the_word_and_by_null(nothing):
    spec = SearchSpec.from_dict({"max_seconds": nothing, "max_failures": nothing, "early_stopping": nothing})
    assert (spec.max_seconds, spec.max_failures, spec.early_stopping) == (None, None, None)
    document = {"early_stopping": {"reduction_factor": nothing, "patience": 3}}
    assert SearchSpec.from_dict(document).early_stopping == EarlyStopping(5, None, 3)


def test_every_key_of_the_default_is_explained():
    comments = [line for line in default_text().splitlines() if "#" in line]
    text = "\n".join(comments)
    for key in yaml.safe_load(default_text()):
        assert re.search(rf"^{key}:.*#|#.*\b{key}\b", text, re.MULTILINE) or key in {"preset", "space"}


SPECS = [
    {},
    {"space": SPACE, "concurrency": 3, "early_stopping": "none", "sampler": "random"},
    {"preset": "tutorial-tuned", "space": {"bias": {"choices": ["none", "full"]}, "iterations": 3}},
    {
        "space": {"regularization": {"low": 1, "high": 2, "scale": "reverse_log"}},
        "seed": 7,
        "backend": "numpy",
    },
    {"space": {**SPACE, "observed_weight": 1}, "resources": {"cpu": 0.5, "gpu": 2}},
    {"space": SPACE, "start": ["ml-100k", "../an old study", {"factors": 3}], "sampler": "gp"},
    {
        "early_stopping": {"reduction_factor": "none", "patience": 4},
        "keep_factors": "none",
        "posterior": True,
    },
    {"max_seconds": 90.5, "max_failures": 1, "early_stopping": {"patience": 2}, "keep_factors": "best"},
]


@pytest.mark.parametrize("document", SPECS, ids=str)
def test_specification_survives_the_way_through_a_dict_and_through_json(document):
    spec = SearchSpec.from_dict(document)
    assert SearchSpec.from_dict(spec.to_dict()) == spec
    assert SearchSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("document", SPECS, ids=str)
def test_json_is_read_as_yaml_is(tmp_path, document):
    as_json = SearchSpec.load(write(tmp_path / "a.json", json.dumps(document, indent="\t")))
    as_yaml = SearchSpec.load(write(tmp_path / "a.yaml", yaml.safe_dump(document)))
    assert as_json == as_yaml == SearchSpec.from_dict(document)


def test_numbers_of_json_are_read_by_the_rules_of_json(tmp_path):
    text = '{"space": {"regularization": {"low": 1e-3, "high": 1E1}}}'
    spec = SearchSpec.load(write(tmp_path / "a.json", text))
    assert spec.space["regularization"] == Interval(0.001, 10.0)


# What the command line changes


def test_given_options_replace_keys_of_the_file(tmp_path):
    path = write(tmp_path / "a.yaml", "trials: 4\nseed: 3\n")
    spec = SearchSpec.load(path, trials=9, seed=None, concurrency=2)
    assert (spec.trials, spec.seed, spec.concurrency) == (9, 3, 2)


# Mistakes


def test_all_mistakes_are_listed_in_one_go():
    found = mistakes(
        {
            "preset": "tutorial",
            "space": {"factor": 3, "regularization": {"low": "1e-3", "high": 1, "scale": "lgo"}},
            "trails": 5,
            "metric": "ndcg@0",
            "trials": 0,
            "concurrency": 1.5,
            "seed": -1,
            "sampler": "gpu",
            "startup_trials": "8",
            "max_seconds": 0,
            "max_failures": 0,
            "keep_factors": "bset",
            "early_stopping": {"grace": 2, "reduction_factor": 1},
            "resources": {"cpus": 2, "gpu": -1},
            "backend": "numpi",
        }
    )
    assert [re.split(r"[: ]", text)[0] for text in found] == [
        "trails",
        "preset",
        "space.factor",
        "space.regularization.scale",
        "space.regularization.low",
        "metric",
        "trials",
        "concurrency",
        "seed",
        "sampler",
        "startup_trials",
        "early_stopping.grace",
        "early_stopping.reduction_factor",
        "max_seconds",
        "max_failures",
        "keep_factors",
        "resources.cpus",
        "resources.gpu",
        "backend",
    ]
    assert "trails: unknown key (did you mean 'trials'?); valid: model, preset, space, metric" in found[0]
    assert "(did you mean 'tutorial-tuned'?)" in found[1] or "(did you mean 'tutorial-default'?)" in found[1]
    assert "unknown hyperparameter (did you mean 'factors'?)" in found[2]
    assert "(that is text: write it without quotes)" in found[4]
    assert found[3].startswith("space.regularization.scale must be one of linear, log, reverse_log")
    assert "metric must be rmse, recall@K or ndcg@K, such as ndcg@10, but got 'ndcg@0'" in found[5]
    assert "(did you mean 'gp'?)" in found[9]
    assert "unknown key; valid: grace_iterations, reduction_factor, patience" in found[11]
    assert found[13].endswith("must be between 0.01 and 1e+09, but got 0; `none` is valid, too")
    assert found[14].endswith("must be between 1 and 100000, but got 0; `none` is valid, too")
    assert "(did you mean 'best'?)" in found[15]
    assert "(did you mean 'cpu'?); valid: cpu, gpu" in found[16]
    assert "(did you mean 'numpy'?)" in found[18]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"trials": 0}, "trials must be between 1 and 100000, but got 0"),
        ({"trials": True}, "trials must be a whole number, but got True"),
        (
            {"trials": "1e3"},
            "trials must be a whole number, but got '1e3' (that is text: write it without quotes)",
        ),
        ({"trials": None}, "trials must be a whole number, but got None"),
        ({"concurrency": "all"}, "concurrency must be a whole number, but got 'all'; `auto` is valid, too"),
        (
            {"preset": ["default"]},
            "preset must be one of default, ml-100k, ml-1m, ml-20m, posterior, tutorial-default,",
        ),
        ({"sampler": "TPE"}, "sampler must be one of tpe, gp, random, but got 'TPE'"),
        ({"space": None}, "space must map hyperparameters to domains, but got None"),
        ({"resources": 2}, "resources must map cpu and gpu to values, but got 2"),
        ({"resources": {"cpu": "1"}}, "resources.cpu must be a number, but got '1' (that is text"),
        ({"resources": {"cpu": float("inf")}}, "resources.cpu must be between 0 and 10000, but got inf"),
        ({"resources": {"gpu": float("nan")}}, "resources.gpu must be between 0 and 10000, but got nan"),
        (
            {"early_stopping": "asha"},
            "early_stopping must map grace_iterations, reduction_factor and patience to values, but got",
        ),
        (
            {"early_stopping": {"reduction_factor": 1}},
            "early_stopping.reduction_factor must be between 1.01 and 10000, but got 1; `none` is valid, too",
        ),
        (
            {"early_stopping": {"reduction_factor": 0.5}},
            "early_stopping.reduction_factor must be between 1.01 and 10000, but got 0.5",
        ),
        (
            {"early_stopping": {"reduction_factor": "none"}},
            "early_stopping stops nothing with `reduction_factor: none` and `patience: 0`: use `early_stop",
        ),
        (
            {"early_stopping": {"patience": -1}},
            "early_stopping.patience must be between 0 and 1e+06, but got -1",
        ),
        ({"max_seconds": "1e3"}, "max_seconds must be a number, but got '1e3' (that is text"),
        (
            {"max_seconds": float("inf")},
            "max_seconds must be between 0.01 and 1e+09, but got inf; `none` is valid, too",
        ),
        ({"max_failures": 2.5}, "max_failures must be a whole number, but got 2.5; `none` is valid, too"),
        ({"posterior": "yes"}, "posterior must be true or false, but got 'yes'"),
        ({"posterior": 1}, "posterior must be true or false, but got 1"),
        ({"keep_factors": None}, "keep_factors must be one of all, best, none, but got None"),
        (
            {"early_stopping": {"grace_iterations": 0}},
            "early_stopping.grace_iterations must be between 1 and 1e+06, but got 0",
        ),
        (
            {"space": {"unobserved_weight": {"low": 0, "high": 1}, "observed_weight": {"choices": [0, 1]}}},
            "space: unobserved_weight and observed_weight can both be 0, and then no rating counts",
        ),
    ],
    ids=str,
)
def test_single_mistake_is_told_once_with_its_key_path(document, text):
    (found,) = mistakes(document)
    assert found.startswith(text)


@pytest.mark.parametrize(
    ("start", "text"),
    [
        ("ml-100k", "start must be a list of presets, studies and mappings of values, but got 'ml-100k'"),
        (
            [{}],
            "start[0] must be a preset, a study's name or path, or a mapping of hyperparameters to values",
        ),
        (["a", " "], "start[1] must be a preset, a study's name or path, or a mapping"),
        ([3], "start[0] must be a preset, a study's name or path, or a mapping"),
        (
            [{"factor": 3}],
            "start[0].factor: unknown hyperparameter (did you mean 'factors'?); searched",
        ),
        (
            [{"iterations": 5}],
            "start[0].iterations: `space` does not search it; searched: factors, regularization, bias",
        ),
        ([{"factors": 9}], "start[0].factors must be between 2 and 8, but got 9, from `space`"),
        ([{"factors": 2.5}], "start[0].factors must be a whole number, but got 2.5"),
        (
            [{"regularization": "1e-3"}],
            "start[0].regularization must be a number, but got '1e-3' (that is text",
        ),
        ([{"bias": "none"}], "start[0].bias must be one of mean, full, but got 'none', from `space`"),
    ],
    ids=str,
)
def test_mistake_of_a_start_point_is_told_with_its_place(start, text):
    space = {
        **SPACE,
        "iterations": 5,
        "momentum": {"low": 0.5, "high": 0.5},
        "regularization": {"low": 0.001, "high": 1},
        "bias": {"choices": ["mean", "full"]},
    }
    (found,) = mistakes({"space": space, "start": start})
    assert found.startswith(text)


def test_values_of_a_start_point_are_read_as_the_hyperparameters_type():
    spec = SearchSpec.from_dict(
        {"space": {"regularization": {"low": 1, "high": 2}}, "start": [{"regularization": 1}]}
    )
    assert spec.start == ({"regularization": 1.0},)
    assert isinstance(spec.start[0]["regularization"], float)


@pytest.mark.parametrize(
    "space",
    [{}, {"factors": 8}, {"factors": {"low": 8, "high": 8}, "bias": {"choices": ["full"]}}],
    ids=str,
)
def test_space_without_anything_to_search_is_refused(space):
    assert mistakes({"space": space}) == [
        "space must search at least one hyperparameter, but all are fixed: use `walslab train`"
    ]


def test_space_with_a_mistake_is_not_also_called_empty():
    (found,) = mistakes({"space": {"factors": {"low": -1, "high": 5}}, "start": [{"factors": 3}]})
    assert found.startswith("space.factors.low")


def test_unknown_keys_need_not_be_text():
    assert [text.split(":")[0] for text in mistakes({7: 1, "space": {None: 2, **SPACE}})] == [
        "7",
        "space.None",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty"),
        ("# later", "must map keys to values, but holds NoneType"),
        ("- trials", "must map keys to values, but holds list"),
        ("trials: [", "is neither YAML nor JSON: .*line 1"),
        ('{"trials": 4,, }', "is neither YAML nor JSON: .*line 1"),
        (
            "a: !!python/object/apply:os.getcwd []",
            "is neither YAML nor JSON: could not determine a constructor",
        ),
        ("[a]: 1\n? {b: 1}\n: 2", "is neither YAML nor JSON"),
    ],
)
def test_file_that_is_no_specification_is_named(tmp_path, text, message):
    path = write(tmp_path / "my search.yaml", text)
    with pytest.raises(SpecError, match=f"(?s)my search.yaml {message}"):
        SearchSpec.load(path)


def test_file_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"cannot read the specification .*gone.yaml: No such file"):
        SearchSpec.load(tmp_path / "gone.yaml")
    with pytest.raises(SpecError, match="Is a directory"):
        SearchSpec.load(tmp_path)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(SpecError, match="binary is neither YAML nor JSON"):
        SearchSpec.load(tmp_path / "binary")


def test_mistakes_of_a_file_are_told_with_its_name(tmp_path):
    path = write(tmp_path / "a.yaml", "trials: 0\n")
    with pytest.raises(SpecError, match=r"a\.yaml has 1 mistake\(s\):\n  trials must"):
        SearchSpec.load(path)


# From what was sampled to hyperparameters


def test_hyperparameters_are_the_preset_the_fixed_and_the_sampled():
    spec = SearchSpec.from_dict(
        {
            "preset": "tutorial-default",
            "space": {
                "factors": {"low": 2, "high": 8, "scale": "reverse_log"},
                "iterations": 3,
                "bias": {"choices": ["mean", "full"]},
            },
        }
    )
    assert set(spec.distributions) == {"factors", "bias"}
    config = spec.config({"factors": 2, "bias": "mean"})
    assert config == PRESETS["tutorial-default"].replace(factors=8, iterations=3, bias="mean")


@pytest.mark.parametrize(
    ("space", "most"),
    [
        (SPACE, 20),
        ({**SPACE, "iterations": 7}, 7),
        ({"iterations": {"low": 2, "high": 30}}, 30),
        ({"iterations": {"choices": [9, 4]}}, 9),
    ],
)
def test_most_iterations_are_those_of_the_longest_trial(space, most):
    assert SearchSpec.from_dict({"space": space}).max_iterations == most


def test_choices_are_read_as_the_hyperparameters_type():
    spec = SearchSpec.from_dict({"space": {"regularization": {"choices": [1, 2]}}})
    assert spec.space["regularization"] == Choices((1.0, 2.0))
    assert all(isinstance(value, float) for value in spec.space["regularization"].values)


TWO_WAYS = {
    "preset": "tutorial-default",
    "space": {
        "factors": {"low": 2, "high": 8, "scale": "reverse_log"},
        "regularization": {"low": 0.001, "high": 10, "scale": "reverse_log"},
        "momentum": {"low": 0.5, "high": 0.5},
        "iterations": 3,
        "bias": {"choices": ["mean", "full"]},
    },
}


@given(st.integers(2, 8), st.floats(0.001, 10), st.sampled_from(["mean", "full"]))
def test_config_of_this_space_is_sampled_again_exactly(factors, regularization, bias):
    spec = SearchSpec.from_dict(TWO_WAYS)
    sampled = {"factors": factors, "regularization": regularization, "bias": bias}
    config = spec.config(sampled)
    assert config.momentum == 0.5
    found, exact = spec.sample_of(config)
    assert exact
    assert spec.config(found) == config


def test_config_of_another_space_is_moved_into_this_one():
    spec = SearchSpec.from_dict(TWO_WAYS)
    config = spec.config({"factors": 3, "regularization": 1.0, "bias": "full"})
    assert spec.sample_of(config.replace(factors=50)) == (
        {"factors": 2, "regularization": 1.0, "bias": "full"},
        False,
    )
    assert not spec.sample_of(config.replace(iterations=4))[1]
    assert not spec.sample_of(config.replace(momentum=0.4))[1]
    # The preset has this word, and the space has not: it is left out, and nothing is exact.
    assert spec.sample_of(config.replace(bias="none")) == ({"factors": 3, "regularization": 1.0}, False)
