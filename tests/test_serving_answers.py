"""What the MLflow model of a model answers, against the model itself, and what it refuses."""

from __future__ import annotations

import json
import math
import sys

import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
import pytest
from mlflow.exceptions import MlflowException
from scipy.sparse import csr_matrix
from served_models import (  # noqa: F401 - fixtures
    CONFIGS,
    ITEMS,
    USERS,
    fitted,
    models_fixture,
    ratings_fixture,
    written_fixture,
)

from toolkit import WALS
from toolkit.errors import ConfigError
from toolkit.serving import limits
from toolkit.serving.answers import Answers


@pytest.fixture(scope="module", params=["text", "titled", "pattern"])
def served(request, models, written):
    """A model, and what MLflow makes of it."""
    before = list(sys.path)
    yield models[request.param], mlflow.pyfunc.load_model(str(written[request.param]))
    sys.path[:] = before


@pytest.fixture(scope="module")
def numbers(written):
    """What MLflow makes of a model with whole numbers as ids."""
    before = list(sys.path)
    yield mlflow.pyfunc.load_model(str(written["numbers"]))
    sys.path[:] = before


def some_ratings(model, n=3):
    ids = model.items.ids[:n].tolist()
    return [{"item": id_, "rating": 1 + at % 5} for at, id_ in enumerate(ids)]


def as_row(model, ratings):
    """Return a request's ratings as the model's own fold-in takes them."""
    row = np.zeros((1, len(model.items)))
    row[0, model.items.rows([r["item"] for r in ratings])] = [r["rating"] for r in ratings]
    return csr_matrix(row)


def check_items(model, answer, ids, scores):
    assert [found["item"] for found in answer["items"]] == ids.tolist()
    np.testing.assert_allclose([found["score"] for found in answer["items"]], scores, rtol=1e-6)
    if model.titles is not None:
        titles = model.titles[model.items.rows(ids)].tolist()
        assert [found["title"] for found in answer["items"]] == titles


def rounded(answers):
    """Return answers without the last digits, which depend on what is computed together."""
    return json.loads(json.dumps(answers), parse_float=lambda text: float(f"{float(text):.6g}"))


# What it answers


def test_known_users_get_the_recommendations_of_the_model(served):
    model, mlflow_model = served
    users = model.users.ids.tolist()
    for params in ({}, {"n": 3}, {"n": 1000, "exclude_seen": False}):
        answers = mlflow_model.predict(pd.DataFrame({"user": users}), params)
        assert [answer["user"] for answer in answers] == users
        assert {answer["user_is"] for answer in answers} == {"known"}
        for user, answer in zip(users, answers, strict=True):
            n, seen = params.get("n", 10), params.get("exclude_seen", True)
            check_items(model, answer, *model.recommend(user, n, exclude_seen=seen))


def test_known_users_get_the_predictions_of_the_model(served):
    model, mlflow_model = served
    users, items = model.users.ids[:11].tolist(), model.items.ids.tolist()
    answers = mlflow_model.predict(pd.DataFrame({"user": users, "item": items}))
    ratings = [answer.pop("rating") for answer in answers]
    np.testing.assert_allclose(ratings, model.predict(users, items), rtol=1e-6)
    assert answers == [
        {"user": u, "user_is": "known", "item": i, "item_is": "known"}
        for u, i in zip(users, items, strict=True)
    ]


def test_new_users_are_folded_in(served):
    model, mlflow_model = served
    given = some_ratings(model)
    item = model.items.id(5)
    rows = [{"ratings": given}, {"ratings": given, "item": item}]
    recommended, predicted = mlflow_model.predict(pd.DataFrame(rows), {"n": 4})
    own = as_row(model, given)
    side = model.fold_in(own)
    best = model.best_of(side, 4, hidden=[own])
    assert (recommended["user"], recommended["user_is"], recommended["ignored"]) == (None, "new", [])
    check_items(model, recommended, model.items.ids[best.items[0]], best.scores[0])
    f = model.factors
    score = side.factors[0] @ f.items.factors[5] + side.bias[0] + f.items.bias[5] + f.mean
    assert predicted["rating"] == pytest.approx(np.clip(score, *(f.scale or (-9, 9))), rel=1e-6)
    assert (predicted["user_is"], predicted["item_is"]) == ("new", "known")


