"""Fold-in: the rows of the rated items and sums over all items give what all items give."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from memory_peaks import peak_of
from served_models import CONFIGS, fitted

from toolkit import Backend

TOLERANCE = {"float32": 1e-4, "float64": 1e-9}


@pytest.fixture(scope="module", params=[(dtype, name) for dtype in TOLERANCE for name in CONFIGS], ids=str)
def model(request, made_up_ratings):
    dtype, name = request.param
    return fitted(
        made_up_ratings(60, 40, whole=True), CONFIGS[name], dtype=dtype, user_ids=None, item_ids=None
    )


def same(one, other):
    tolerance = TOLERANCE[str(other.factors.dtype)]
    for mine, theirs in zip(one, other, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_allclose(mine, theirs, rtol=tolerance, atol=tolerance)


def test_one_user_at_a_time_is_folded_in_as_all_at_once(model, made_up_ratings):
    new = made_up_ratings(90, 40, density=0.2, whole=True, seed=1)
    together = model.fold_in(new)
    same(model.fold_in(new, backend=Backend(threads=1)), together)
    for row in range(0, 90, 7):
        same(model.fold_in(new[[row]]), together.at(slice(row, row + 1)))


def test_users_of_the_ratings_are_folded_in_to_the_row_they_have(model):
    for row in (3, 40):
        same(model.fold_in(model.rated[[row]]), model.factors.users.at(slice(row, row + 1)))


def test_an_explanation_adds_up_to_what_fold_in_predicts(model, made_up_ratings):
    one = made_up_ratings(1, 40, density=0.2, whole=True, seed=2)
    side, items = model.fold_in(one), model.factors.items
    scores = side.factors @ items.factors.T + side.bias[:, None] + items.bias + model.factors.mean
    for item in (0, 17):
        explained = model.explain_ratings(one, item)
        assert explained.score == pytest.approx(scores[0, item], rel=1e-4)


def test_a_user_among_many_items_costs_no_table_of_them(made_up_ratings):
    ratings = sp.random_array((30, 20_000), density=0.01, rng=0, format="csr")
    config = CONFIGS["both"].replace(iterations=1, factors=8)
    model = fitted(ratings, config, user_ids=None, item_ids=None)
    one = model.rated[[3]]
    for ask in (lambda: model.fold_in(one), lambda: model.explain_ratings(one, 5)):
        ask()
        # A table of the items takes 1.3 MB.
        assert peak_of(ask) < 400_000
