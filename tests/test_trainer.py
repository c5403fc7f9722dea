"""Training step by step: order, state in and out, seeds, permutations, and the quality on MovieLens."""

from __future__ import annotations

import numpy as np
import oracle
import pytest
import scipy.sparse as sp
from small_models import PLAIN

from toolkit.backends import Backend
from toolkit.config import PRESETS, WALSConfig
from toolkit.evaluation import rmse
from toolkit.predictor import Side
from toolkit.solver import Factors, Trainer, TrainingData

CONFIG = WALSConfig(
    factors=3, iterations=5, unobserved_weight=0.1, weight_exponent=0.5, regularization_exponent=0.7
)


def new_trainer(ratings, backend, config=CONFIG, dtype="float64", seed=0):
    return Trainer(TrainingData(ratings, backend=backend, dtype=dtype), config, seed=seed)


def after(trainer, iterations):
    for _ in range(iterations):
        trainer.step()
    return trainer.host_factors()


def assert_same_bits(first, second):
    assert (first.mean, first.config, first.iterations) == (second.mean, second.config, second.iterations)
    for a, b in zip((*first.users, *first.items), (*second.users, *second.items), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_step_solves_the_items_and_then_the_users(backend, made_up_ratings):
    ratings = made_up_ratings()
    trainer, by_halves = new_trainer(ratings, backend), new_trainer(ratings, backend)
    start = by_halves.host_factors()
    by_halves.solve_items()
    np.testing.assert_array_equal(by_halves.host_factors().users.factors, start.users.factors)
    items = by_halves.host_factors().items
    by_halves.solve_users()
    np.testing.assert_array_equal(by_halves.host_factors().items.factors, items.factors)
    trainer.step()
    assert trainer.iterations == 1
    for side in ("users", "items"):
        for a, b in zip(
            getattr(trainer.host_factors(), side), getattr(by_halves.host_factors(), side), strict=True
        ):
            np.testing.assert_array_equal(a, b)


def test_the_start_has_random_users_of_length_one_and_no_items(backend):
    ratings = sp.csr_matrix(np.ones((2000, 3)))
    trainer = new_trainer(ratings, backend, WALSConfig(factors=16))
    start = trainer.host_factors()
    assert start.iterations == 0
    assert np.mean(np.sum(start.users.factors**2, axis=1)) == pytest.approx(1, abs=0.05)
    assert not start.items.factors.any()
    assert not start.users.bias.any()


@pytest.mark.parametrize("bias", ["none", "mean", "full"])
@pytest.mark.parametrize("scale", ["none", "standard"])
def test_the_mean_and_the_spread_are_those_of_the_ratings_or_left_out(backend, made_up_ratings, bias, scale):
    ratings = made_up_ratings()
    factors = after(new_trainer(ratings, backend, CONFIG.replace(bias=bias, scale=scale)), 1)
    assert factors.mean == pytest.approx(0.0 if bias == scale == "none" else ratings.data.mean())
    assert factors.spread == pytest.approx(1.0 if scale == "none" else ratings.data.std())
    assert bool(factors.users.bias.any()) is bool(factors.items.bias.any()) is (bias == "full")


def test_the_mean_is_summed_in_double_precision(backend):
    # A running float32 sum of 20 million ratings stops growing at 2²⁴.
    ratings = sp.csr_matrix(np.full((300, 1000), 16777.0, np.float32))
    assert TrainingData(ratings, backend=backend).mean == 16777.0


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_same_seed_same_bits_and_another_seed_others(backend, made_up_ratings, dtype):
    ratings = made_up_ratings()
    first, again, other = (after(new_trainer(ratings, backend, dtype=dtype, seed=s), 3) for s in (7, 7, 8))
    assert_same_bits(first, again)
    assert np.abs(first.users.factors - other.users.factors).max() > 1e-3


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_restored_state_continues_bit_for_bit(backend, made_up_ratings, dtype):
    ratings = made_up_ratings(empty_users=(1,), empty_items=(2,))
    straight = after(new_trainer(ratings, backend, dtype=dtype), 5)
    state = after(new_trainer(ratings, backend, dtype=dtype), 2)
    # Another seed: nothing of the new trainer's own start may be left.
    resumed = new_trainer(ratings, backend, dtype=dtype, seed=99)
    resumed.restore(state)
    assert resumed.iterations == 2
    assert_same_bits(after(resumed, 3), straight)


@pytest.mark.parametrize(("done", "dtype"), [(1, "float64"), (2, "float32"), (4, "float64")])
def test_restored_momentum_continues_bit_for_bit(backend, made_up_ratings, dtype, done):
    ratings = made_up_ratings(empty_users=(1,), empty_items=(2,))
    config = CONFIG.replace(momentum=0.4, pattern_weight=0.5)
    straight = after(new_trainer(ratings, backend, config, dtype=dtype), 7)
    interrupted = new_trainer(ratings, backend, config, dtype=dtype)
    state = after(interrupted, done)
    resumed = new_trainer(ratings, backend, config, dtype=dtype, seed=99)
    resumed.restore(state, interrupted.host_users_before())
    assert_same_bits(after(resumed, 7 - done), straight)


def test_state_survives_files(backend, made_up_ratings, tmp_path):
    ratings = made_up_ratings()
    state = after(new_trainer(ratings, backend), 2)
    state.save(tmp_path)
    assert_same_bits(Factors.load(tmp_path), state)
    resumed = new_trainer(ratings, backend, seed=99)
    resumed.restore(Factors.load(tmp_path))
    assert_same_bits(after(resumed, 3), after(new_trainer(ratings, backend), 5))


def test_state_taken_out_does_not_change_when_training_goes_on(backend, made_up_ratings):
    trainer = new_trainer(made_up_ratings(), backend)
    state = after(trainer, 1)
    copies = [np.array(a) for a in (*state.users, *state.items)]
    after(trainer, 2)
    for a, b in zip((*state.users, *state.items), copies, strict=True):
        np.testing.assert_array_equal(a, b)


def test_trainers_share_one_training_data(backend, made_up_ratings):
    ratings = made_up_ratings()
    data = TrainingData(ratings, backend=backend, dtype="float64")
    other = CONFIG.replace(factors=5, bias="none", weight_exponent=0)
    first, second = Trainer(data, CONFIG), Trainer(data, other)
    for _ in range(3):
        first.step()
        second.step()
    assert_same_bits(first.host_factors(), after(new_trainer(ratings, backend), 3))
    assert_same_bits(second.host_factors(), after(new_trainer(ratings, backend, other), 3))


@pytest.mark.parametrize("bias", ["none", "mean", "full"])
def test_permuted_users_and_items_give_permuted_factors(backend, made_up_ratings, bias):
    ratings = made_up_ratings(20, 14, empty_users=(3,), empty_items=(5,))
    config = CONFIG.replace(bias=bias)
    plain = new_trainer(ratings, backend, config)
    start = plain.host_factors()
    rng = np.random.default_rng(3)
    users, items = rng.permutation(20), rng.permutation(14)
    permuted = new_trainer(sp.csr_matrix(ratings[users][:, items]), backend, config)
    permuted.restore(
        Factors(Side(start.users.factors[users], start.users.bias[users]), start.items, start.mean, config, 0)
    )
    expected, actual = after(plain, 4), after(permuted, 4)
    for a, b, order in ((actual.users, expected.users, users), (actual.items, expected.items, items)):
        np.testing.assert_allclose(a.factors, b.factors[order], rtol=1e-9, atol=1e-10)
        np.testing.assert_allclose(a.bias, b.bias[order], rtol=1e-9, atol=1e-10)


def test_train_rmse_is_that_of_the_oracle(backend, made_up_ratings):
    ratings = made_up_ratings(empty_users=(0,))
    trainer = new_trainer(ratings, backend)
    state = oracle.State.of(after(trainer, 2))
    assert trainer.train_rmse() == pytest.approx(
        oracle.rmse(oracle.Problem.from_sparse(ratings), state), rel=1e-12
    )


def test_planted_structure_is_found_again(made_up_ratings):
    ratings = made_up_ratings(300, 200, rank=3, density=0.3, noise=0.1).tocoo()
    held_out = np.random.default_rng(0).random(ratings.nnz) < 0.1
    train = sp.csr_matrix(
        (ratings.data[~held_out], (ratings.row[~held_out], ratings.col[~held_out])), shape=ratings.shape
    )
    trainer = new_trainer(train, Backend(), PLAIN.replace(factors=3, regularization=0.02), "float32")
    factors = after(trainer, 15)
    # The noise alone is 0.1; the spread of the ratings is about 0.9.
    assert (
        rmse(factors, ratings.row[held_out], ratings.col[held_out], ratings.data[held_out], Backend()) < 0.125
    )


# -------------------------------------------------------------------------------- MovieLens


def held_out_rmse(ratings, preset, seed):
    """Return the unclipped RMSE on a random tenth of the ratings, trained on the others."""
    test = np.random.default_rng(seed).permutation(ratings.nnz)[: ratings.nnz // 10]
    train = np.ones(ratings.nnz, bool)
    train[test] = False
    matrix = sp.csr_matrix(
        (ratings.data[train], (ratings.row[train], ratings.col[train])), shape=ratings.shape
    )
    config = PRESETS[preset]
    trainer = new_trainer(matrix, Backend(), config, "float32", seed)
    factors = after(trainer, config.iterations)
    return rmse(factors, ratings.row[test], ratings.col[test], ratings.data[test], Backend())


@pytest.mark.slow
def test_tutorial_defaults_on_movielens_1m_one_split(movielens_1m):
    assert held_out_rmse(movielens_1m, "tutorial-default", 0) == pytest.approx(1.10, abs=0.02)


@pytest.mark.slow
def test_tutorial_defaults_on_movielens_1m(movielens_1m):
    errors = [held_out_rmse(movielens_1m, "tutorial-default", seed) for seed in range(5)]
    print("RMSE of five splits:", np.round(errors, 4))
    assert np.mean(errors) == pytest.approx(1.10, abs=0.02)


def test_tutorial_defaults_on_movielens_100k_one_split(movielens_100k):
    assert held_out_rmse(movielens_100k, "tutorial-default", 0) == pytest.approx(1.06, abs=0.02)


@pytest.mark.slow
def test_tutorial_defaults_on_movielens_100k(movielens_100k):
    errors = [held_out_rmse(movielens_100k, "tutorial-default", seed) for seed in range(5)]
    print("RMSE of five splits:", np.round(errors, 4))
    assert np.mean(errors) == pytest.approx(1.06, abs=0.02)
