"""The search specification: every mistake of it in one go, and the same document in every form."""

from __future__ import annotations

import json
import re

import pytest
import yaml

from toolkit.config import PRESETS
from toolkit.errors import SpecError
from tune.space import Choices, Fixed, Interval
from tune.spec import EarlyStopping, SearchSpec, default_text

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
    assert spec.early_stopping == EarlyStopping(5, 3.0)
    assert (spec.cpu, spec.gpu, spec.backend) == (1.0, 0.0, "auto")
    assert spec.max_iterations == 15


def test_keys_that_are_left_out_keep_their_defaults():
    assert SearchSpec.from_dict({}) == SearchSpec.load()
    assert SearchSpec.from_dict({"resources": {"gpu": 0.5}}).cpu == 1.0
    spec = SearchSpec.from_dict({"early_stopping": {"grace_iterations": 2}})
    assert spec.early_stopping == EarlyStopping(2, 3.0)


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
            "sampler": "gp",
            "startup_trials": "8",
            "early_stopping": {"grace": 2, "reduction_factor": 1},
            "resources": {"cpus": 2, "gpu": -1},
            "backend": "numpi",
        }
    )
    assert [re.split(r"[: ]", text)[0] for text in found] == [
        "trails",
        "preset",
        "space.factor",
        "space.regularization.low",
        "resources.cpus",
        "metric",
        "trials",
        "concurrency",
        "seed",
        "sampler",
        "startup_trials",
        "early_stopping.grace",
        "early_stopping.reduction_factor",
        "resources.gpu",
        "backend",
    ]
    assert "trails: unknown key (did you mean 'trials'?); valid: preset, space, metric, trials" in found[0]
    assert "(did you mean 'tutorial-tuned'?)" in found[1] or "(did you mean 'tutorial-default'?)" in found[1]
    assert "unknown hyperparameter (did you mean 'factors'?)" in found[2]
    assert "write it with a point, such as 1.0e-3" in found[3]
    assert "(did you mean 'cpu'?); valid: cpu, gpu" in found[4]
    assert "metric must be rmse, recall@K or ndcg@K, such as ndcg@10, but got 'ndcg@0'" in found[5]
    assert "unknown key; valid: grace_iterations, reduction_factor" in found[11]
    assert "(did you mean 'numpy'?)" in found[14]


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"trials": 0}, "trials must be a whole number of at least 1, but got 0"),
        ({"trials": True}, "trials must be a whole number of at least 1, but got True"),
        ({"trials": "1e3"}, "trials must be a whole number of at least 1, but got '1e3' (YAML takes that"),
        ({"trials": None}, "trials must be a whole number of at least 1, but got None"),
        ({"concurrency": "all"}, "concurrency must be a whole number of at least 1, or auto, but got 'all'"),
        (
            {"preset": ["default"]},
            "preset must be one of default, ml-100k, ml-1m, tutorial-default, tutorial-tuned, but got [",
        ),
        ({"sampler": "TPE"}, "sampler must be one of tpe, random, but got 'TPE'"),
        ({"space": None}, "space must map hyperparameters to domains, but got None"),
        ({"resources": 2}, "resources must map cpu and gpu to values, but got 2"),
        ({"resources": {"cpu": "1"}}, "resources.cpu must be a number of at least 0, but got '1' (YAML"),
        ({"resources": {"cpu": float("inf")}}, "resources.cpu must be a number of at least 0, but got inf"),
        ({"resources": {"gpu": float("nan")}}, "resources.gpu must be a number of at least 0, but got nan"),
        (
            {"early_stopping": "asha"},
            "early_stopping must map grace_iterations and reduction_factor to values, but got 'asha'",
        ),
        (
            {"early_stopping": {"reduction_factor": 1}},
            "early_stopping.reduction_factor must be above 1, but got 1: use `early_stopping: none`",
        ),
        (
            {"early_stopping": {"reduction_factor": 0.5}},
            "early_stopping.reduction_factor must be a number of at least 1, but got 0.5",
        ),
        (
            {"early_stopping": {"grace_iterations": 0}},
            "early_stopping.grace_iterations must be a whole number of at least 1, but got 0",
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
    "space",
    [{}, {"factors": 8}, {"factors": {"low": 8, "high": 8}, "bias": {"choices": ["full"]}}],
    ids=str,
)
def test_space_without_anything_to_search_is_refused(space):
    assert mistakes({"space": space}) == [
        "space must search at least one hyperparameter, but all are fixed: use `walslab train`"
    ]


def test_space_with_a_mistake_is_not_also_called_empty():
    (found,) = mistakes({"space": {"factors": {"low": 0, "high": 5}}})
    assert found.startswith("space.factors.low")


def test_unknown_keys_need_not_be_text():
    assert [text.split(":")[0] for text in mistakes({7: 1, "space": {None: 2, **SPACE}})] == [
        "7",
        "space.None",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must map keys to values, but holds NoneType"),
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
    assert set(spec.param_space) == {"factors", "bias"}
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
