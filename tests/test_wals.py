"""The model a user holds: what it answers, by id."""

from __future__ import annotations

import copy
import dataclasses
import inspect

import numpy as np
import pytest
import scipy.sparse as sp
from small_models import CONFIG, ITEM_IDS, N_ITEMS, N_USERS, OPTIONS, USER_IDS, dense, named

from toolkit.backends import Backend
from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError, RatingsError, UnknownIdError
from toolkit.models import WALS
from toolkit.predictor import Side
from toolkit.solver import Factors


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings()


@pytest.fixture(scope="module")
def model(ratings):
    return named(ratings)


def with_factors(item_factors, *, user_factors=((1.0, 0.0),), seen=()):
    """Return a model of one known user and of items with these factors, no biases."""
    x, y = np.array(user_factors), np.array(item_factors, float)
    users, items = Side(x, np.zeros(len(x))), Side(y, np.zeros(len(y)))
    factors = Factors(users, items, 0.0, WALSConfig(factors=2, iterations=1, bias="none"), 1)
    stored = (np.ones(len(seen)), (np.zeros(len(seen), int), np.array(seen, int)))
    return WALS.from_factors(factors, sp.csr_matrix(stored, shape=(len(x), len(y))), options=OPTIONS)


# Predicting


@pytest.mark.parametrize("bias", ["none", "mean", "full"])
def test_prediction_is_mean_biases_and_product_of_factors(ratings, bias):
    model = WALS(CONFIG.replace(bias=bias), OPTIONS).fit(ratings)
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    np.testing.assert_allclose(model.predict(users, items, clip=False), dense(model).ravel(), rtol=1e-12)


def test_predictions_are_clipped_to_the_scale_of_the_training_ratings(ratings, tmp_path):
    users, items = np.divmod(np.arange(N_USERS * N_ITEMS), N_ITEMS)
    model = WALS(CONFIG, OPTIONS).fit(ratings)
    low, high = ratings.data.min(), ratings.data.max()
    clipped = np.clip(dense(model), low, high)
    assert (clipped != dense(model)).any()
    np.testing.assert_allclose(model.predict(users, items), clipped.ravel(), rtol=1e-12)
    valid = sp.coo_matrix(np.full((N_USERS, N_ITEMS), 2.5))
    assert model.rmse(valid) == pytest.approx(np.sqrt(((clipped - 2.5) ** 2).mean()), rel=1e-12)
    model.save(tmp_path / "model")
    np.testing.assert_array_equal(
        WALS.load(tmp_path / "model").predict(users, items), model.predict(users, items)
    )
    unclipped = WALS(CONFIG.replace(clip="none"), OPTIONS).fit(ratings)
    assert unclipped.factors.scale is None
    np.testing.assert_allclose(unclipped.predict(users, items), dense(unclipped).ravel(), rtol=1e-12)


def test_patience_stops_and_keeps_the_best_iteration(made_up_ratings):
    ratings = made_up_ratings(60, 50, density=0.3, noise=0.6)
    coo = ratings.tocoo()
    held = np.arange(coo.nnz) % 5 == 0
    parts = [sp.coo_matrix((coo.data[m], (coo.row[m], coo.col[m])), shape=coo.shape) for m in (~held, held)]
    config = WALSConfig(factors=8, iterations=60)
    model = WALS(config, OPTIONS).fit(sp.csr_matrix(parts[0]), valid=parts[1], patience=3)
    errors = [p["valid_rmse"] for p in model.history]
    assert (
        model.factors.iterations == 1 + int(np.argmin(errors)) < len(errors) == model.factors.iterations + 3
    )
    assert model.rmse(parts[1]) == pytest.approx(min(errors))
    same = WALS(config.replace(iterations=model.factors.iterations), OPTIONS).fit(sp.csr_matrix(parts[0]))
    np.testing.assert_array_equal(same.factors.users.factors, model.factors.users.factors)
    with pytest.raises(ConfigError, match="patience needs validation ratings"):
        WALS(config, OPTIONS).fit(ratings, patience=3)


def test_prediction_takes_ids_as_the_ratings_had_them(model):
    expected = dense(model)
    assert model.predict("user 3", 107) == pytest.approx(expected[3, 1])
    assert model.predict("user 3", "107") == pytest.approx(expected[3, 1])
    np.testing.assert_allclose(model.predict("user 3", [100, 107]), expected[3, :2])
    np.testing.assert_allclose(model.predict(["user 3", "user 0"], 107), expected[[3, 0], 1])


