"""The Gibbs sampler: conditional draws by the formula, the law of the whole, seeds, threads and going on."""

from __future__ import annotations

import sys
from dataclasses import replace

import cupy_stand_in
import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.backends import Backend
from toolkit.config import WALSConfig
from toolkit.errors import ConfigError
from toolkit.predictor import Side
from toolkit.solver import (
    PosteriorMean,
    Prior,
    Sampler,
    TrainingData,
    convergence,
    draw_prior,
    half_step,
    observation_weights,
    pattern_weight,
    perturbed,
    solve,
)

CONFIG = WALSConfig(factors=3, pattern_weight=0.7, observed_weight=2.0, weight_exponent=0.4)
# The half-step that is drawn: the mean and the spread of the ratings, their noise, and the draws of each row.
MEAN, SPREAD, NOISE, N_DRAWS = 3.4, 1.3, 0.8, 4000


def random_prior(m, seed):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((m, m))
    return Prior.of(rng.standard_normal(m), root @ root.T + np.eye(m))


def by_formula(row, fixed, pattern, weight, prior):
    """Return the mean and the covariance of a row given the other side, from sums over its ratings."""
    k, columns, ratings = fixed.factors.shape[1], row.indices, row.data
    precision, right = prior.precision.copy(), prior.precision @ prior.mean
    for column, rating, c in zip(columns, ratings, weight, strict=True):
        z = np.append(fixed.factors[column], 1.0)
        precision += c * np.outer(z, z)
        right += c * (rating - MEAN - fixed.bias[column]) * z
        right[:k] += pattern_weight(CONFIG, SPREAD) * pattern[column]
    precision[:k, :k] += pattern_weight(CONFIG, SPREAD) * pattern.T @ pattern
    covariance = NOISE**2 * np.linalg.inv(precision)
    return covariance @ right / NOISE**2, covariance


@pytest.mark.parametrize("by_column", [True, False])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_draws_of_a_row_have_the_mean_and_the_covariance_of_the_formula(backend, by_column, dtype):
    rng = np.random.default_rng(1)
    columns, ratings = np.array([0, 2, 5, 6]), np.array([5.0, 2.0, 3.0, 4.0])
    fixed, pattern = Side(rng.standard_normal((8, 3)), rng.standard_normal(8)), rng.standard_normal((8, 3))
    row = sp.csr_matrix((ratings, (np.zeros(4, int), columns)), shape=(1, 8))
    counts = np.arange(1, 9)
    weight = observation_weights(counts, CONFIG)
    prior = random_prior(4, 2)
    weights = (
        {"column_weight": backend.asarray(weight, dtype)}
        if by_column
        else {"row_weight": backend.asarray(np.full(N_DRAWS, weight[3]), dtype)}
    )
    step = half_step(
        backend.rows(sp.vstack([row] * N_DRAWS, format="csr"), dtype),
        backend.side(fixed, dtype),
        backend=backend,
        config=CONFIG,
        mean=MEAN,
        spread=SPREAD,
        pattern=backend.asarray(pattern, dtype),
        prior=prior,
        **weights,
    )
    drawn = solve(perturbed(step, NOISE, (7,), backend=backend), backend=backend)
    table = np.column_stack([backend.to_numpy(drawn.factors), backend.to_numpy(drawn.bias)])
    own = weight[columns] if by_column else np.full(4, weight[3])
    mean, covariance = by_formula(row, fixed, pattern, own, prior)
    deviation = np.sqrt(np.diag(covariance))
    assert np.all(abs(table.mean(axis=0) - mean) < 4 * deviation / np.sqrt(N_DRAWS))
    scale = np.outer(deviation, deviation)
    np.testing.assert_allclose(np.cov(table.T) / scale, covariance / scale, atol=6 / np.sqrt(N_DRAWS))
    # Without noise it is the mean.
    exact = solve(step, backend=backend)
    found = np.append(*(backend.to_numpy(array[:1]) for array in exact))
    np.testing.assert_allclose(found, mean, rtol=1e-3, atol=1e-3)