def test_what_a_new_user_rated_is_recommended_only_when_asked_for(served):
    model, mlflow_model = served
    given = some_ratings(model)
    rated = {rating["item"] for rating in given}
    for exclude_seen, common in ((True, set()), (False, rated)):
        (answer,) = mlflow_model.predict(
            pd.DataFrame([{"ratings": given}]), {"n": 100, "exclude_seen": exclude_seen}
        )
        assert {found["item"] for found in answer["items"]} & rated == common


def test_unknown_ids_get_the_average(served):
    model, mlflow_model = served
    known_user, known_item = model.users.id(2), model.items.id(3)
    rows = [("nobody", known_item), (known_user, "nothing"), ("nobody", "nothing"), ("nobody", None)]
    answers = mlflow_model.predict(pd.DataFrame(rows, columns=["user", "item"], dtype=object), {"n": 100})
    for (user, item), answer in zip(rows[:3], answers, strict=False):
        assert answer == {
            "user": user,
            "user_is": "known" if user == known_user else "unknown",
            "item": item,
            "item_is": "known" if item == known_item else "unknown",
            "rating": pytest.approx(model.predict(user, item, unknown="average")[0], rel=1e-6),
        }
    assert (answers[3]["user"], answers[3]["user_is"]) == ("nobody", "unknown")
    best = model.best_of(model.factors.average_user, 100)
    check_items(model, answers[3], model.items.ids[best.items[0]], best.scores[0])


def test_unknown_items_among_ratings_are_named_and_left_out(served):
    model, mlflow_model = served
    given = some_ratings(model)
    rows = [
        {"ratings": given},
        {"ratings": [{"item": "no such", "rating": 2}, *given, {"item": 10**30, "rating": 5}]},
        {"ratings": [{"item": "no such", "rating": 2}]},
        {"ratings": []},
    ]
    plain, more, only, none = mlflow_model.predict(pd.DataFrame(rows))
    assert more == plain | {"ignored": ["no such", 10**30]}
    assert (only["user_is"], only["ignored"]) == ("unknown", ["no such"])
    assert none == only | {"ignored": []}


def test_ratings_say_more_of_a_user_than_training_did(served):
    model, mlflow_model = served
    user, given = model.users.id(0), some_ratings(model)
    both, alone = mlflow_model.predict(
        pd.DataFrame([{"user": user, "ratings": given}, {"user": None, "ratings": given}], dtype=object)
    )
    assert both == alone | {"user": user}


def test_a_mixed_table_is_answered_row_by_row(served):
    model, mlflow_model = served
    user, item, given = model.users.id(1), model.items.id(1), some_ratings(model)
    rows = [
        {"user": user},
        {"ratings": given},
        {"user": "nobody", "item": item},
        {"ratings": given, "item": "nothing"},
        {"user": user, "item": item},
        {"user": "nobody"},
        {"ratings": []},
        {"user": model.users.id(2), "ratings": math.nan},
    ]
    together = mlflow_model.predict(pd.DataFrame(rows, dtype=object), {"n": 3})
    alone = [mlflow_model.predict(pd.DataFrame([row], dtype=object), {"n": 3})[0] for row in rows]
    assert rounded(together) == rounded(alone)
    assert json.loads(json.dumps(together, allow_nan=False)) == together


def test_numbers_may_be_given_as_text_or_beside_empty_cells(numbers):
    users = pd.DataFrame({"user": [4.0, math.nan], "ratings": [None, [{"item": "100", "rating": 3.0}]]})
    plain = numbers.predict(pd.DataFrame({"user": [4]}))
    first, _ = numbers.predict(users)
    assert [first] == plain
    (text,) = numbers.predict(pd.DataFrame({"user": ["4"]}))
    assert text == plain[0] | {"user": "4"}