def test_row_numbers_are_the_ids_where_none_are_given(ratings):
    model = WALS(CONFIG, OPTIONS).fit(ratings)
    assert model.predict("3", "1") == model.predict(3, 1) == pytest.approx(dense(model)[3, 1])


def test_predicting_no_pairs_gives_none(model):
    assert model.predict([], []).shape == (0,)


def test_users_and_items_of_different_number_are_refused(model):
    with pytest.raises(ConfigError, match="as many, but got 2 and 3"):
        model.predict(["user 1", "user 2"], [100, 107, 114])


@pytest.mark.parametrize(
    ("ask", "text"),
    [
        (lambda m: m.predict("user 99", 100), "user user 99"),
        (lambda m: m.predict("user 1", 101), "item 101"),
        (lambda m: m.recommend(3), "user 3"),
        (lambda m: m.similar_items(3), "item 3"),
        (lambda m: m.similar_items("x"), "item ids of this model"),
    ],
)
def test_unknown_ids_are_named(model, ask, text):
    with pytest.raises(UnknownIdError, match=text):
        ask(model)


def test_rmse_of_no_ratings_is_none_and_of_the_training_ratings_what_the_history_says(model, ratings):
    assert model.rmse(sp.coo_matrix((N_USERS, N_ITEMS))) is None
    assert model.rmse(ratings) == pytest.approx(model.history[-1]["train_rmse"])


# Recommending


@pytest.mark.parametrize("n", [1, 3, 10, 1000])
def test_recommendations_are_the_best_unseen_items_in_order(model, ratings, n):
    for row, user in enumerate(USER_IDS):
        items, scores = model.recommend(user, n)
        unseen = np.setdiff1d(np.arange(N_ITEMS), ratings[row].indices)
        expected = unseen[np.argsort(-dense(model)[row, unseen], kind="stable")][:n]
        assert items.tolist() == ITEM_IDS[expected].tolist()
        np.testing.assert_allclose(scores, dense(model)[row, expected])


def test_seen_items_are_recommended_on_request(model):
    items, _ = model.recommend("user 0", N_ITEMS, exclude_seen=False)
    assert sorted(items.tolist()) == ITEM_IDS.tolist()


def test_user_who_has_seen_everything_gets_nothing():
    items, scores = with_factors([[1, 0], [2, 0]], seen=[0, 1]).recommend(0)
    assert items.tolist() == scores.tolist() == []


def test_equal_scores_come_by_position():
    model = with_factors([[1, 0], [2, 0], [1, 0], [2, 0], [1, 0], [0, 0]])
    for n, expected in ((1, [1]), (2, [1, 3]), (3, [1, 3, 0]), (4, [1, 3, 0, 2])):
        assert model.recommend(0, n)[0].tolist() == expected


def test_recommending_changes_nothing(model):
    before = dense(model).copy(), model.rated.indices.copy()
    model.recommend("user 0")
    np.testing.assert_array_equal(dense(model), before[0])
    np.testing.assert_array_equal(model.rated.indices, before[1])


@pytest.mark.parametrize("n", [0, -1])
def test_fewer_than_one_item_is_refused(model, n):
    with pytest.raises(ConfigError, match=f"n must be at least 1, but got {n}"):
        model.recommend("user 0", n)
    with pytest.raises(ConfigError):
        model.similar_items(100, n)


def test_similar_items_are_those_that_point_the_same_way():
    model = with_factors([[1, 0], [5, 0.1], [0, 3], [-2, 0], [0.5, 0.5], [0, 0]])
    items, cosines = model.similar_items("0")
    assert items.tolist() == [1, 4, 2, 5, 3]
    np.testing.assert_allclose(cosines, [0.9998, 0.7071, 0, 0, -1], atol=1e-4)
    assert model.similar_items(0, 2)[0].tolist() == [1, 4]


def test_item_without_factors_is_similar_to_none():
    _, cosines = with_factors([[0, 0], [1, 0]]).similar_items(0)
    assert cosines.tolist() == [0]


# Fold-in