def test_a_prior_is_drawn_around_the_moments_of_its_rows():
    rng = np.random.default_rng(0)
    rows = rng.standard_normal((40, 3)) @ np.diag([1.0, 2.0, 0.5]) + [0.3, -1.0, 2.0]
    n, total, squares = len(rows), rows.sum(axis=0), rows.T @ rows
    drawn = [draw_prior(n, total, squares, rng) for _ in range(2000)]
    # Salakhutdinov and Mnih 2008, eq. 14, with W0 = I, ν0 = 3, β0 = 2 and μ0 = 0.
    centred = rows - rows.mean(axis=0)
    centre = rows.mean(axis=0)
    inverse = np.eye(3) + centred.T @ centred + 2 * n / (2 + n) * np.outer(centre, centre)
    precision = (3 + n) * np.linalg.inv(inverse)
    np.testing.assert_allclose(np.mean([p for _, p in drawn], axis=0), precision, rtol=0.05, atol=0.02)
    means = np.array([m for m, _ in drawn])
    np.testing.assert_allclose(means.mean(axis=0), n * centre / (2 + n), atol=0.03)
    # Student's t: the covariance of the mean is that of the inverse Wishart, divided by β.
    covariance = inverse / (3 + n - 3 - 1) / (2 + n)
    np.testing.assert_allclose(np.cov(means.T), covariance, rtol=0.2, atol=0.003)


def sampled(ratings, backend, config=CONFIG, sweeps=4, dtype="float64", **options):
    sampler = Sampler(TrainingData(ratings, backend=backend, dtype=dtype), config, **options)
    for _ in range(sweeps):
        sampler.sweep()
    return sampler


def arrays_of(sampler):
    factors = sampler.factors
    return [sampler.data.backend.to_numpy(a) for a in (*factors.users, *factors.items)]


