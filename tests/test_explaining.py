"""What each rating of a user adds to a prediction: all of it, and what leaving the rating out would take."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from small_models import PLAIN

from toolkit import WALS, RunOptions
from toolkit.errors import ConfigError, RatingsError, UnknownIdError

CONFIGS = {
    "plain": PLAIN.replace(factors=3, iterations=4, bias="none", regularization_exponent=0),
    "mean": PLAIN.replace(factors=3, iterations=4, bias="mean"),
    "full": PLAIN.replace(factors=3, iterations=4),
    "weights": PLAIN.replace(factors=3, iterations=4, unobserved_weight=0.05, weight_exponent=0.5),
    "pattern": PLAIN.replace(factors=3, iterations=4, pattern_weight=0.5),
    "all": PLAIN.replace(
        factors=3, iterations=4, pattern_weight=0.5, unobserved_weight=0.1, weight_exponent=0.3
    ),
}
OPTIONS = RunOptions(backend="numpy", dtype="float64", seed=1)


@pytest.fixture(scope="module")
def ratings():
    rng = np.random.default_rng(0)
    matrix = sp.random_array((40, 25), density=0.3, rng=rng, format="csr")
    matrix.data = rng.integers(1, 6, len(matrix.data)).astype(float)
    return sp.csr_matrix(matrix)


@pytest.fixture(scope="module", params=CONFIGS)
def model(request, ratings):
    return WALS(CONFIGS[request.param], OPTIONS).fit(ratings)


def test_parts_add_up_to_the_prediction(model, ratings):
    for user, item in ((0, 3), (7, 0), (39, 24)):
        found = model.explain(user, item)
        assert found.base + found.contributions.sum() == pytest.approx(found.score)
        side = model.fold_in(ratings[[user]])
        f = model.factors
        score = side.factors[0] @ f.items.factors[item] + side.bias[0] + f.items.bias[item] + f.mean
        assert found.score == pytest.approx(score, rel=1e-9)
        assert found.score == pytest.approx(model.predict(user, item, clip=False)[0], rel=1e-9)


def test_parts_are_what_the_user_rated_the_largest_first(model, ratings):
    found = model.explain(7, 0)
    assert sorted(found.items) == sorted(ratings[7].indices)
    assert (np.diff(found.contributions) <= 0).all()
    for item, rating in zip(found.items, found.ratings, strict=True):
        assert ratings[7, item] == rating


def test_one_star_more_changes_the_prediction_as_its_part_says():
    """A prediction is linear in the ratings, unless their mean is taken off."""
    rng = np.random.default_rng(3)
    ratings = sp.csr_matrix(rng.integers(1, 6, (12, 9)).astype(float))
    model = WALS(CONFIGS["full"], OPTIONS).fit(ratings)
    before, row = model.explain(4, 2), ratings[[4]].copy()
    at = int(np.flatnonzero(before.items == 6)[0])
    row.data[6] += 1
    after = model.explain_ratings(row, 2)
    now = int(np.flatnonzero(after.items == 6)[0])
    assert after.score - before.score == pytest.approx(after.contributions[now] - before.contributions[at])


def test_a_user_without_ratings_gets_the_base(model):
    found = model.explain_ratings(sp.csr_matrix((1, 25)), 3)
    assert found.score == found.base
    assert len(found.items) == 0


def test_unknown_ids_are_named(model):
    with pytest.raises(UnknownIdError, match="never seen user 99"):
        model.explain(99, 1)
    with pytest.raises(UnknownIdError, match="never seen item 99"):
        model.explain(1, 99)


def test_what_is_not_one_row_of_finite_ratings_is_refused(model, ratings):
    with pytest.raises(ConfigError, match=r"ratings must be a row of 25 items, but have the shape \(2, 25\)"):
        model.explain_ratings(ratings[:2], 3)
    with pytest.raises(ConfigError, match="must be a row of 25 items"):
        model.explain_ratings(sp.csr_matrix((1, 3)), 3)
    with pytest.raises(RatingsError, match="must be finite"):
        model.explain_ratings(sp.csr_matrix(np.full((1, 25), np.nan)), 3)


def test_whole_numbers_are_ratings_that_may_have_halves_later(ratings):
    whole = ratings.astype(np.int64)
    model = WALS(CONFIGS["full"], OPTIONS).fit(whole)
    whole.data[:] = 0  # the model has a copy
    model.partial_fit(sp.csr_matrix(np.full((1, 25), 3.5)), user_ids=[0])
    assert set(model.rated[0].data) == {3.5}
    assert model.explain(0, 3).score == pytest.approx(model.predict(0, 3, clip=False)[0])
    assert model.rated[1].data.min() >= 1