@pytest.mark.parametrize("bias", ["none", "mean", "full"])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.1])
def test_folding_a_training_user_in_gives_the_trained_row(ratings, bias, unobserved_weight):
    config = CONFIG.replace(bias=bias, unobserved_weight=unobserved_weight, weight_exponent=0.4)
    model = WALS(config, OPTIONS).fit(ratings)
    folded = model.fold_in(ratings)
    np.testing.assert_allclose(folded.factors, model.factors.users.factors, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(folded.bias, model.factors.users.bias, rtol=1e-9, atol=1e-12)


def test_folding_in_after_loading_gives_the_same(model, ratings, tmp_path):
    model.save(tmp_path / "model")
    folded = WALS.load(tmp_path / "model").fold_in(ratings[:3])
    np.testing.assert_allclose(folded.factors, model.factors.users.factors[:3], rtol=1e-9, atol=1e-12)


def test_folding_in_does_not_change_the_model(model, ratings):
    before = dense(model).copy()
    model.fold_in(ratings[:2] * 2)
    np.testing.assert_array_equal(dense(model), before)


def test_user_without_ratings_folds_in_to_zero(model):
    folded = model.fold_in(sp.csr_matrix((1, N_ITEMS)))
    assert not folded.factors.any()
    assert not folded.bias.any()


def test_fold_in_of_other_columns_is_refused(model):
    with pytest.raises(ConfigError, match="must have 11 columns, one per item, but have 12"):
        model.fold_in(sp.csr_matrix((1, N_ITEMS + 1)))


def test_fold_in_of_what_is_not_finite_is_refused(model):
    with pytest.raises(RatingsError, match="row 0, column 2"):
        model.fold_in(sp.csr_matrix(([np.nan], ([0], [2])), shape=(1, N_ITEMS)))


# Fitting


@pytest.mark.parametrize("form", [sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_array])
def test_every_sparse_form_trains_the_same_model(model, ratings, form):
    other = WALS(CONFIG, OPTIONS).fit(form(ratings), user_ids=USER_IDS, item_ids=ITEM_IDS)
    np.testing.assert_array_equal(dense(other), dense(model))
    assert other.recommend("user 2")[0].tolist() == model.recommend("user 2")[0].tolist()


def test_history_has_every_iteration_and_is_told_as_it_happens(ratings):
    valid = sp.coo_matrix(ratings[:, ::-1])
    told = []
    model = WALS(CONFIG, OPTIONS).fit(ratings, valid=valid, on_iteration=lambda p: told.append(dict(p)))
    assert told == model.history
    assert [p["iteration"] for p in told] == [1, 2, 3, 4]
    assert told[-1]["train_rmse"] == pytest.approx(model.rmse(ratings))
    assert told[-1]["valid_rmse"] == pytest.approx(model.rmse(valid))
    assert all(p["seconds"] >= 0 for p in told)


def test_history_without_validation_ratings_says_so_and_starts_anew_with_every_fit(ratings):
    model = WALS(CONFIG, OPTIONS).fit(ratings).fit(ratings)
    assert [p["iteration"] for p in model.history] == [1, 2, 3, 4]
    assert {p["valid_rmse"] for p in model.history} == {None}


def test_validation_ratings_change_nothing_but_the_history(model, ratings):
    other = WALS(CONFIG, OPTIONS).fit(ratings, valid=sp.coo_matrix(ratings * 2))
    np.testing.assert_array_equal(dense(other), dense(model))


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"user_ids": USER_IDS[1:]}, "ratings of 15 users and 11 items need as many ids, but got 14 and 11"),
        ({"item_ids": range(12)}, "but got 15 and 12"),
        ({"item_ids": [0] * N_ITEMS}, "each item id must"),
        ({"valid": sp.coo_matrix((3, 4))}, r"valid must have the shape of ratings, \(15, 11\)"),
    ],
)
def test_what_does_not_fit_the_ratings_is_refused_before_training(ratings, arguments, text):
    with pytest.raises(ConfigError, match=text):
        WALS(CONFIG, OPTIONS).fit(ratings, **arguments, on_iteration=lambda _: pytest.fail("trained"))


def test_ratings_that_cannot_be_trained_on_are_refused():
    with pytest.raises(RatingsError):
        WALS(CONFIG, OPTIONS).fit(sp.csr_matrix((3, 4)))
    with pytest.raises(RatingsError):
        WALS(CONFIG, OPTIONS).fit(sp.csr_matrix(([np.inf], ([1], [2])), shape=(3, 4)))