def test_any_number_of_threads_draws_the_same_bits(backend_name, made_up_ratings):
    ratings = made_up_ratings(900, 300, density=0.1)
    one, two = (sampled(ratings, Backend.require(backend_name, threads)) for threads in (1, 2))
    assert one.noise == two.noise
    for a, b in zip(arrays_of(one), arrays_of(two), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_gpu_samples_by_its_own_generator(monkeypatch, made_up_ratings):
    cupy_stand_in.install(monkeypatch)
    device = sys.modules["cupy"].ndarray
    ratings = made_up_ratings(60, 40, empty_users=(3,))
    sampler = sampled(ratings, Backend.require("cupy"), sweeps=6)
    mean = PosteriorMean(sampler)
    mean.add()
    for array in (*sampler.factors.users, *sampler.factors.items, sampler.factors.item_pattern):
        assert isinstance(array, device)
    assert type(mean.factors().users.factors) is type(sampler.kept().users.factors) is np.ndarray
    again = sampled(ratings, Backend.require("cupy"), sweeps=6)
    for a, b in zip(arrays_of(sampler), arrays_of(again), strict=True):
        np.testing.assert_array_equal(a, b)
    assert 0.2 < sampler.noise < 1.2


@pytest.mark.parametrize("bias", ["full", "none"])
def test_the_mean_of_draws_that_predict_the_same_predicts_so_however_they_lie(made_up_ratings, bias):
    ratings = made_up_ratings(60, 40, empty_users=(3,), empty_items=(2,))
    backend = Backend.require("numpy", 1)
    sampler = Sampler(TrainingData(ratings, backend=backend, dtype="float64"), CONFIG.replace(bias=bias))
    for _ in range(4):
        sampler.sweep()
    draw, mean = sampler.factors, PosteriorMean(sampler)
    expected = predictions(draw)
    rng = np.random.default_rng(0)
    for at in range(5):
        mean.add()
        np.testing.assert_allclose(predictions(mean.factors()), expected, atol=1e-9)
        # Stretched differently in each direction, turned, and shifted from factors to biases.
        stretch, shift = rng.standard_normal((3, 3)) * np.array([5.0, 1.0, 0.2]), rng.standard_normal(3)
        if bias == "none" or at < 2:
            shift = np.zeros(3)
        x, y = draw.users.factors - shift, draw.items.factors
        sampler.factors = replace(
            draw,
            users=Side(x @ stretch, draw.users.bias),
            items=Side(y @ np.linalg.inv(stretch).T, draw.items.bias + y @ shift),
        )


@pytest.mark.parametrize("bias", ["full", "none"])
def test_folding_in_beside_the_mean_of_one_draw_predicts_as_beside_the_draw(made_up_ratings, bias):
    ratings, backend = made_up_ratings(60, 40), Backend.require("numpy", 1)
    data = TrainingData(ratings, backend=backend, dtype="float64")
    sampler = Sampler(data, CONFIG.replace(bias=bias))
    for _ in range(4):
        sampler.sweep()
    mean = PosteriorMean(sampler)
    mean.add()

    def folded(factors):
        step = half_step(
            backend.rows(ratings[:10], "float64"),
            factors.items,
            backend=backend,
            config=factors.config,
            mean=factors.mean,
            spread=factors.spread,
            column_weight=observation_weights(data.item_counts, factors.config),
            pattern=factors.item_pattern,
            prior=factors.user_prior,
        )
        return predictions(replace(factors, users=solve(step, backend=backend)))

    np.testing.assert_allclose(folded(mean.factors()), folded(sampler.factors), atol=1e-8)


def predictions(factors):
    """Return the prediction of every pair, not clipped."""
    (x, b), (y, c) = factors.users, factors.items
    return factors.mean + b[:, None] + c[None, :] + x @ y.T


def test_seeds_and_chains_draw_different_numbers(backend, made_up_ratings):
    ratings = made_up_ratings(30, 20)
    found = {
        float(arrays_of(sampled(ratings, backend, seed=seed, chain=chain))[0][0, 0])
        for seed, chain in ((0, 0), (0, 1), (1, 0), (1, 1))
    }
    assert len(found) == 4


def test_a_restored_chain_goes_on_to_the_same_bits(backend, made_up_ratings):
    ratings = made_up_ratings(30, 20, empty_users=(3,), empty_items=(2,))
    through = sampled(ratings, backend, sweeps=5)
    state = sampled(ratings, backend, sweeps=2).host_state()
    again = sampled(ratings, backend, sweeps=0)
    again.restore(state)
    for _ in range(3):
        again.sweep()
    assert (again.sweeps, again.noise) == (through.sweeps, through.noise)
    for a, b in zip(arrays_of(again), arrays_of(through), strict=True):
        np.testing.assert_array_equal(a, b)
    for a, b in zip(again.kept().users, through.kept().users, strict=True):
        np.testing.assert_array_equal(a, b)


def test_ratings_in_another_unit_give_the_same_draws_in_it(backend, made_up_ratings):
    ratings = made_up_ratings(30, 20)
    other = sp.csr_matrix((10 * ratings.data - 4, ratings.indices, ratings.indptr), shape=ratings.shape)
    one, ten = (sampled(each, backend) for each in (ratings, other))
    assert ten.noise == pytest.approx(10 * one.noise)
    for scale, a, b in zip((10**0.5, 10, 10**0.5, 10), arrays_of(one), arrays_of(ten), strict=True):
        np.testing.assert_allclose(b, scale * a, rtol=1e-6, atol=1e-9)


def test_rows_without_ratings_are_the_mean_of_the_prior_and_drawn_where_a_sample_is_kept(
    backend, made_up_ratings
):
    sampler = sampled(made_up_ratings(30, 20, empty_users=(3, 9)), backend)
    users, prior = sampler.factors.users, sampler.factors.user_prior
    np.testing.assert_allclose(backend.to_numpy(users.factors[3]), prior.mean[:3])
    np.testing.assert_allclose(float(users.bias[9]), prior.mean[3])
    kept = sampler.kept()
    assert not np.array_equal(kept.users.factors[3], kept.users.factors[9])
    np.testing.assert_array_equal(kept.users.factors[4], backend.to_numpy(users.factors[4]))


def test_single_precision_samples_as_double_precision_does(made_up_ratings):
    pytest.importorskip("numba")
    ratings, backend = made_up_ratings(120, 60, density=0.3), Backend.require("numba", threads=1)

    def mean(**options):
        sampler = sampled(ratings, backend, CONFIG.replace(pattern_weight=0.0), sweeps=15, **options)
        total = noise = 0.0
        for _ in range(60):
            sampler.sweep()
            f = sampler.factors
            total = total + f.users.factors @ f.items.factors.T + f.users.bias[:, None] + f.items.bias
            noise += sampler.noise
        return total / 60, noise / 60

    (double, noise), (other, _), (single, single_noise) = mean(), mean(seed=1), mean(dtype="float32")
    assert single_noise == pytest.approx(noise, rel=0.02)
    # The means of two chains differ by chance, and by no more in single precision.
    assert np.sqrt(np.mean((single - double) ** 2)) < 1.3 * np.sqrt(np.mean((other - double) ** 2))


@pytest.mark.parametrize(
    "changes",
    [
        {"factors": 0},
        {"bias": "none"},
        {"bias": "mean"},
        {"scale": "none"},
        {"pattern_weight": 0.0},
        {"weight_exponent": 0.0},
    ],
    ids=str,
)
def test_every_kind_of_model_can_be_sampled(backend, changes, made_up_ratings):
    sampler = sampled(made_up_ratings(60, 40), backend, CONFIG.replace(**changes), sweeps=15)
    assert 0.15 < sampler.noise < 1.5
    assert sampler.fit_rmse < 1.1


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"unobserved_weight": 0.1}, "unobserved_weight"),
        ({"unobserved_weight": 0.1, "observed_weight": 0.0}, "observed_weight"),
        ({"factors": 0, "bias": "mean"}, "factors"),
    ],
)
def test_what_has_no_posterior_is_refused(changes, word, made_up_ratings):
    data = TrainingData(made_up_ratings(), backend=Backend(threads=1))
    with pytest.raises(ConfigError, match=f"a posterior cannot be sampled: .*{word} must be"):
        Sampler(data, CONFIG.replace(**changes))


