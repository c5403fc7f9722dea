"""A model measured on a dataset a shard at a time: the figures of `evaluate`, whatever shards and threads."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from ingesting import walslab

from toolkit import WALS, WALSConfig, ingest_ratings, sample_users
from toolkit.config import RunOptions
from toolkit.errors import ConfigError, DatasetError
from toolkit.ingest import SplitRule
from toolkit.models import placed_ratings
from toolkit.recommending import evaluate_on, evaluating

pytestmark = pytest.mark.usefixtures("short_search")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return tmp_path_factory.mktemp("evaluating")


@pytest.fixture(scope="module")
def data(root):
    """Ratings of 60 users in several shards."""
    rng = np.random.default_rng(0)
    users, items = np.nonzero(rng.random((60, 20)) < 0.4)
    frame = pd.DataFrame({"user": users, "item": items, "rating": rng.integers(1, 11, len(users)) / 2})
    return ingest_ratings(frame, root / "data", split=SplitRule(valid=0.2, test=0.2), shard_ratings=80)


@pytest.fixture(scope="module")
def model(data, root):
    fitted = WALS(WALSConfig(factors=3, iterations=3)).fit(
        data.train, user_ids=data.users, item_ids=data.items
    )
    fitted.save(root / "model")
    return fitted


def same(one, other):
    return tuple(one) == pytest.approx(tuple(other), rel=1e-6)


@pytest.fixture
def without_baselines(monkeypatch):
    """The simplest models are not trained, which takes longer than all the rest."""
    monkeypatch.setattr(evaluating, "_baselines", lambda *_: None)


@pytest.mark.usefixtures("without_baselines")
@pytest.mark.parametrize("options", [{}, {"n": 3}, {"relevant": 3.0}, {"exclude_seen": False}, {"n": 99}])
def test_the_figures_are_those_of_evaluate(model, data, root, options):
    for split, held_out in (("test", data.test), ("valid", data.valid)):
        found = evaluate_on(root / "model", data, split, **options)
        assert same(found.evaluation, model.evaluate(held_out, **options))
        assert (found.ratings, found.known, found.trained) == (held_out.nnz, held_out.nnz, 0)


def test_baselines_are_those_of_a_training(model, data, root):
    with placed_ratings(data, WALSConfig(), RunOptions()) as placed:
        expected = placed.baseline_errors()
    assert expected["valid"] != expected["test"]
    for split in ("valid", "test"):
        assert evaluate_on(root / "model", data, split).baselines == expected[split]


def test_threads_do_not_change_a_bit(model, data, root):
    assert evaluate_on(root / "model", data, threads=1) == evaluate_on(root / "model", data, threads=3)


@pytest.mark.usefixtures("without_baselines")
def test_users_and_items_are_found_by_id(data, root):
    """Of a sample without the first item, which is no column of the model."""
    half = sample_users(data, 0.5, root / "half")
    fitted = WALS(WALSConfig(factors=3, iterations=3)).fit(
        half.train[:, 1:], user_ids=half.users, item_ids=half.item_ids[1:]
    )
    fitted.save(root / "of-half")
    expected = fitted.evaluate(data.to_pandas("test"), unknown="average", n=4)
    found = evaluate_on(root / "of-half", data, n=4)
    assert same(found.evaluation, expected)
    assert 0 < found.evaluation.users < data.n_users
    assert 0 < found.known < found.ratings


def test_what_cannot_be_measured_is_refused(model, data, root):
    for options, text in (
        ({"split": "train"}, "split must be one of"),
        ({"n": 0}, "n must be at least 1"),
        ({"relevant": float("nan")}, "relevant must be a rating, such as 4, but got nan"),
        ({"relevant": "4"}, "relevant must be a rating"),
    ):
        with pytest.raises(ConfigError, match=text):
            evaluate_on(root / "model", data, **options)
    frame = pd.DataFrame({"user": [1, 2, 3], "item": [1, 2, 3], "rating": [1.0, 2.0, 3.0]})
    none = ingest_ratings(frame, root / "none", split=SplitRule(valid=0, test=0))
    with pytest.raises(ConfigError, match="has no test ratings to measure on"):
        evaluate_on(root / "model", none)


@pytest.mark.usefixtures("without_baselines")
def test_ratings_that_were_trained_on_are_counted(data, root):
    with_valid = WALS(WALSConfig(factors=3, iterations=2)).fit(
        data.train_and_valid(), user_ids=data.users, item_ids=data.items
    )
    with_valid.save(root / "with-valid")
    assert evaluate_on(root / "with-valid", data, "valid").trained == data.counts["valid"]
    assert evaluate_on(root / "with-valid", data, "test").trained == 0
    done = walslab("evaluate", root / "with-valid", "--dataset", data.path, "--split", "valid")
    assert f"trained on {data.counts['valid']} of these {data.counts['valid']} ratings" in done.output


def test_a_model_of_others_is_refused(model, root, tmp_path):
    """Ids of the same people in another form are others."""
    frame = pd.DataFrame({"user": list("abcd") * 5, "item": [f"i{n}" for n in range(20)], "rating": 3.0})
    ingest_ratings(frame, tmp_path / "text", split=SplitRule(valid=0, test=0.2))
    done = walslab("evaluate", root / "model", "--dataset", tmp_path / "text")
    assert done.exit_code == 2
    assert "knows no user and no item of the held-out ratings" in done.output
    assert "such as user 0 and item 0, and those of the dataset such as user 'a' and item 'i0'" in done.output


def test_where_there_is_no_model(data, tmp_path):
    done = walslab("evaluate", tmp_path, "--dataset", data.path)
    assert done.exit_code == 2
    assert "is not a model: it has no model.json; make one with `walslab train" in done.output


@pytest.mark.usefixtures("without_baselines")
def test_nobody_to_rank_for_is_said_in_words(model, data, root):
    done = walslab("evaluate", root / "model", "--dataset", data.path, "--relevant", "99", "--json")
    assert done.exit_code == 0, done.output
    assert "there is nothing to rank" in done.output
    assert "nan" not in done.output.lower()


def test_a_damaged_shard_is_named(model, data, root, tmp_path):
    copy = tmp_path / "copy"
    copied = sample_users(data, 1, copy)
    path = copy / copied.shards("test/rows")[0]["path"]
    content = bytearray(path.read_bytes())
    content[-30] ^= 1
    path.write_bytes(content)
    with pytest.raises(DatasetError, match=r"rows-00000\.npz was changed"):
        evaluate_on(root / "model", copied)


def test_the_command(model, data, root):
    done = walslab("evaluate", root / "model", "--dataset", data.path, "-n", "5", "--json")
    assert done.exit_code == 0, done.output
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["rmse"] == pytest.approx(model.rmse(data.test), rel=1e-6)
    assert "recall@5" in done.output
    assert said["baselines"]["bias_rmse"] > 0
    assert "bias-only test RMSE" in done.output
