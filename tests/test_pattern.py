"""Pattern factors: their sums beside the solution of rows, and the precision they are solved in."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.backends import Backend
from toolkit.config import WALSConfig
from toolkit.predictor import Side
from toolkit.solver import half_step, solve_and_sum, solve_pattern


def solved(ratings, fixed, config, backend):
    rows, fixed = backend.rows(ratings, str(fixed.dtype)), backend.asarray(fixed)
    sums = backend.sum_rated(rows, fixed)
    return solve_pattern(rows, fixed, config, spread=1.0, backend=backend, sums=sums)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("weight_exponent", [0.0, 0.5])
@pytest.mark.parametrize("k", [1, 7, 24])
def test_sums_beside_the_solution_are_those_of_a_pass_of_their_own(
    backend, made_up_ratings, k, weight_exponent, dtype
):
    rows = backend.rows(made_up_ratings(empty_users=(1,)), dtype)
    rng = np.random.default_rng(k)
    factors, pattern = (rng.standard_normal((rows.n_columns, k)).astype(dtype) for _ in range(2))
    config = WALSConfig(factors=k, weight_exponent=weight_exponent, pattern_weight=0.7)
    weight = np.arange(1, rows.n_columns + 1) ** -weight_exponent
    step = half_step(
        rows,
        backend.side(Side(factors, np.zeros(rows.n_columns, dtype))),
        backend=backend,
        config=config,
        mean=3.0,
        spread=1.0,
        column_weight=backend.asarray(weight, dtype),
        pattern=backend.asarray(pattern),
    )
    solution, sums = solve_and_sum(step, backend=backend)
    if sums is not None:
        # A training that goes on where another stopped takes them by the pass.
        np.testing.assert_array_equal(sums, backend.sum_rated(rows, step.fixed.factors))
    alone = backend.solve_rows(step)
    np.testing.assert_array_equal(*(backend.to_numpy(side.factors) for side in (solution, alone)))


@pytest.mark.parametrize("regularization", [1e-6, 1e-3, 0.03, 1.0, 100.0])
def test_pattern_factors_of_single_precision_are_those_of_double(backend, made_up_ratings, regularization):
    ratings = made_up_ratings(n_users=300, n_items=200)
    fixed = np.random.default_rng(1).standard_normal((200, 20)) * np.logspace(0, -2, 20)
    config = WALSConfig(
        factors=20, pattern_weight=0.6, regularization=regularization, regularization_offset=50.0
    )
    single, double = (
        backend.to_numpy(solved(ratings, fixed.astype(dtype), config, backend))
        for dtype in ("float32", "float64")
    )
    assert single.dtype == np.float32
    error = np.linalg.norm(single - double, axis=1)
    assert (error <= 1e-4 * np.linalg.norm(double, axis=1)).all()


@pytest.mark.parametrize("threads", [2, 5])
def test_threads_do_not_change_a_bit_of_the_pattern(made_up_ratings, threads):
    ratings = made_up_ratings(n_users=1300, n_items=50)
    fixed = np.random.default_rng(0).standard_normal((50, 4)).astype("float32")
    one, many = (
        solved(ratings, fixed, WALSConfig(factors=4), b)
        for b in (Backend.require("numba", n) for n in (1, threads))
    )
    np.testing.assert_array_equal(one, many)
