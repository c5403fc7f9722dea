"""The solver by conjugate gradients: near the exact one everywhere, exact at the end, the same bits."""

from __future__ import annotations

import numpy as np
import pytest
from test_trainer import assert_same_bits

from toolkit import WALS
from toolkit.backends import Backend, NumbaBackend
from toolkit.config import WALSConfig
from toolkit.errors import BackendError, ConfigError
from toolkit.evaluation import pairs_on, rmse
from toolkit.solver import Trainer, TrainingData
from toolkit.synth import write_ratings

CONFIG = WALSConfig(factors=12, iterations=6, regularization=0.05, regularization_offset=20.0)
CASES = {
    "plain": {"pattern_weight": 0.0},
    "pattern": {},
    "strong pattern": {"pattern_weight": 5.0},
    "momentum": {"momentum": 0.5},
    "unobserved": {"unobserved_weight": 0.05, "pattern_weight": 0.0},
    "weighted": {"unobserved_weight": 0.01, "observed_weight": 20.0, "weight_exponent": 0.7},
    "no bias": {"bias": "none"},
    "mean": {"bias": "mean", "unobserved_weight": 0.05},
    "unit": {"scale": "none"},
    "constant penalty": {"regularization": 3.0, "regularization_exponent": 0.0},
    "tiny penalty": {"regularization": 1e-5, "regularization_offset": 0.0},
    "bias penalty of factors": {"bias_regularization": None},
    "large penalty": {"regularization": 10.0},
    "one factor": {"factors": 1},
}


@pytest.fixture(scope="module")
def ratings(tmp_path_factory):
    """Return training and validation ratings of 600 made-up users."""
    from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings

    folder = tmp_path_factory.mktemp("conjugate")
    made = write_ratings(folder / "r.csv", ratings=24_000, users=600, items=300, seed=1)
    split = SplitRule(valid=0.1, test=0)
    data = ingest_ratings(RatingsSource.detect([made.path]), folder / "data", split=split)
    return data.train, data.valid


def errors_of(ratings, config, solver, dtype="float32"):
    """Return the validation RMSE of each iteration."""
    backend = Backend.require("numba", 2)
    trainer = Trainer(TrainingData(ratings[0], backend=backend, dtype=dtype), config, solver=solver)
    pairs, errors = pairs_on(backend, ratings[1]), []
    for _ in range(config.iterations):
        trainer.step()
        errors.append(rmse(trainer.factors, *pairs, backend))
    return np.array(errors)


@pytest.mark.parametrize("case", CASES)
def test_the_errors_are_those_of_the_exact_solver_from_the_third_iteration_on(ratings, case):
    config = CONFIG.replace(iterations=4, **CASES[case])
    exact, steps = (errors_of(ratings, config, solver) for solver in ("exact", "cg"))
    np.testing.assert_allclose(steps[2:], exact[2:], atol=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("factors", [33, 64, 100])
@pytest.mark.parametrize("case", CASES)
def test_the_errors_are_those_of_the_exact_solver_at_high_ranks(ratings, case, factors, dtype):
    config = CONFIG.replace(iterations=10).replace(**CASES[case]).replace(factors=factors)
    exact, steps = (errors_of(ratings, config, solver, dtype) for solver in ("exact", "cg"))
    np.testing.assert_allclose(steps[2:], exact[2:], atol=5e-4)


def trained(matrix, config, iterations, *, threads=1, solver="cg", restored=None):
    trainer = Trainer(TrainingData(matrix, backend=Backend.require("numba", threads)), config, solver=solver)
    if restored:
        trainer.restore(*restored)
    for _ in range(iterations - trainer.iterations):
        trainer.step()
    return trainer


@pytest.mark.parametrize("case", ["plain", "pattern", "weighted", "momentum"])
def test_threads_and_interruptions_do_not_change_a_bit(ratings, case):
    config = CONFIG.replace(**CASES[case])
    one, two = (trained(ratings[0], config, 4, threads=n).host_factors() for n in (1, 2))
    assert_same_bits(one, two)
    before = trained(ratings[0], config, 2)
    state = before.host_factors(), before.host_users_before()
    assert_same_bits(trained(ratings[0], config, 4, restored=state).host_factors(), one)


@pytest.mark.parametrize("patience", [0, 1])
@pytest.mark.parametrize("case", ["plain", "pattern"])
def test_folding_a_user_in_gives_her_trained_row(ratings, case, patience):
    train, valid = ratings
    model = WALS(CONFIG.replace(**CASES[case]), threads=1, backend="numba", solver="cg")
    model.fit(train, valid=valid, patience=patience)
    assert model.solver_name == "cg"
    folded, rows = model.fold_in(train[:50]), model.factors.users.at(slice(50))
    np.testing.assert_allclose(folded.factors, rows.factors, atol=1e-5)
    np.testing.assert_allclose(folded.bias, rows.bias, atol=1e-5)


def test_earlier_factors_are_finished_by_an_exact_solution(ratings):
    exact, steps = (trained(ratings[0], CONFIG, 2, solver=solver) for solver in ("exact", "cg"))
    assert exact.finished() is exact.factors
    finished = steps.finished()
    assert finished.items is steps.factors.items
    again = steps.finished(finished)
    np.testing.assert_array_equal(again.users.factors, finished.users.factors)
    assert np.abs(finished.users.factors - steps.factors.users.factors).max() > 0
    last = trained(ratings[0], CONFIG, CONFIG.iterations)
    assert last.finished() is last.factors


@pytest.mark.parametrize("shared", [False, True])
def test_auto_takes_steps_from_a_rank_on(made_up_ratings, shared):
    rank = NumbaBackend.steps_from[shared]
    config = WALSConfig(pattern_weight=0.3 * shared)
    data = TrainingData(made_up_ratings(), backend=Backend.require("numba", 1))
    solvers = [Trainer(data, config.replace(factors=k)).solver for k in (0, rank - 1, rank)]
    assert solvers == ["exact", "exact", "cg"]
    assert Trainer(data, config.replace(factors=rank), solver="exact").solver == "exact"
    assert Trainer(data, config.replace(factors=1), solver="cg").solver == "cg"


def test_a_backend_without_steps_refuses_them(made_up_ratings):
    data = TrainingData(made_up_ratings(), backend=Backend(1))
    assert Trainer(data, WALSConfig(factors=100)).solver == "exact"
    with pytest.raises(BackendError, match="solver cg is one of the numba backend, but this is numpy: set"):
        Trainer(data, WALSConfig(), solver="cg")
    with pytest.raises(ConfigError, match="solver must be one of auto, exact, cg"):
        Trainer(data, WALSConfig(), solver="fast")
