"""Rows solved again or for the first time: what training would give them, and everything else untouched."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError, RatingsError
from toolkit.models.updating import FEW
from toolkit.models.wals import WALS

CONFIG = WALSConfig(factors=3, iterations=6, unobserved_weight=0.02, weight_exponent=0.4, pattern_weight=0.3)
USERS, ITEMS = [f"u{n:03}" for n in range(90)], list(range(100, 130))


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings(90, 30, density=0.3)


@pytest.fixture
def model(ratings):
    return WALS(CONFIG, RunOptions(dtype="float64")).fit(ratings, user_ids=USERS, item_ids=ITEMS)


def state(model):
    factors = model.factors
    return [np.array(a) for a in (*factors.users, *factors.items)]


def test_users_with_the_ratings_of_training_keep_their_rows(model, ratings):
    before = state(model)
    chosen = [5, 2, 80]
    assert model.partial_fit(ratings[chosen], user_ids=[USERS[n] for n in chosen]) is model
    for a, b in zip(before, state(model), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-12)
    assert model.users.ids.tolist() == USERS


def test_many_users_are_solved_as_few_are(model, ratings):
    assert ratings.shape[0] >= FEW
    many = model.fold_in(ratings)
    few = model.fold_in(ratings[:9])
    np.testing.assert_allclose(many.factors[:9], few.factors, rtol=1e-9, atol=1e-12)


def test_changed_and_new_users(model, ratings):
    before = state(model)
    changed = sp.csr_matrix(ratings[[4, 1, 7]])
    changed.data = 6 - changed.data
    model.partial_fit(changed, user_ids=["new", "u001", "also new"])
    wanted = model.fold_in(changed)
    assert model.users.ids.tolist() == [*USERS, "new", "also new"]
    at = model.users.rows(["new", "u001", "also new"])
    np.testing.assert_array_equal(model.factors.users.factors[at], wanted.factors)
    np.testing.assert_array_equal(model.factors.users.bias[at], wanted.bias)
    others = np.setdiff1d(np.arange(90), at)
    np.testing.assert_array_equal(model.factors.users.factors[others], before[0][others])
    np.testing.assert_array_equal(model.factors.items.factors, before[2])
    # What is seen follows: all else is recommended.
    for user, row in zip(["new", "u001", "also new"], changed, strict=True):
        items, _ = model.recommend(user, n=30)
        assert sorted([*items.tolist(), *(ITEMS[i] for i in row.indices)]) == ITEMS
    items, _ = model.recommend("u050", n=30)
    assert len(items) == 30 - ratings[[50]].nnz


def test_changed_and_new_items(model, ratings, tmp_path):
    before = state(model)
    by_item = ratings.T.tocsr()
    chosen = sp.csr_matrix(by_item[[3, 8]])
    chosen.data = 1 + 0.5 * chosen.data
    wanted = model.fold_in_items(chosen)
    model.partial_fit_items(chosen, item_ids=[999, 108])
    assert model.items.ids.tolist() == [*ITEMS, 999]
    np.testing.assert_array_equal(model.factors.items.factors[[30, 8]], wanted.factors)
    np.testing.assert_array_equal(model.factors.users.factors, before[0])
    assert model.item_counts[30] == by_item[[3]].nnz
    rated = USERS[chosen[[0]].indices[0]]
    assert 999 not in model.recommend(rated, n=40)[0]
    model.save(tmp_path / "model")
    again = WALS.load(tmp_path / "model")
    assert again.predict(rated, 999) == model.predict(rated, 999)
    # Weights of new users follow the new counts.
    assert again.fold_in(sp.csr_matrix((1, 31))).factors.shape == (1, 3)


def test_the_half_step_of_training_is_what_an_item_gets(model, ratings):
    # Training ended with the users, so that items solved again are those of the next iteration.
    config = CONFIG
    options = RunOptions(dtype="float64")
    fit = lambda n: WALS(config.replace(iterations=n), options).fit(ratings)  # noqa: E731
    wanted = fit(7).factors.items.factors
    found = fit(6).fold_in_items(ratings.T.tocsr()).factors
    np.testing.assert_allclose(found, wanted, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("ids", "shape", "text"),
    [
        (["a", "a"], (2, 30), "each user id must occur once"),
        (["a"], (2, 30), "each row of ratings needs an id, but got 1 for 2"),
        (["a"], (1, 31), "must have 30 columns, one per item, but have 31"),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(model, ids, shape, text):
    before = state(model)
    with pytest.raises(ConfigError, match=text):
        model.partial_fit(sp.csr_matrix(shape), user_ids=ids)
    assert len(model.users) == 90
    for a, b in zip(before, state(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_text_is_no_id_of_a_model_with_integers(model):
    with pytest.raises(ConfigError, match="item ids of this model are whole numbers, but got 'x'"):
        model.partial_fit_items(sp.csr_matrix((1, 90)), item_ids=["x"])
    model.partial_fit(sp.csr_matrix((1, 30)), user_ids=[12])
    assert model.users.ids[-1] == "12"


def test_ratings_that_are_not_finite_are_refused(model):
    with pytest.raises(RatingsError, match="finite"):
        model.partial_fit(sp.csr_matrix(([np.inf], ([0], [0])), shape=(1, 30)), user_ids=["a"])
