"""Trainings beside those of the oracle."""

from __future__ import annotations

import functools

import numpy as np
import oracle
import scipy.sparse as sp

from toolkit.solver import Trainer, TrainingData


def fit(ratings, config, backend, dtype="float64", seed=0):
    """Return the factors after the iterations of the config, in host memory, and the start they came from."""
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype=dtype), config, seed=seed)
    start = trainer.host_factors().users.factors
    for _ in range(config.iterations):
        trainer.step()
    return trainer.host_factors(), start


@functools.lru_cache(maxsize=256)
def _expected(config, shape, matrix, start):
    """Return what the oracle says; it takes its time, and every backend asks it the same.

    The matrix, as (rows, columns, ratings), and the start are bytes.
    """
    rows, columns, data = (
        np.frombuffer(each, kind) for each, kind in zip(matrix, ("i4", "i4", "f8"), strict=True)
    )
    problem = oracle.Problem.from_sparse(sp.csr_matrix((data, (rows, columns)), shape=shape))
    users = np.frombuffer(start, "f8").reshape(shape[0], -1)
    return oracle.iterate(problem, oracle.start(problem, users, config), config, config.iterations)


def assert_equals_oracle(ratings, config, backend, dtype="float64"):
    factors, start = fit(ratings, config, backend, dtype)
    coo = ratings.tocoo()
    matrix = tuple(
        each.astype(kind).tobytes() for each, kind in ((coo.row, "i4"), (coo.col, "i4"), (coo.data, "f8"))
    )
    expected = _expected(config, ratings.shape, matrix, start.astype("f8").tobytes())
    actual = oracle.State.of(factors)
    assert factors.users.factors.dtype == factors.items.bias.dtype == dtype
    if dtype == "float64":
        for name in ("x", "y", "user_bias", "item_bias", "mean"):
            np.testing.assert_allclose(getattr(actual, name), getattr(expected, name), rtol=1e-8, atol=1e-8)
    else:
        np.testing.assert_allclose(oracle.predictions(actual), oracle.predictions(expected), atol=2e-3)