def test_a_state_of_other_sizes_is_refused(made_up_ratings):
    backend = Backend(threads=1)
    state = sampled(made_up_ratings(), backend, sweeps=1).host_state()
    with pytest.raises(ConfigError, match="cannot continue"):
        sampled(made_up_ratings(16, 11), backend, sweeps=0).restore(state)


def test_convergence_of_known_series():
    rng = np.random.default_rng(0)
    independent = rng.standard_normal((4, 500, 3))
    r_hat, effective = convergence(independent)
    np.testing.assert_allclose(r_hat, 1, atol=0.02)
    np.testing.assert_allclose(effective, 2000, rtol=0.25)
    # An autoregression with coefficient 0.9 has (1 + 0.9) / (1 − 0.9) = 19 draws for each independent one.
    slow = np.zeros((4, 4000, 3))
    for at in range(1, 4000):
        slow[:, at] = 0.9 * slow[:, at - 1] + rng.standard_normal((4, 3))
    np.testing.assert_allclose(convergence(slow)[1], 16000 / 19, rtol=0.3)
    # One chain is elsewhere, and one quantity never moves.
    independent[0, :, 0] += 3
    independent[:, :, 1] = 1
    r_hat, _ = convergence(independent)
    assert r_hat[0] > 1.3
    assert r_hat[1] == 1
    assert np.isnan(convergence(independent[:, :3])).all()


@pytest.mark.slow
def test_ranks_of_what_made_the_ratings_are_uniform_among_the_draws():
    """S. Talts et al., "Validating Bayesian inference algorithms with simulation-based calibration", 2018."""
    config = WALSConfig(factors=2, bias="none", scale="none", pattern_weight=0.0, clip="none")
    backend, rng, n_draws, ranks = Backend(threads=1), np.random.default_rng(0), 19, []
    observed = np.array([[1, 1, 0, 1, 1], [1, 0, 1, 1, 0], [0, 1, 1, 1, 1], [1, 1, 1, 0, 1], [1, 1, 1, 1, 0]])
    rows, columns = np.nonzero(observed)
    for _ in range(120):
        sides = []
        for n in observed.shape:
            mean, precision = draw_prior(0, np.zeros(2), np.zeros((2, 2)), rng)
            sides.append(rng.multivariate_normal(mean, np.linalg.inv(precision), n))
        noise = rng.gamma(1.0) ** -0.5
        truth = sides[0] @ sides[1].T
        ratings = truth[rows, columns] + noise * rng.standard_normal(len(rows))
        matrix = sp.csr_matrix((ratings, (rows, columns)), shape=observed.shape)
        sampler = sampled(matrix, backend, config, sweeps=40, seed=int(rng.integers(1 << 30)))
        draws = []
        for _ in range(n_draws):
            for _ in range(5):
                sampler.sweep()
            predicted = sampler.factors.users.factors @ sampler.factors.items.factors.T
            draws.append([sampler.noise, predicted[0, 0], predicted[0, 2], np.square(predicted).sum()])
        wanted = [noise, truth[0, 0], truth[0, 2], np.square(truth).sum()]
        ranks.append((np.array(draws) < wanted).sum(axis=0))
    for of_one in np.array(ranks).T:
        counts = np.bincount(of_one // 4, minlength=5)
        # χ² with four degrees of freedom exceeds 18.5 once in a thousand times.
        assert ((counts - 24) ** 2 / 24).sum() < 18.5, counts
