"""The estimator on tables: fitted, measured and asked by the ids of a table, as the field's libraries are."""

from __future__ import annotations

import uuid

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from frames_of_ratings import OnGpu
from small_models import CONFIG, ITEM_IDS, N_ITEMS, OPTIONS, USER_IDS, dense, named

from toolkit import RatingsSource, ingest_ratings
from toolkit.errors import ConfigError, RatingsError, UnknownIdError
from toolkit.evaluation import rank
from toolkit.models import WALS


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings()


@pytest.fixture(scope="module")
def frame(ratings):
    """The ratings in no order, with ids as a person has them."""
    coo = ratings.tocoo()
    users, items = np.array(USER_IDS, object)[coo.row], ITEM_IDS[coo.col]
    table = pd.DataFrame({"when": 0, "movieId": items, "rating": coo.data, "userId": users})
    return table.sample(frac=1, random_state=0, ignore_index=True)


@pytest.fixture(scope="module")
def model(frame):
    return WALS(CONFIG, OPTIONS).fit(frame)


def by_id(model):
    """Return the model's predictions of all pairs, in the order of the ids of `small_models`."""
    return model.predict(np.repeat(USER_IDS, N_ITEMS), np.tile(ITEM_IDS, len(USER_IDS)), clip=False)


def with_views(frame):
    """Return the table with its text in the layout that Polars hands over."""
    table = pa.Table.from_pandas(frame)
    at = table.column_names.index("userId")
    return table.set_column(at, "userId", table["userId"].cast(pa.string_view()))


FORMS = {
    "pandas": lambda f: (f, None),
    "other names": lambda f: (f.rename(columns={"userId": "u", "rating": 7}), ("u", "movieId", 7)),
    "categories": lambda f: (f.astype({"userId": "category", "movieId": "category"}), None),
    "nullable types": lambda f: (f.convert_dtypes(), None),
    "ids as floats": lambda f: (f.astype({"movieId": float, "rating": "float32"}), None),
    "Arrow types": lambda f: (f.convert_dtypes(dtype_backend="pyarrow"), None),
    "Arrow": lambda f: (pa.Table.from_pandas(f), None),
    "views of text": lambda f: (with_views(f), None),
    "Arrow in pieces": lambda f: (pa.concat_tables([pa.table(f[:9]), pa.table(f[9:])]), None),
    "a batch of Arrow": lambda f: (pa.RecordBatch.from_pandas(f), None),
    "cuDF": lambda f: (OnGpu(f), None),
    "arrays": lambda f: ((f["userId"].to_numpy(), f["movieId"].tolist(), f["rating"]), None),
}


@pytest.mark.parametrize("form", FORMS)
def test_every_form_of_a_table_trains_the_same_model(model, frame, form):
    table, columns = FORMS[form](frame)
    other = WALS(CONFIG, OPTIONS).fit(table, columns=columns)
    assert other.users.ids.tolist() == sorted(USER_IDS)
    assert other.items.ids.tolist() == ITEM_IDS.tolist()
    np.testing.assert_allclose(by_id(other), by_id(model), rtol=1e-6)


def test_ids_of_several_types_and_uuids_are_texts(frame):
    known = uuid.UUID(int=5)
    users = frame["userId"].map({"user 3": known, "user 4": 4}.get).fillna(frame["userId"])
    mixed = WALS(CONFIG, OPTIONS).fit(frame.assign(userId=users))
    assert {str(known), "4", "user 5"} < {*mixed.users.ids}
    keys = pa.array([uuid.UUID(int=number).bytes for number in range(len(frame))], pa.binary(16))
    typed = pa.table(frame).set_column(3, "userId", pa.ExtensionArray.from_storage(pa.uuid(), keys))
    assert WALS(CONFIG, OPTIONS).fit(typed).users.ids[5] == str(known)


def test_a_table_of_polars_is_a_table(model, frame):
    import polars as pl

    other = WALS(CONFIG, OPTIONS).fit(pl.DataFrame(frame.to_dict("list")))
    np.testing.assert_array_equal(by_id(other), by_id(model))


def test_a_table_gives_the_model_of_its_dataset(frame, tmp_path):
    frame.to_csv(tmp_path / "ratings.csv", index=False, columns=["userId", "movieId", "rating"])
    data = ingest_ratings(RatingsSource.detect([tmp_path / "ratings.csv"]), tmp_path / "data")
    rated = data.train.tocoo()
    part = pd.DataFrame(
        {"user": data.users.at(rated.row), "item": data.items.at(rated.col), "rating": rated.data}
    )
    valid = data.valid.tocoo()
    held = (data.users.at(valid.row), data.items.at(valid.col), valid.data)
    one, other = (WALS(CONFIG, OPTIONS).fit(part, valid=held), WALS(CONFIG, OPTIONS).fit(data))
    assert one.users.same_as(other.users)
    assert one.items.same_as(other.items)
    np.testing.assert_array_equal(dense(one), dense(other))
    assert [p["valid_rmse"] for p in one.history] == [p["valid_rmse"] for p in other.history]