def test_many_users_are_answered_as_each_alone(models):
    model = models["pattern"]
    answers = Answers(model)
    rng = np.random.default_rng(0)
    rows = [
        [{"item": i.item(), "rating": int(rng.integers(1, 6))} for i in rng.choice(ITEMS, n, replace=False)]
        for n in rng.integers(1, 9, 150)
    ]
    together = answers({"ratings": rows}, {"n": 3})
    alone = [answers({"ratings": [row]}, {"n": 3})[0] for row in rows[::30]]
    assert rounded(together[::30]) == rounded(alone)


# What it refuses


@pytest.mark.parametrize(
    ("rows", "params", "reason"),
    [
        ([{}], {}, "at least one row"),
        ([{"user": None}], {}, "row 0 must have a user or ratings"),
        ([{"item": 100}], {}, "row 0 must have a user or ratings"),
        ([{"user": 1}], {"n": 0}, "n must be a whole number from 1 to 1,000, but is 0"),
        ([{"user": 1}], {"n": -1}, "but is -1"),
        ([{"user": 1}], {"n": 10**30}, "n must be"),
        ([{"user": 1}], {"n": None}, "but is None"),
        ([{"user": 1}], {"exclude_seen": None}, "exclude_seen must be true or false"),
        ([{"user": 1}, {"user": 1.5}], {}, "row 1: user must be a whole number or text, but is 1.5"),
        ([{"user": True}], {}, "but is True"),
        ([{"user": [1]}], {}, r"but is \[1\]"),
        ([{"user": 2.0**60}, {"user": None}], {}, "give large ones as text"),
        ([{"user": math.inf}], {}, "whole number or text"),
        ([{"user": 1, "item": {"a": 1}}], {}, "row 0: item must be"),
        ([{"ratings": "ab"}], {}, "ratings must be a list"),
        ([{"ratings": {"item": 100, "rating": 4}}], {}, "ratings must be a list"),
        ([{"ratings": [100]}], {}, "row 0, rating 0 must be an object of item and rating"),
        ([{"ratings": [{"item": 100}]}], {}, "must be an object of item and rating"),
        ([{"ratings": [{"item": 100, "rating": 4, "at": 1}]}], {}, "must be an object of item and rating"),
        ([{"ratings": [{"item": None, "rating": 4}]}], {}, "rating 0 must have an item"),
        ([{"ratings": [{"item": 100, "rating": "4"}]}], {}, "must be a number from 1 to 5, but is '4'"),
        ([{"ratings": [{"item": 100, "rating": True}]}], {}, "must be a number"),
        ([{"ratings": [{"item": 100, "rating": 5.5}]}], {}, "must be a number from 1 to 5, but is 5.5"),
        ([{"ratings": [{"item": 100, "rating": math.nan}]}], {}, "but is nan"),
        ([{"ratings": [{"item": 100, "rating": 10**400}]}], {}, "must be a number"),
        (
            [{"ratings": [{"item": 100, "rating": 4}, {"item": "100", "rating": 3}]}],
            {},
            "item once, .* twice",
        ),
        ([{"user": 1}] * (limits.ROWS + 1), {}, "at most 10,000 rows, but this one has 10,001"),
        ([{"user": 1}] * 201, {"n": 1000}, "at most 200,000 recommended items"),
        ([{"ratings": [{"item": 100, "rating": 4}] * 50_001}] * 2, {}, "at most 100,000 ratings"),
    ],
)
def test_what_no_answer_fits_is_refused_with_a_reason(numbers, rows, params, reason):
    with pytest.raises(MlflowException, match=reason) as refused:
        numbers.predict(pd.DataFrame(rows, dtype=object), params)
    assert refused.value.get_http_status_code() == 400


def test_half_a_character_is_no_id(models):
    """JSON can hold one; no table of pandas can."""
    with pytest.raises(ConfigError, match="row 0: user must be text that utf-8 can hold"):
        Answers(models["text"])({"user": ["\ud800"]}, {})


