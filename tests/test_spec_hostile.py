"""Specifications that nobody should have written: each is refused in words, before anything starts."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from toolkit.config import WALSConfig
from toolkit.errors import SpecError
from tune.spec import SearchSpec

KEYS = [*SearchSpec.load().to_dict(), *WALSConfig.valid()]
KEYS += ["low", "high", "scale", "choices", "cpu", "gpu", "grace_iterations", "reduction_factor", "patience"]
KEYS += ["trainingInput", "hyperparameters", "params", "parameterName", "type", "minValue", "maxValue"]
WORDS = ["none", "auto", "log", "reverse_log", "linear", "ml-100k", "tpe", "ndcg@10", "full", "DOUBLE"]
NUMBERS = st.one_of(
    st.integers(), st.floats(), st.floats(0, 10), st.sampled_from([10**400, 2**63, 1e-320, 5e-324, 1e-99])
)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.sampled_from([*WORDS, "\ud800", "a\0b", "a\nb"]), st.text()
)
NAMES = st.one_of(st.sampled_from(KEYS), st.text(st.characters(), max_size=5), st.integers(), st.none())
VALUES = st.recursive(
    SCALARS,
    lambda part: st.one_of(st.lists(part, max_size=4), st.dictionaries(NAMES, part, max_size=4)),
    max_leaves=10,
)
# Nearly valid, so that the checks behind the first ones are reached.
SPACES = st.dictionaries(
    st.sampled_from(list(WALSConfig.valid())),
    st.one_of(
        st.tuples(st.floats(0, 1), st.floats(1, 2), st.sampled_from(["linear", "log", "reverse_log"])).map(
            lambda ends: dict(zip(("low", "high", "scale"), ends, strict=True))
        ),
        st.tuples(st.integers(1, 9), st.integers(9, 50)).map(lambda ends: {"low": ends[0], "high": ends[1]}),
        st.lists(st.sampled_from([1, 2, 0.5, "none", "full"]), min_size=1).map(
            lambda values: {"choices": values}
        ),
    ),
    min_size=1,
    max_size=3,
)
NEARLY = st.fixed_dictionaries(
    {"space": SPACES},
    optional={
        "trials": st.integers(0, 100_000),
        "seed": st.integers(0, 2**64),
        "start": st.lists(st.text(max_size=3), max_size=2),
        "max_seconds": st.floats(0, 1e10),
        "resources": st.fixed_dictionaries(
            {"cpu": st.floats(0, 2), "gpu": st.sampled_from([0, 0.5, 1, 1.5])}
        ),
        "early_stopping": st.fixed_dictionaries(
            {"grace_iterations": st.integers(1, 30), "reduction_factor": st.floats(1, 5)}
        ),
    },
)
MANY = settings(max_examples=settings.default.max_examples * 2, suppress_health_check=[HealthCheck.too_slow])


def load(tmp_path, text):
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8"))
    return SearchSpec.load(path)


# Any document


@MANY
@given(st.one_of(VALUES, st.dictionaries(NAMES, VALUES, max_size=5), NEARLY))
def test_any_document_is_a_specification_or_refused_in_words_that_can_be_printed(document):
    text, spec = "", None
    try:
        spec = SearchSpec.from_dict(document)
    except SpecError as error:
        text = str(error)
    assert "pydantic" not in text.encode("utf-8").decode("utf-8")
    if spec:
        assert SearchSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec
        assert set(spec.distributions) <= set(spec.space)


@MANY
@given(
    st.one_of(
        st.text(alphabet="{}[]:,-#&*!?|>'\"%@ \n\t01289ae.<_=~"),
        st.text(),
        st.binary(),
        VALUES.map(lambda value: json.dumps(str(value) if isinstance(value, dict) else value, default=str)),
    )
)
def test_any_file_is_a_specification_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode("utf-8", "surrogatepass"))
    try:
        SearchSpec.load(path)
    except SpecError as error:
        str(error).encode("utf-8")


@MANY
@given(
    st.lists(
        st.dictionaries(
            st.sampled_from(["minValue", "maxValue", "discreteValues", "scaleType", "type"]), VALUES
        ).map(lambda param: {"parameterName": "latent_factors", "type": "DISCRETE", **param})
    ),
    st.dictionaries(st.sampled_from(["goal", "maxTrials", "maxFailedTrials", "algorithm"]), VALUES),
)
def test_any_file_of_ai_platform_is_a_specification_or_refused(tmp_path_factory, params, keys):
    path = tmp_path_factory.getbasetemp() / "any.json"
    search = {"params": params, **{key: value for key, value in keys.items() if value is not None}}
    path.write_text(
        json.dumps({"trainingInput": {"hyperparameters": search}}, skipkeys=True), encoding="utf-8"
    )
    try:
        SearchSpec.load(path)
    except SpecError as error:
        str(error).encode("utf-8")


# What cannot work


@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"seed": 2**63}, "seed must be between 0 and 9.22337e+18"),
        ({"trials": 10**9}, "trials must be between 1 and 100000"),
        ({"trials": 10**400}, "trials must be between 1 and 100000, but got 1000"),
        ({"concurrency": 10**6}, "concurrency must be between 1 and 10000, but got 1000000; `auto`"),
        ({"max_seconds": 1e-9}, "max_seconds must be between 0.01 and 1e+09"),
        (
            {"resources": {"cpu": 0}},
            "resources: cpu and gpu must not both be 0, since then",
        ),
        ({"resources": {"cpu": 1e-5}}, "resources.cpu must be 0 or at least 0.01"),
        ({"resources": {"gpu": 1.5}}, "resources.gpu must be a whole number above 1, but got 1.5"),
        (
            {"early_stopping": {"grace_iterations": 16}},
            "early_stopping.grace_iterations must not be above the 15 iterations of a trial, but got 16",
        ),
        (
            {"early_stopping": {"reduction_factor": 1.000001}},
            "early_stopping.reduction_factor must be between 1.01 and 10000",
        ),
        (
            {"space": {"regularization": {"low": 1e-320, "high": 1, "scale": "reverse_log"}}},
            "space.regularization.low must be at least 1e-100 on a reverse_log scale, but got 1e-320",
        ),
        ({"start": ["\ud800"]}, "start[0] must be a preset, a study's name or path"),
        ({"\ud800": 1}, r"'\ud800': unknown key"),
        ({"space": {"a\nb": 1}}, r"space.'a\nb': unknown hyperparameter"),
    ],
    ids=ascii,
)
def test_what_cannot_work_is_refused(document, text):
    # The default specification searches; these change one key of it.
    document = {**SearchSpec.load().to_dict(), **document}
    with pytest.raises(SpecError) as raised:
        SearchSpec.from_dict(document)
    first, line = str(raised.value).splitlines()
    assert first == "specification has 1 mistake(s):"
    assert line.strip().startswith(text)


def test_default_grace_goes_with_few_iterations():
    spec = SearchSpec.from_dict({"space": {"factors": {"low": 2, "high": 8}, "iterations": 3}})
    assert SearchSpec.from_dict(spec.to_dict()) == spec


def test_study_of_an_earlier_version_is_read():
    document = {"resources": {"cpu": 0}, "early_stopping": {"grace_iterations": 30}}
    spec = SearchSpec.from_dict(document, stored=True)
    assert (spec.cpu, spec.early_stopping.grace_iterations) == (0, 30)


def test_hundreds_of_mistakes_are_counted():
    with pytest.raises(SpecError) as raised:
        SearchSpec.from_dict({"start": [1] * 800})
    first, *lines, last = str(raised.value).splitlines()
    assert (first, len(lines), last.strip()) == ("specification has 800 mistake(s):", 50, "and 750 more")


def nested(levels):
    value = []
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (nested(2000), "is no specification: it is nested more than 20 levels deep"),
        ([0] * 20_000, "is no specification: it holds more than 10000 values"),
        (10**5000, "holds a whole number of thousands of digits"),
    ],
    ids=["deep", "wide", "long"],
)
def test_document_that_no_message_could_show_is_refused(value, text):
    with pytest.raises(SpecError, match=f"^specification {text}$"):
        SearchSpec.from_dict({"space": value})


# Files

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "trials: 3\nspace:\n  factors: {low: 1, high: 9}\n  factors: 3\n",
            "the key 'factors' twice, on lines 3 and 4",
        ),
        ("space: {factors: {low: 1,\n low: 2}}", "the key 'low' twice, on lines 1 and 2"),
        ('{\n"seed": 1,\n\t"seed": 1}', "the key 'seed' twice, on lines 2 and 3"),
        ('{"start": [{"bias": 1,\n"bias": 2}]}', "the key 'bias' twice, on lines 1 and 2"),
        (BOMB, "more than 10000 values"),
        ("space: &a [*a]", "nested more"),
        ('{"space": ' + "[" * 2000 + "]" * 2000 + "}", "nested more"),
        ("".join(" " * n + "a:\n" for n in range(300)), "nested more"),
        ("a: 1\n---\na: 2\n", "neither YAML nor JSON: but found another document .line 2"),
        ("trials: !!int x", "neither YAML nor JSON: a value does not fit its tag"),
        ("trials: " + "9" * 5000, "has thousands of digits"),
        ("#" * 70_000, "more than 64 KiB"),
        (b"\x00\x01\x02", "neither YAML nor JSON"),
        ("seed: 1:30", "seed must be a whole number, but got '1:30'"),
        ("seed: yes", "seed must be a whole number, but got 'yes'"),
        ("space: {<<: {factors: 3}}", "space.<<: unknown hyperparameter"),
    ],
    ids=range(16),
)
def test_file_is_refused_with_its_name(tmp_path, text, message):
    with pytest.raises(SpecError, match=rf"(?s)a\.yaml .*{message}"):
        load(tmp_path, text)


@pytest.mark.parametrize(
    "word", ["[", "{", "[{", "{a: ", "{[1]: ", "- ", "- [", "? ", "? [", '{"a": [', "\n"]
)
def test_file_that_nests_hundreds_of_levels_is_refused_at_once(tmp_path, word):
    # At this depth, Python's recursion ends no reader, and YAML's own took five seconds.
    nested = "".join(" " * n + "a:\n" for n in range(300)) if word == "\n" else f"space: {word * 450}"
    nested = nested.replace("space: -", "-").replace("space: ?", "?")
    began = time.process_time()
    with pytest.raises(SpecError, match=r"a\.yaml is no specification: it is nested"):
        load(tmp_path, nested)
    assert time.process_time() - began < 1


def test_brackets_that_nest_nothing_are_read(tmp_path):
    text = f"# {'[' * 900}\nspace: {{factors: {{low: 2, high: 9}}}}\nstart: ['{'[{' * 30}'] # {{{{\n"
    assert load(tmp_path, text).start == ("[{" * 30,)


def test_file_that_has_no_end_and_name_that_no_file_can_have():
    with pytest.raises(SpecError, match="/dev/zero is no specification: it has more than 64 KiB"):
        SearchSpec.load("/dev/zero")
    with pytest.raises(SpecError, match=r"cannot read the specification 'a.x00b': embedded null byte"):
        SearchSpec.load("a\0b")


def test_yaml_is_read_by_its_version_1_2(tmp_path):
    spec = load(
        tmp_path,
        "\ufeffspace:\n  factors: {low: 010, high: 0o20}\n  regularization: {low: 1e-3, high: 1E1}\n"
        "start: [2020-01-01, yes, 1:30]\n",
    )
    assert spec.space["factors"].bounds == (10, 16)
    assert spec.space["regularization"].bounds == (0.001, 10.0)
    assert spec.start == ("2020-01-01", "yes", "1:30")


def test_json_may_escape_what_yaml_may_not(tmp_path):
    assert load(tmp_path, '{"start": ["\\ud83d\\ude00"]}').start == ("\U0001f600",)