def test_validation_ratings_of_a_table_may_be_of_others(frame):
    valid = pd.DataFrame({"user": ["user 3", "nobody"], "item": [107, 9999], "rating": [3.0, 4.0]})
    model = WALS(CONFIG, OPTIONS).fit(
        frame, valid=valid.rename(columns={"user": "userId", "item": "movieId"})
    )
    assert "nobody" in model.users.ids
    assert model.history[-1]["valid_rmse"] == pytest.approx(model.rmse(valid))
    matrix = sp.csr_matrix(np.ones((2, 2)))
    with pytest.raises(UnknownIdError, match="user 3"):
        WALS(CONFIG, OPTIONS).fit(matrix, valid=(["user 3"], [1], [2.0]))
    beside = WALS(CONFIG, OPTIONS).fit(matrix, valid=([1], [0], [2.0]))
    assert beside.history[-1]["valid_rmse"] == pytest.approx(beside.rmse(([1], [0], [2.0])))


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        (
            lambda f: f.drop(columns="rating"),
            ConfigError,
            'named as a rating, such as .*columns=."u", "i", "r".',
        ),
        (lambda f: f["rating"], ConfigError, "must be a table .* but got Series"),
        (
            lambda f: pd.concat([f, f[3:4]]),
            RatingsError,
            r"user user \d+ rated item \d+ in rows 3 and \d+: keep",
        ),
        (
            lambda f: f.assign(userId=f["userId"].where(f.index != 4)),
            RatingsError,
            "userId .* nothing in row 4",
        ),
        (
            lambda f: f.assign(rating=f["rating"].where(f.index != 4)),
            RatingsError,
            "rating .* nothing in row 4",
        ),
        (lambda f: f.assign(rating=np.inf), RatingsError, "must be finite numbers, but row 0 has inf"),
        (lambda f: f.assign(rating=1e300), RatingsError, "must be finite in float32"),
        (lambda f: f.assign(rating="good"), RatingsError, "must be numbers"),
        (lambda f: f.assign(movieId=f["movieId"] + 0.5), RatingsError, "or text, but row 0 has"),
        (lambda f: f.assign(movieId=f["rating"] > 3), RatingsError, "whole numbers or text, but is bool"),
        (lambda f: f.assign(userId=""), RatingsError, "has an empty text in row 0"),
        (
            lambda f: f.assign(userId=[f["userId"][0], ("a", 1), *f["userId"][2:]]),
            RatingsError,
            r"ratings, row 1: the user must be a whole number, a text or a UUID, but is \('a', 1\)",
        ),
        (lambda f: f[:0], RatingsError, "at least one rating"),
        (lambda f: (f["userId"], f["movieId"]), ConfigError, "three arrays of the same length"),
        (lambda _: (1, 2, 3), ConfigError, "three arrays of the same length"),
        (lambda _: pa.chunked_array([[1, 2]]), ConfigError, "must be a table .* but got ChunkedArray"),
        (lambda f: pd.concat([f, f[["userId"]]], axis=1), ConfigError, "one column userId, but have several"),
    ],
)
def test_a_table_that_cannot_be_trained_on_is_refused_with_the_way_out(frame, change, error, text):
    with pytest.raises(error, match=text):
        WALS(CONFIG.replace(iterations=1)).fit(change(frame))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (
            {"columns": ("userid", "movieId", "rating")},
            "one column userid, but have none .did you mean 'userId'",
        ),
        ({"columns": 3}, "columns must name"),
        ({"columns": "userId"}, "columns must name those of users, items and ratings"),
        ({"user_ids": [1]}, "a table brings its own ids"),
        ({"valid": sp.csr_matrix((15, 11))}, "valid must be a table, as the ratings are"),
        ({"valid": ([1], [100], [3.0])}, "user ids of ratings and valid must be of one type"),
    ],
)
def test_arguments_that_do_not_fit_a_table_are_refused(frame, arguments, text):
    with pytest.raises(ConfigError, match=text):
        WALS(CONFIG, OPTIONS).fit(frame, **arguments)


def test_columns_of_a_matrix_are_refused(ratings, model):
    with pytest.raises(ConfigError, match="columns are those of a table"):
        WALS(CONFIG, OPTIONS).fit(ratings, columns=("u", "i", "r"))
    with pytest.raises(ConfigError, match="columns are those of a table"):
        model.rmse(model.rated, columns=("u", "i", "r"))


# Measured


def test_errors_by_id_are_those_by_row(model, frame):
    assert model.rmse(frame) == pytest.approx(model.rmse(model.rated))
    assert model.rmse(frame[:0]) is None
    assert model.score(frame) == -model.rmse(frame)
    predicted = model.predict(frame["userId"], frame["movieId"])
    assert model.rmse(frame) == pytest.approx(np.sqrt(((predicted - frame["rating"]) ** 2).mean()))


