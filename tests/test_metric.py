"""The figure that a search goes by, and trials that are compared by a ranking."""

from __future__ import annotations

import math

import pytest
from trials import end, result

from tune.spec import SearchMetric, SearchSpec
from tune.study import Study


@pytest.mark.parametrize("text", ["rmse", "recall@1", "ndcg@10", "recall@500"])
def test_it_is_read_and_written(text):
    assert str(SearchMetric.parse(text)) == text


@pytest.mark.parametrize("text", ["RMSE", "recall", "ndcg@0", "ndcg@-1", "ndcg@1.5", "map@10", "", None, 10])
def test_anything_else_is_none(text):
    assert SearchMetric.parse(text) is None


def test_a_ranking_is_the_better_the_larger_it_is():
    rmse, ndcg = SearchMetric(), SearchMetric("ndcg", 10)
    assert (rmse.mode, rmse.key, rmse.keys) == ("min", "valid_rmse", ())
    assert (ndcg.mode, ndcg.key) == ("max", "valid_ndcg_10")
    assert ndcg.keys == ("valid_recall_10", "valid_ndcg_10")
    assert rmse.loss(0.8) < rmse.loss(0.9) < rmse.loss(None) == rmse.loss(math.nan) == math.inf
    assert ndcg.loss(0.4) < ndcg.loss(0.3) < ndcg.loss(None)


def test_trials_are_ordered_by_it(tmp_path):
    spec = SearchSpec.load(metric="ndcg@5")
    study = Study.create(tmp_path / "s", name="s", spec=spec.to_dict())
    for trial, error, ndcg in (("a", 0.8, 0.1), ("b", 0.9, 0.3), ("c", 0.7, 0.2)):
        ranking = {"valid_recall_5": 0.0, "valid_ndcg_5": ndcg}
        end(study, result(trial, error, ranking=ranking))
    assert [trial["trial"] for trial in study.trials()] == ["b", "c", "a"]
    assert study.best()["trial"] == "b"
