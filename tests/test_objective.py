"""The objective against the sum over all pairs, and the promises that alternating makes about it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import oracle
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_models import PLAIN

from toolkit.config import WALSConfig
from toolkit.evaluation import rmse
from toolkit.predictor import Side, predict_pairs
from toolkit.solver import Trainer, TrainingData, objective, observation_weights

# Regularization from 1e-3: far below, rows with fewer ratings than factors are so ill-conditioned that
# rounding alone moves the objective. `test_unsolvable.py` has tests of that end.
CONFIGS = st.builds(
    WALSConfig,
    factors=st.integers(1, 6),
    iterations=st.just(3),
    regularization=st.floats(1e-3, 20),
    regularization_exponent=st.floats(0, 2),
    unobserved_weight=st.one_of(st.just(0.0), st.floats(1e-4, 3)),
    observed_weight=st.floats(0.01, 50),
    weight_exponent=st.floats(0, 2),
    pattern_weight=st.one_of(st.just(0.0), st.floats(1e-3, 3)),
    regularization_offset=st.one_of(st.just(0.0), st.floats(0.1, 100)),
    bias_regularization=st.one_of(st.none(), st.floats(1e-3, 20)),
    scale=st.sampled_from(["none", "standard"]),
    bias=st.sampled_from(["none", "mean", "full"]),
)
MATRICES = st.fixed_dictionaries(
    {
        "n_users": st.integers(2, 9),
        "n_items": st.integers(2, 9),
        "density": st.floats(0.05, 1),
        "noise": st.floats(0, 2),
        "empty_users": st.sampled_from([(), (0,)]),
        "empty_items": st.sampled_from([(), (1,)]),
        "seed": st.integers(0, 10_000),
    }
)


def random_state(trainer, seed=0):
    """Move a trainer to random factors and biases of everything, rows without ratings too."""
    rng = np.random.default_rng(seed)
    full, k = trainer.config.bias == "full", trainer.config.factors
    users, items = (
        Side(rng.standard_normal((n, k)), full * rng.standard_normal(n))
        for n in (trainer.data.n_users, trainer.data.n_items)
    )
    host = trainer.host_factors()
    trainer.restore(replace(host, users=users, items=items))
    if trainer.config.pattern_weight:
        patterns = (rng.standard_normal((n, k)) for n in (trainer.data.n_items, trainer.data.n_users))
        item_pattern, user_pattern = map(trainer.data.backend.asarray, patterns)
        trainer.factors = replace(trainer.factors, item_pattern=item_pattern, user_pattern=user_pattern)


@given(config=CONFIGS, matrix=MATRICES)
def test_objective_equals_the_sum_over_all_pairs(backend, made_up_ratings, config, matrix):
    ratings = made_up_ratings(**matrix)
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype="float64"), config)
    random_state(trainer, matrix["seed"])
    expected = oracle.objective(
        oracle.Problem.from_sparse(ratings), oracle.State.of(trainer.host_factors()), config
    )
    assert objective(trainer.factors, trainer.data) == pytest.approx(expected, rel=1e-10)


def test_objective_of_float32_factors(backend, made_up_ratings):
    ratings = made_up_ratings(empty_users=(3,), empty_items=(0,))
    config = WALSConfig(factors=3, unobserved_weight=0.2, weight_exponent=0.5)
    trainer = Trainer(TrainingData(ratings, backend=backend), config)
    trainer.step()
    expected = oracle.objective(
        oracle.Problem.from_sparse(ratings), oracle.State.of(trainer.host_factors()), config
    )
    assert objective(trainer.factors, trainer.data) == pytest.approx(expected, rel=1e-5)


@given(config=CONFIGS, matrix=MATRICES)
def test_objective_never_rises_over_half_steps(backend, made_up_ratings, config, matrix):
    data = TrainingData(made_up_ratings(**matrix), backend=backend, dtype="float64")
    trainer = Trainer(data, config, seed=matrix["seed"])
    before = objective(trainer.factors, data)
    for half_step in (trainer.solve_items, trainer.solve_users) * 4:
        half_step()
        after = objective(trainer.factors, data)
        assert after <= before * (1 + 1e-10) + 1e-12
        before = after


@given(config=CONFIGS, matrix=MATRICES)
def test_gradient_is_zero_after_every_half_step(backend, made_up_ratings, config, matrix):
    ratings = made_up_ratings(**matrix)
    problem = oracle.Problem.from_sparse(ratings)
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype="float64"), config, seed=matrix["seed"])

    def size(*gradients):
        return max(float(np.abs(g).max()) for g in gradients)

    for _ in range(2):
        random_x, random_y, user_bias, item_bias = oracle.gradient(
            problem, oracle.State.of(trainer.host_factors()), config
        )
        scale = 1 + size(random_x, random_y, user_bias, item_bias)
        trainer.solve_items()
        _, by_y, _, by_item_bias = oracle.gradient(problem, oracle.State.of(trainer.host_factors()), config)
        assert size(by_y, by_item_bias) <= 1e-9 * scale
        trainer.solve_users()
        by_x, _, by_user_bias, _ = oracle.gradient(problem, oracle.State.of(trainer.host_factors()), config)
        assert size(by_x, by_user_bias) <= 1e-9 * scale


@pytest.mark.parametrize("bias", ["none", "mean", "full"])
def test_the_gradient_of_the_oracle_is_the_derivative_of_its_objective(made_up_ratings, bias):
    # The oracle is the judge of everything else, so it is judged by central differences.
    ratings = made_up_ratings(6, 5, empty_users=(2,), empty_items=(4,))
    problem = oracle.Problem.from_sparse(ratings)
    config = WALSConfig(
        factors=2,
        bias=bias,
        unobserved_weight=0.3,
        weight_exponent=0.7,
        regularization_exponent=0.6,
        pattern_weight=0.4,
    )
    rng = np.random.default_rng(1)
    biases = [(bias == "full") * rng.standard_normal(n) for n in problem.observed.shape]
    arrays = [rng.standard_normal((6, 2)), rng.standard_normal((5, 2)), *biases]
    constants = {
        "mean": 3.0,
        "user_pattern": rng.standard_normal((6, 2)),
        "item_pattern": rng.standard_normal((5, 2)),
    }
    gradients = oracle.gradient(problem, oracle.State(*arrays, **constants), config)
    step = 1e-5
    for which, gradient in enumerate(gradients[: 4 if bias == "full" else 2]):
        for place in np.ndindex(gradient.shape):
            around = []
            for sign in (-1, 1):
                moved = [a.copy() for a in arrays]
                moved[which][place] += sign * step
                around.append(oracle.objective(problem, oracle.State(*moved, **constants), config))
            assert (around[1] - around[0]) / (2 * step) == pytest.approx(gradient[place], abs=1e-6)


@pytest.mark.parametrize(("bias", "dtype", "limit"), [("none", "float64", 1e-6), ("full", "float32", 1e-3)])
def test_noise_free_low_rank_ratings_are_fitted_to_zero_error(backend, made_up_ratings, bias, dtype, limit):
    # Rank 2 and two rank-one bias terms: rank 4 without biases.
    ratings = made_up_ratings(40, 30, rank=2, noise=0, density=0.7)
    config = PLAIN.replace(
        factors=4, iterations=100, bias=bias, regularization=1e-8 if dtype == "float64" else 1e-5
    )
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype=dtype), config)
    for _ in range(config.iterations):
        trainer.step()
    assert trainer.train_rmse() < limit


def test_item_weights_are_the_formula():
    config = WALSConfig(observed_weight=3.0, weight_exponent=0.5)
    weights = observation_weights(np.array([1, 4, 0, 100]), config)
    assert weights.dtype == np.float64
    np.testing.assert_allclose(weights, [3.0, 1.5, 3.0, 0.3], rtol=1e-15)


@pytest.mark.parametrize("chunk", [1, 7, 1000])
def test_predictions_and_rmse_do_not_depend_on_the_chunk(backend, made_up_ratings, monkeypatch, chunk):
    monkeypatch.setattr("toolkit.predictor._CHUNK", chunk)
    monkeypatch.setattr("toolkit.backends.base._PAIRS", chunk)
    ratings = made_up_ratings()
    problem = oracle.Problem.from_sparse(ratings)
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype="float64"), WALSConfig(factors=3))
    trainer.step()
    state = oracle.State.of(trainer.host_factors())
    users, items = (backend.asarray(a) for a in np.nonzero(np.ones(ratings.shape)))
    predicted = backend.to_numpy(predict_pairs(trainer.factors, users, items, backend.xp))
    np.testing.assert_allclose(predicted.reshape(ratings.shape), oracle.predictions(state), rtol=1e-12)
    assert trainer.train_rmse() == pytest.approx(oracle.rmse(problem, state), rel=1e-12)


def test_rmse_of_no_pairs_is_none_and_of_one_pair_its_error(backend, made_up_ratings):
    trainer = Trainer(TrainingData(made_up_ratings(), backend=backend), WALSConfig(factors=3))
    none, index = backend.asarray([], "float32"), backend.asarray([], "int32")
    assert rmse(trainer.factors, index, index, none, backend) is None
    one = backend.asarray([0], "int32")
    predicted = float(predict_pairs(trainer.factors, one, one, backend.xp)[0])
    error = rmse(trainer.factors, one, one, backend.asarray([predicted + 2], "float32"), backend)
    assert math.isclose(error, 2, rel_tol=1e-6)