def test_ids_that_the_model_lacks_are_refused_or_average(model, frame):
    more = pd.concat([frame, pd.DataFrame({"userId": ["new"], "movieId": [100], "rating": [1.0]})])
    with pytest.raises(UnknownIdError, match="has never seen user new"):
        model.rmse(more)
    predicted = model.predict(more["userId"], more["movieId"], unknown="average")
    expected = np.sqrt(((predicted - more["rating"]) ** 2).mean())
    assert model.rmse(more, unknown="average") == pytest.approx(expected)
    assert model.score(more) == pytest.approx(-expected)
    with pytest.raises(RatingsError, match="at least one rating"):
        model.score(frame[:0])
    with pytest.raises(ConfigError, match="unknown must be one of refuse, average"):
        model.rmse(frame, unknown="avarage")


def test_evaluation_is_the_error_and_the_ranking(model, frame):
    model = named(model.rated[:, ::-1])
    held = pd.DataFrame({"user": np.repeat(USER_IDS, N_ITEMS), "item": np.tile(ITEM_IDS, len(USER_IDS))})
    held = held.assign(rating=np.arange(len(held)) % 5 + 1.0)
    matrix = sp.csr_matrix(held["rating"].to_numpy().reshape(-1, N_ITEMS))
    for exclude_seen in (True, False):
        got = model.evaluate(held, n=3, relevant=4, exclude_seen=exclude_seen)
        seen = [model.rated] if exclude_seen else []
        ranking = rank(model.factors, matrix, seen=seen, n=3, relevant=4)
        assert got == pytest.approx((model.rmse(matrix), *ranking))
        assert got == pytest.approx(model.evaluate(matrix, n=3, relevant=4, exclude_seen=exclude_seen))
    strangers = pd.concat([held, held.assign(user="a stranger")])
    assert model.evaluate(strangers, unknown="average").recall == model.evaluate(held).recall


# Asked


def test_recommendations_of_several_users_as_a_table(model):
    users = ["user 3", "user 0", "user 11"]
    table = model.recommend(users, n=4, as_frame=True)
    assert list(table.columns) == ["user", "item", "rank", "score"]
    for user in users:
        items, scores = model.recommend(user, n=4)
        part = table[table["user"] == user]
        assert part["item"].tolist() == items.tolist()
        assert part["rank"].tolist() == list(range(1, len(items) + 1))
        np.testing.assert_allclose(part["score"], scores, rtol=1e-6)
    assert list(model.recommend("user 3", as_frame=True)["user"].unique()) == ["user 3"]
    assert table["user"].unique().tolist() == users


def test_items_are_chosen_from_candidates_and_without_others(model):
    every = dict(zip(*model.recommend("user 2", N_ITEMS, exclude_seen=False), strict=True))
    some = [163, 100, 121]
    items, scores = model.recommend("user 2", items=some, exclude_seen=False)
    assert items.tolist() == sorted(some, key=every.get, reverse=True)
    np.testing.assert_allclose(scores, [every[item] for item in items.tolist()], rtol=1e-6)
    left, _ = model.recommend("user 2", N_ITEMS, exclude_items=[*some, 5555], exclude_seen=False)
    assert left.tolist() == [item for item in every if item not in some]
    unseen = model.recommend("user 2", N_ITEMS)[0].tolist()
    assert model.recommend("user 2", items=some)[0].tolist() == [item for item in unseen if item in some]
    assert model.recommend("user 2", items=some, exclude_items=some)[0].tolist() == []
    assert model.recommend("user 2", items=[])[0].tolist() == []
    assert model.recommend(USER_IDS, 2, items=[], as_frame=True).empty
    with pytest.raises(UnknownIdError, match="has never seen item 5555"):
        model.recommend("user 2", items=[100, 5555])


@pytest.mark.parametrize("side", ["item", "user"])
def test_neighbours_of_several_are_those_of_each(model, side):
    ask = model.similar_items if side == "item" else model.similar_users
    factors = model.item_factors if side == "item" else model.user_factors
    table = model.items if side == "item" else model.users
    unit = factors / np.linalg.norm(factors, axis=1, keepdims=True)
    for row, one in enumerate(table.ids.tolist()):
        ids, cosines = ask(one, len(table))
        assert one not in ids
        assert len(ids) == len(table) - 1
        np.testing.assert_allclose(cosines, (unit @ unit[row])[table.rows(ids)], rtol=1e-6, atol=1e-9)
        assert (np.diff(cosines) <= 1e-12).all()
    asked = table.ids[:4].tolist()
    many, scores = ask(asked, 3)
    assert many.shape == scores.shape == (4, 3)
    shown = ask(asked, 3, as_frame=True)
    assert list(shown.columns) == [side, f"similar_{side}", "rank", "score"]
    assert shown[f"similar_{side}"].tolist() == many.ravel().tolist()
    among = {f"{side}s": asked, f"exclude_{side}s": asked[:1]}
    assert set(ask(asked[1], **among)[0].tolist()) == set(asked[2:])
    ids, scores = ask(asked, **among)
    assert [sum(one is not None and one != -1 for one in row) for row in ids.tolist()] == [3, 2, 2, 2]
    assert np.isnan(scores[1:, -1]).all()


def test_factors_are_shown_and_not_changed(model):
    assert model.user_factors.shape == (len(USER_IDS), 3)
    assert model.item_factors.shape == (N_ITEMS, 3)
    for factors in (model.user_factors, model.item_factors):
        with pytest.raises(ValueError, match="read-only"):
            factors[0] = 1