def test_all_mistakes_are_told_at_once(models):
    rows = {"user": [1.5, 2.5, True, [], {}, 6.5, 7.5], "ratings": [None] * 7}
    with pytest.raises(ConfigError, match=r"row 0.*row 1.*row 2.*row 3.*row 4.*; and 2 more") as refused:
        Answers(models["numbers"])(rows, {})
    assert "row 5" not in str(refused.value)


def test_work_grows_with_rows_and_items(models, monkeypatch):
    monkeypatch.setattr(limits, "SCORES", 20)
    monkeypatch.setattr("toolkit.serving.answers.limits.SCORES", 20)
    answers = Answers(models["numbers"])
    answers({"user": [1]}, {})
    with pytest.raises(ConfigError, match=r"at most 20 scores \(rows × items\), but this one has 22"):
        answers({"user": [1, 4]}, {})


def test_without_a_scale_ratings_are_anything_that_can_be_squared(ratings):
    answers = Answers(fitted(ratings, CONFIGS["both"], dtype="float32"))
    (answer,) = answers({"ratings": [[{"item": 100, "rating": -1e9}]]}, {})
    assert np.isfinite([found["score"] for found in answer["items"]]).all()
    with pytest.raises(ConfigError, match=r"from -1e\+09 to 1e\+09"):
        answers({"ratings": [[{"item": 100, "rating": 1e300}]]}, {})


def test_a_scale_of_single_precision_takes_the_ratings_it_comes_from(made_up_ratings):
    ratings = made_up_ratings(whole=True).astype(np.float32)
    ratings.data *= np.float32(0.1)
    model = fitted(ratings, dtype="float32")
    assert model.factors.scale[0] > 0.1
    rows = [[{"item": 100, "rating": 0.1}, {"item": 107, "rating": 0.5}]]
    assert Answers(model)({"ratings": rows}, {})[0]["user_is"] == "new"


# Intervals


@pytest.fixture(scope="module")
def sampled(ratings):
    model = WALS(factors=3, threads=1, backend="numpy")
    return model.fit_posterior(ratings, user_ids=USERS, item_ids=ITEMS, samples=6, burn_in=4, keep=6)


def ends_of(answers):
    return np.array([[answer[name] for answer in answers] for name in ("rating", "low", "high")])


def test_intervals_are_those_of_the_model_for_users_of_every_kind(sampled):
    answers, given = Answers(sampled), some_ratings(sampled)
    known, item, new = int(USERS[3]), int(ITEMS[2]), as_row(sampled, given)
    columns = {"user": [known, None, 10**6, known], "item": [item, item, item, None]}
    columns["ratings"] = [None, given, None, None]
    asked = answers(columns, {"interval": 0.8})
    of_known = sampled.predict(known, item, interval=0.8)
    of_unknown = sampled.predict(10**6, item, unknown="average", interval=0.8)
    for answer, interval in zip(
        asked, (of_known, sampled.predict_new(new, item, interval=0.8), of_unknown), strict=False
    ):
        np.testing.assert_allclose(ends_of([answer])[:, 0], np.ravel(interval), rtol=1e-5)
        low, high = sampled.factors.scale
        assert answer["clipped"] == (answer["low"] <= low or answer["high"] >= high)
    assert "low" not in asked[3]
    assert "low" not in answers({"user": [known], "item": [item]}, {})[0]
    assert json.loads(json.dumps(asked)) == asked


@pytest.mark.parametrize("interval", [1, -0.1, "0.8", True, None])
def test_an_interval_that_is_no_probability_is_refused(sampled, interval):
    with pytest.raises(ConfigError, match="interval must be a probability below 1"):
        Answers(sampled)({"user": [int(USERS[0])]}, {"interval": interval})


def test_a_model_without_samples_says_what_intervals_need(models):
    with pytest.raises(ConfigError, match="keeps no samples"):
        Answers(models["numbers"])({"user": [int(USERS[0])]}, {"interval": 0.8})