# Unknown ids, titles, parameters


def test_unknown_ids_get_the_average(model):
    f = model.factors
    x, b = f.users.factors.mean(axis=0), f.users.bias.mean()
    y, c = f.items.factors.mean(axis=0), f.items.bias.mean()
    user, item = USER_IDS[1], ITEM_IDS[2]
    got = model.predict([999, user, 999, user], [item, "no", "no", item], clip=False, unknown="average")
    wanted = [
        x @ f.items.factors[2] + b + f.items.bias[2] + f.mean,
        f.users.factors[1] @ y + f.users.bias[1] + c + f.mean,
        x @ y + b + c + f.mean,
        model.predict(user, item, clip=False)[0],
    ]
    np.testing.assert_allclose(got, wanted, rtol=1e-6)
    low, high = f.scale
    assert (model.predict([999] * N_ITEMS, ITEM_IDS, unknown="average") >= low).all()
    assert (model.predict([999] * N_ITEMS, ITEM_IDS, unknown="average") <= high).all()


def test_many_users_get_what_each_gets_alone(model):
    for backend in (None, Backend(2), Backend.require("numba", 2)):
        items, scores = model.recommend(USER_IDS, 5, backend=backend)
        for row, user in enumerate(USER_IDS):
            alone, expected = model.recommend(user, 5)
            assert items[row][: len(alone)].tolist() == alone.tolist()
            assert set(items[row][len(alone) :]) <= {-1}
            np.testing.assert_allclose(scores[row][: len(alone)], expected, rtol=1e-6)
            assert np.isnan(scores[row][len(alone) :]).all()


def test_new_items_have_no_title_yet(model):
    grown = copy.copy(model)
    grown.titles = np.array([f"Title {i}" for i in range(N_ITEMS)])
    grown.partial_fit_items(sp.csr_matrix(np.full((1, N_USERS), 3.0)), item_ids=[9999])
    assert grown.titles.tolist() == [*(f"Title {i}" for i in range(N_ITEMS)), ""]


def test_parameters_are_given_by_name_or_as_config_and_options():
    assert WALS(factors=3, seed=4).config == WALSConfig(factors=3)
    assert WALS(factors=3, seed=4).options == RunOptions(seed=4)
    changed = WALS(WALSConfig(factors=3, iterations=7), factors=5, threads=2)
    assert (changed.config, changed.options) == (WALSConfig(factors=5, iterations=7), RunOptions(threads=2))
    with pytest.raises(ConfigError) as refused:
        WALS(factor=3, sead=1, iterations=0, threads=-1)
    for part in ("(did you mean 'factors'?)", "(did you mean 'seed'?)", "iterations must be", "threads must"):
        assert part in str(refused.value)
    with pytest.raises(ConfigError, match="config must be a WALSConfig, but got 64: give factors=32 by name"):
        WALS(64)
    shown = inspect.signature(WALS).parameters
    assert shown["factors"].default == WALSConfig().factors
    assert shown["seed"].default == RunOptions().seed


def test_a_model_shows_what_it_is(ratings, model):
    assert repr(WALS(factors=64, regularization=0.1)) == "WALS(factors=64, regularization=0.1)"
    assert repr(WALS()) == "WALS()"
    assert repr(WALS(factors=2, iterations=1).fit(ratings)) == (
        f"WALS(factors=2, iterations=1), fitted: 15 users, 11 items, {ratings.nnz} ratings"
    )


def test_parameters_are_read_and_set_as_scikit_learn_does():
    model = WALS(factors=3, seed=4)
    assert model.get_params() == {**WALSConfig(factors=3).to_dict(), **dataclasses.asdict(RunOptions(seed=4))}
    assert model.set_params(factors=5, seed=1) is model
    assert (model.config.factors, model.options.seed) == (5, 1)
    assert model.set_params(config=WALSConfig(factors=2), iterations=3).config == WALSConfig(
        factors=2, iterations=3
    )
    with pytest.raises(ConfigError, match=r"unknown parameter 'factor' \(did you mean 'factors'"):
        model.set_params(factor=1)
    with pytest.raises(ConfigError, match="factors must be between"):
        model.set_params(factors=-1, seed=9)
    assert (model.config.factors, model.options.seed) == (2, 1)
