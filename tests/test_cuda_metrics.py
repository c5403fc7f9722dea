"""The kernels of RMSE, run on the processor, against the array operations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from cuda_on_cpu.build import needs_compiler
from cuda_on_cpu.launcher import ProcessorLauncher

from toolkit.backends import Backend
from toolkit.backends.cuda.pairs import squared_errors
from toolkit.config import WALSConfig
from toolkit.evaluation import rmse
from toolkit.predictor import Side
from toolkit.solver import Factors

pytestmark = needs_compiler


@pytest.fixture(autouse=True)
def few_blocks(monkeypatch):
    # Some of them have several rounds of pairs, and some none.
    monkeypatch.setattr("toolkit.backends.cuda.pairs.BLOCKS", 3)


def made(k, matrix, scale, seed=0):
    rng = np.random.default_rng(seed)

    def side(n):
        factors = rng.standard_normal((n, k), dtype=np.float32) / np.float32(np.sqrt(k))
        return Side(factors, rng.standard_normal(n).astype(np.float32))

    config = WALSConfig(factors=k, unobserved_weight=0.3, observed_weight=2.0, weight_exponent=0.5)
    factors = Factors(side(matrix.shape[0]), side(matrix.shape[1]), 3.25, config, 1, scale=scale)
    coo = matrix.tocoo()
    return factors, (coo.row.astype(np.int32), coo.col.astype(np.int32), coo.data.astype(np.float32))


@pytest.mark.parametrize(
    ("k", "users", "scale"),
    [
        (1, 1, (2.0, 4.0)),
        (5, 15, None),
        (5, 15, (3.0, 3.0)),
        pytest.param(34, 20, (2.0, 4.0), marks=pytest.mark.slow),
    ],
)
def test_rmse_equals_the_array_operations(made_up_ratings, k, users, scale):
    factors, pairs = made(k, made_up_ratings(users, 30), scale)
    (total,) = squared_errors(ProcessorLauncher(), factors, pairs)
    expected = rmse(factors, *pairs, Backend(1))
    assert math.sqrt(total / len(pairs[2])) == pytest.approx(expected, rel=1e-6)


def test_a_prediction_that_is_no_number_is_not_clipped_to_one(made_up_ratings):
    factors, pairs = made(5, made_up_ratings(), (2.0, 4.0))
    factors.users.factors[3] = np.nan
    assert np.isnan(squared_errors(ProcessorLauncher(), factors, pairs)[0])


@pytest.mark.parametrize("order", [1, 2])
def test_the_order_of_threads_and_blocks_does_not_matter(made_up_ratings, order):
    factors, pairs = made(5, made_up_ratings(), (2.0, 4.0))
    first, again = (squared_errors(ProcessorLauncher(o), factors, pairs) for o in (0, order))
    np.testing.assert_array_equal(first, again)
