"""Rows solved again or for the first time: what training would give them, and everything else untouched."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from small_models import PLAIN

from toolkit.backends import Backend
from toolkit.config import RunOptions
from toolkit.errors import ConfigError, RatingsError
from toolkit.models import WALS

CONFIG = PLAIN.replace(
    factors=3, iterations=6, unobserved_weight=0.02, weight_exponent=0.4, pattern_weight=0.3
)
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
    many = model.fold_in(ratings)
    for few in (model.fold_in(ratings[:9]), model.fold_in(ratings, backend=Backend(threads=1))):
        np.testing.assert_allclose(many.factors[:9], few.factors[:9], rtol=1e-9, atol=1e-12)


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
        (["a", "a"], (2, 30), "each user id must"),
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
    with pytest.raises(ConfigError, match=r"item ids of this model are .* got 'x'"):
        model.partial_fit_items(sp.csr_matrix((1, 90)), item_ids=["x"])
    model.partial_fit(sp.csr_matrix((1, 30)), user_ids=[12])
    assert model.users.ids[-1] == "12"


def test_ratings_that_are_not_finite_are_refused(model):
    with pytest.raises(RatingsError, match="finite"):
        model.partial_fit(sp.csr_matrix(([np.inf], ([0], [0])), shape=(1, 30)), user_ids=["a"])


@given(data=st.data())
def test_after_any_updates_every_user_has_the_row_that_folding_in_gives(ratings, data):
    """Counts follow the ratings, and the weights stay those that the items were solved with."""
    model = WALS(CONFIG.replace(iterations=2), RunOptions(dtype="float64")).fit(ratings)
    for _ in range(data.draw(st.integers(1, 3))):
        n_users, n_items = model.rated.shape
        n = data.draw(st.integers(0, 4))
        ids = data.draw(st.lists(st.integers(0, n_users + 5), min_size=n, max_size=n, unique=True))
        rng = np.random.default_rng(data.draw(st.integers(0, 99)))
        values = rng.integers(1, 6, (n, n_items)) * (rng.random((n, n_items)) < 0.3)
        model.partial_fit(sp.csr_matrix(values.astype(float)), user_ids=ids)
    np.testing.assert_array_equal(model.item_counts, np.diff(model.rated.tocsc().indptr))
    side = model.fold_in(model.rated)
    np.testing.assert_allclose(side.factors, model.factors.users.factors, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(side.bias, model.factors.users.bias, rtol=1e-8, atol=1e-10)


def test_weights_of_an_updated_model_survive_on_disk(model, ratings, tmp_path):
    twelve = sp.csr_matrix(np.full((40, 30), 4.0))
    model.partial_fit(twelve, user_ids=[f"new {n}" for n in range(40)])
    model.save(tmp_path / "model")
    assert (tmp_path / "model" / "weight_counts.npy").exists()
    again = WALS.load(tmp_path / "model")
    np.testing.assert_array_equal(again.item_counts, model.item_counts)
    np.testing.assert_array_equal(again.fold_in(ratings).factors, model.fold_in(ratings).factors)


def test_the_sums_over_items_are_computed_once_and_anew_when_items_change(model, ratings):
    gram = model.state.item_gram
    model.partial_fit(ratings[:2], user_ids=["new", "u001"])
    assert model.state.item_gram is gram
    model.partial_fit_items(sp.csr_matrix(np.full((1, 91), 3.0)), item_ids=[100])
    assert not np.allclose(model.state.item_gram, gram)
    y, q = model.factors.items.factors, model.factors.item_pattern
    pattern_weight = CONFIG.pattern_weight * model.factors.spread**2
    wanted = CONFIG.unobserved_weight * y.T @ y + pattern_weight * q.T @ q
    np.testing.assert_allclose(model.state.item_gram, wanted, rtol=1e-12)
