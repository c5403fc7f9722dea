"""`WALS.fit_posterior`: a model of the mean factors, what is known of it, and going on from a checkpoint."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit import WALS, Backend, WALSConfig
from toolkit.errors import ConfigError, ModelError, SolverError
from toolkit.models import Model
from toolkit.solver import PosteriorMean, Sampler, TrainingData

WORDS = {"factors": 3, "pattern_weight": 1.0, "backend": "numba", "threads": 1, "seed": 3}
PLAN = {"samples": 12, "burn_in": 6, "keep": 3}


@pytest.fixture(scope="module")
def ratings(made_up_ratings):
    return made_up_ratings(40, 25, density=0.5, empty_users=(5,))


@pytest.fixture(scope="module")
def valid(ratings):
    unrated = np.argwhere(ratings.toarray() == 0)[::7]
    values = np.random.default_rng(0).integers(2, 6, len(unrated)).astype(float)
    return sp.csr_matrix((values, unrated.T), shape=ratings.shape)


@pytest.fixture(scope="module")
def model(ratings, valid):
    return WALS(**WORDS).fit_posterior(ratings, valid=valid, chains=2, **PLAN)


def arrays_of(model):
    factors = model.factors
    return [*factors.users, *factors.items, factors.item_pattern]


def assert_same(one, other):
    for a, b in zip(arrays_of(one), arrays_of(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.posterior.facts == other.posterior.facts
    assert one.posterior.noises == other.posterior.noises
    for a, b in zip(one.posterior.samples, other.posterior.samples, strict=True):
        np.testing.assert_array_equal(a.users.factors, b.users.factors)
        np.testing.assert_array_equal(a.item_prior.precision, b.item_prior.precision)


def without_seconds(history):
    return [{name: value for name, value in each.items() if name != "seconds"} for each in history]


def test_the_model_is_the_mean_of_the_first_chain_and_knows_how_it_was_sampled(model, ratings, valid):
    facts = model.posterior.facts
    assert (facts["samples"], facts["burn_in"], facts["chains"]) == (12, 6, 2)
    assert [each["chain"] for each in model.history] == [0] * 18 + [1] * 18
    assert [each["burn_in"] for each in model.history[:18]] == [True] * 6 + [False] * 12
    assert facts["mean_factors_rmse"] == pytest.approx(model.rmse(valid), rel=1e-5)
    assert facts["valid_rmse"] == pytest.approx(facts["mean_factors_rmse"], rel=0.1)
    assert facts["noise"] == model.posterior.noise
    assert 0.8 < facts["r_hat"] < 2
    assert 1 < facts["effective_samples"] <= 24
    assert list(facts["coverage"]) == ["0.5", "0.8", "0.9", "0.95"]
    deviations = [decile["deviation"] for decile in facts["deciles"]]
    assert deviations == sorted(deviations)
    assert len(deviations) == 10
    assert len(model.posterior.samples) == 3
    alone = WALS(**WORDS).fit_posterior(ratings, valid=valid, **PLAN)
    for a, b in zip(arrays_of(alone), arrays_of(model), strict=True):
        np.testing.assert_array_equal(a, b)


def test_fitting_again_forgets_the_posterior(ratings):
    model = WALS(**WORDS).fit_posterior(ratings, samples=2, burn_in=1)
    assert model.posterior.facts["coverage"] is None
    assert model.posterior.facts["r_hat"] is None
    assert model.fit(ratings).posterior is None


@pytest.mark.parametrize("stopped_after", [14, 36])
def test_a_killed_sampling_goes_on_to_the_same_numbers(model, ratings, valid, tmp_path, stopped_after):
    path = tmp_path / "checkpoint"
    seen = []

    def stop(progress):
        seen.append(progress)
        if len(seen) == stopped_after:
            raise KeyboardInterrupt

    def run(**options):
        words = {"valid": valid, "chains": 2, "checkpoint": path, **PLAN, **options}
        return WALS(**WORDS).fit_posterior(ratings, **words)

    with pytest.raises(KeyboardInterrupt):
        run(on_sample=stop)
    again = run(on_sample=seen.append)
    assert len(seen) <= 36 + 10
    assert_same(again, model)
    assert without_seconds(again.history) == without_seconds(model.history)


def test_a_checkpoint_of_another_sampling_is_refused(ratings, tmp_path):
    path = tmp_path / "checkpoint"
    plan = {"samples": 9, "burn_in": 1, "checkpoint": path}
    WALS(**WORDS).fit_posterior(ratings, **plan)
    with pytest.raises(ConfigError, match=r"of a sampling of another config, ratings: go on with the same"):
        WALS(**{**WORDS, "factors": 2}).fit_posterior(ratings[:30], **plan)
    (path / "arrays.npz").write_bytes(b"no archive")
    with pytest.raises(ModelError, match="no checkpoint"):
        WALS(**WORDS).fit_posterior(ratings, **plan)


def test_patience_ends_the_chains_early(ratings, valid):
    model = WALS(**WORDS).fit_posterior(ratings, valid=valid, samples=500, burn_in=2, chains=2, patience=3)
    n = model.posterior.facts["samples"]
    assert n < 500
    assert len(model.history) == 2 * (2 + n)
    with pytest.raises(ConfigError):
        WALS(**WORDS).fit_posterior(ratings, patience=3)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"samples": 0}, "samples must be at least 1"),
        ({"burn_in": 0}, "burn_in must be at least 1"),
        ({"keep": 13}, "keep must be at most 12, not 13"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(ratings, changes, text):
    with pytest.raises(ConfigError, match=text):
        WALS(**WORDS).fit_posterior(ratings, **{**PLAN, **changes})


def test_a_saved_posterior_is_read_as_it_was(model, tmp_path):
    model.save(tmp_path / "model")
    read = Model.load(tmp_path / "model")
    assert_same(read, model)
    assert read.posterior.noise == model.posterior.noise
    np.testing.assert_array_equal(read.fold_in(model.rated).factors, model.fold_in(model.rated).factors)


def test_a_model_without_samples_is_saved_as_any_other(ratings, tmp_path):
    plain = WALS(**WORDS).fit(ratings)
    plain.save(tmp_path / "plain")
    WALS(**WORDS).fit_posterior(ratings, samples=2, burn_in=1).save(tmp_path / "posterior")
    names = [sorted(file.name for file in (tmp_path / name).iterdir()) for name in ("plain", "posterior")]
    assert set(names[1]) - set(names[0]) == {"user_prior.npy", "item_prior.npy"}


def test_folding_in_predicts_about_what_the_sampled_rows_do(made_up_ratings):
    ratings = made_up_ratings(100, 50, density=0.4)
    model = WALS(factors=3, threads=1, pattern_weight=0.3).fit_posterior(ratings, samples=40, burn_in=15)
    items, own, folded = model.factors.items, model.factors.users, model.fold_in(ratings)

    def predicted(users):
        return users.factors @ items.factors.T + users.bias[:, None] + items.bias

    gap = predicted(folded) - predicted(own)
    assert np.sqrt(np.mean(gap**2)) < 0.15 * predicted(own).std()
    by_item = model.fold_in_items(ratings.T.tocsr())
    again = own.factors @ by_item.factors.T + own.bias[:, None] + by_item.bias
    assert np.sqrt(np.mean((again - predicted(own)) ** 2)) < 0.15 * predicted(own).std()


def test_however_many_samples_the_mean_factors_predict_as_the_samples_do(made_up_ratings):
    ratings = made_up_ratings(60, 40, density=0.4)
    data = TrainingData(ratings, backend=Backend.require("numba", 1))
    sampler = Sampler(data, WALSConfig(factors=6, pattern_weight=0.3))
    total, mean = 0.0, PosteriorMean(sampler)
    for sweep in range(140):
        sampler.sweep()
        if sweep >= 20:
            mean.add()
            f = sampler.factors
            total = total + f.users.factors @ f.items.factors.T + f.users.bias[:, None] + f.items.bias
    f = mean.factors()
    own = f.users.factors @ f.items.factors.T + f.users.bias[:, None] + f.items.bias
    # Without turns and shifts it is about 0.13.
    assert np.sqrt(np.mean((own - total / 120) ** 2)) < 0.07 * own.std()


@pytest.mark.parametrize("shape", [(1, 2), (2, 1)])
def test_ratings_beyond_all_measure_are_refused(shape):
    ratings = sp.csr_matrix(np.array([1e12, 2e12]).reshape(shape))
    with pytest.raises(SolverError, match=r"have no covariance .* scale=standard"):
        WALS(factors=1, iterations=3, scale="none").fit_posterior(ratings, samples=3, keep=2)


def test_a_user_without_ratings_is_the_mean_of_the_prior(model):
    nobody = sp.csr_matrix((1, 25))
    side, prior = model.fold_in(nobody), model.factors.user_prior
    np.testing.assert_allclose(np.append(side.factors[0], side.bias[0]), prior.mean, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(side.factors[0], model.factors.users.factors[5], rtol=1e-4, atol=1e-5)
    explained = model.explain_ratings(nobody, 4)
    items = model.factors.items
    wanted = side.factors[0] @ items.factors[4] + side.bias[0] + items.bias[4] + model.factors.mean
    assert explained.score == explained.base == pytest.approx(wanted, rel=1e-5)


def test_an_explanation_adds_up_to_what_fold_in_predicts(model, ratings):
    one = ratings[[7]]
    side, items = model.fold_in(one, backend=Backend(threads=1)), model.factors.items
    wanted = side.factors[0] @ items.factors[2] + side.bias[0] + items.bias[2] + model.factors.mean
    explained = model.explain_ratings(one, 2)
    assert explained.score == pytest.approx(wanted, rel=1e-4)
    assert explained.score == pytest.approx(explained.base + explained.contributions.sum())


def test_users_are_updated_as_they_are_folded_in(ratings):
    model = WALS(**WORDS).fit_posterior(ratings, samples=4, burn_in=2)
    new = ratings[[8]]
    wanted = model.fold_in(new)
    model.partial_fit(new, user_ids=[1000])
    np.testing.assert_array_equal(model.factors.users.factors[40], wanted.factors[0])


@pytest.mark.parametrize(
    ("n_users", "n_items", "bias"),
    [(1, 10, "full"), (10, 1, "none"), (1, 1, "full"), (2, 3, "none"), (2, 3, "full")],
)
def test_a_side_of_one_or_of_fewer_rows_than_factors_has_a_mean(n_users, n_items, bias):
    ratings = np.random.default_rng(0).integers(1, 6, (n_users, n_items)).astype("float32")
    model = WALS(WALSConfig(factors=8, bias=bias))
    model.fit_posterior(sp.csr_matrix(ratings), samples=12, burn_in=3)
    assert np.isfinite(model.user_factors).all()
    assert np.abs(model.item_factors).max() < 100
