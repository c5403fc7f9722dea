"""Intervals of predictions and exploration, from the samples that a posterior keeps."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit import WALS
from toolkit.errors import ConfigError, UnknownIdError
from toolkit.models import Model

WORDS = {"factors": 2, "pattern_weight": 0.3, "backend": "numpy", "threads": 1}


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings(90, 40, density=0.5, noise=0.6, empty_users=(4,))


@pytest.fixture(scope="module")
def model(ratings):
    return WALS(**WORDS, clip="none").fit_posterior(ratings, samples=24, burn_in=12, keep=12)


def width(interval):
    _, low, high = interval
    return high - low


def test_an_interval_is_around_the_prediction_and_as_wide_as_it_is_probable(model):
    users, items = np.arange(40), np.arange(40)
    mean, low, high = model.predict(users, items, interval=0.8)
    np.testing.assert_allclose(mean, model.predict(users, items), rtol=1e-6)
    np.testing.assert_allclose(high - mean, mean - low, rtol=1e-4)
    # 1.6449 and 1.2816 standard deviations hold 90 and 80 % of a normal distribution.
    wider = width(model.predict(users, items, interval=0.9))
    np.testing.assert_allclose(wider / (high - low), 1.6449 / 1.2816, rtol=1e-3)
    # No interval is narrower than the noise of a rating.
    assert (high - low > 2 * 1.28 * model.posterior.noise).all()


def test_intervals_hold_as_often_as_they_say(made_up_ratings):
    everything = made_up_ratings(120, 50, density=0.6, noise=0.6).tocoo()
    held_out = np.random.default_rng(0).random(everything.nnz) < 0.3
    parts = [
        sp.csr_matrix((everything.data[of], (everything.row[of], everything.col[of])), shape=everything.shape)
        for of in (~held_out, held_out)
    ]
    model = WALS(**WORDS, clip="none").fit_posterior(parts[0], samples=24, burn_in=12, keep=12)
    test = parts[1].tocoo()
    _, low, high = model.predict(test.row, test.col, interval=0.8)
    assert np.mean((low <= test.data) & (test.data <= high)) == pytest.approx(0.8, abs=0.05)
    new = model.fold_in(parts[0])
    assert new.factors.shape == (120, 2)
    _, low, high = model.predict_new(parts[0][test.row], test.col, interval=0.8)
    assert np.mean((low <= test.data) & (test.data <= high)) == pytest.approx(0.8, abs=0.05)


def test_who_is_known_less_has_a_wider_interval(model, ratings):
    known = width(model.predict(range(30), 7, interval=0.9)).mean()
    unknown = width(model.predict([10**6], 7, unknown="average", interval=0.9))[0]
    neither = width(model.predict([10**6], [10**6], unknown="average", interval=0.9))[0]
    # A user of the model that has no ratings is drawn from the prior, as an unknown one is.
    empty = width(model.predict(4, 7, interval=0.9))[0]
    assert known < unknown < neither
    assert empty == pytest.approx(unknown, rel=0.5)
    few = ratings[[3]].copy()
    few.data[2:] = 0
    few.eliminate_zeros()
    folded = width(model.predict_new(sp.vstack([few, sp.csr_matrix((1, 40))], format="csr"), 7, interval=0.9))
    assert known < folded[0] < folded[1]
    assert folded[1] == pytest.approx(unknown, rel=1e-6)
    with pytest.raises(UnknownIdError):
        model.predict(10**6, 7, interval=0.9)


def test_an_end_beyond_the_scale_is_the_end_of_the_scale(ratings):
    stars = ratings.copy()
    stars.data = np.clip(np.rint(stars.data), 1, 5)
    model = WALS(**WORDS).fit_posterior(stars, samples=6, burn_in=5, keep=6)
    mean, low, high = model.predict(range(30), 3, interval=0.99)
    assert (low == 1).any()
    assert (high == 5).any()
    assert (low >= 1).all()
    assert ((low <= mean) & (mean <= high)).all()
    _, low, _ = model.predict(range(30), 3, interval=0.99, clip=False)
    assert (low < 1).any()


def test_new_users_are_predicted_as_they_are_folded_in(model, ratings):
    side, items = model.fold_in(ratings[:3]), model.factors.items
    wanted = np.einsum("nk,nk->n", side.factors, items.factors[[5, 1, 0]]) + side.bias + items.bias[[5, 1, 0]]
    np.testing.assert_allclose(
        model.predict_new(ratings[:3], [5, 1, 0]), wanted + model.factors.mean, rtol=1e-5
    )
    with pytest.raises(ConfigError, match="each of 3 users needs an item, but got 2"):
        model.predict_new(ratings[:3], [5, 1])


def test_exploring_recommends_by_one_sample(model):
    lists = {seed: model.recommend(3, n=5, explore=seed) for seed in range(12)}
    again = model.recommend(3, n=5, explore=7)
    np.testing.assert_array_equal(again[0], lists[7][0])
    scores = {tuple(np.round(scores, 5)) for _, scores in lists.values()}
    assert 3 < len(scores) <= 12
    sample = [
        f.users.factors[3] @ f.items.factors.T + f.users.bias[3] + f.items.bias + f.mean
        for f in model.posterior.samples
    ]
    items, best = lists[0]
    assert any(np.allclose(one[items], best, rtol=1e-4) for one in sample)
    seen = set(model.rated[3].indices)
    assert not seen & set(items.tolist())


def test_updated_users_have_samples_of_their_new_ratings(ratings, tmp_path):
    model = WALS(**WORDS).fit_posterior(ratings, samples=6, burn_in=5, keep=6)
    before = width(model.predict(4, 7, interval=0.8))[0]
    model.partial_fit(sp.vstack([ratings[[3]]] * 2, format="csr"), user_ids=[4, 5000])
    assert width(model.predict(4, 7, interval=0.8))[0] < before
    assert len(model.posterior.samples[0].users.bias) == 91
    # Two users of the same ratings are drawn apart.
    one = model.posterior.samples[0].users.factors
    assert not np.array_equal(one[4], one[90])
    model.save(tmp_path / "model")
    read = Model.load(tmp_path / "model")
    for end, other in zip(
        read.predict(5000, 7, interval=0.8), model.predict(5000, 7, interval=0.8), strict=True
    ):
        np.testing.assert_array_equal(end, other)


@pytest.mark.parametrize("interval", [0, 1, 1.5, -0.2, True, "0.8"])
def test_what_is_no_probability_is_refused(model, interval):
    with pytest.raises(ConfigError, match="interval must be a probability between 0 and 1"):
        model.predict(0, 0, interval=interval)


def test_models_without_samples_say_how_to_get_them(ratings):
    plain = WALS(**WORDS, iterations=2).fit(ratings)
    for each in (plain, WALS(**WORDS).fit_posterior(ratings, samples=2, burn_in=1)):
        with pytest.raises(ConfigError, match=r"keeps no samples of a posterior: fit it by fit_posterior"):
            each.predict(0, 0, interval=0.8)
        with pytest.raises(ConfigError, match="keeps no samples"):
            each.recommend(0, explore=1)
