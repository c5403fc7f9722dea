"""Trainings beside those of the oracle."""

from __future__ import annotations

import numpy as np
import oracle

from toolkit.solver import Trainer, TrainingData


def fit(ratings, config, backend, dtype="float64", seed=0):
    """Return the factors after the iterations of the config, in host memory, and the start they came from."""
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype=dtype), config, seed=seed)
    start = trainer.host_factors().users.factors
    for _ in range(config.iterations):
        trainer.step()
    return trainer.host_factors(), start


def assert_equals_oracle(ratings, config, backend, dtype="float64"):
    factors, start = fit(ratings, config, backend, dtype)
    problem = oracle.Problem.from_sparse(ratings)
    expected = oracle.iterate(problem, oracle.start(problem, start, config), config, config.iterations)
    actual = oracle.State.of(factors)
    assert factors.users.factors.dtype == factors.items.bias.dtype == dtype
    if dtype == "float64":
        for name in ("x", "y", "user_bias", "item_bias", "mean"):
            np.testing.assert_allclose(getattr(actual, name), getattr(expected, name), rtol=1e-8, atol=1e-8)
    else:
        np.testing.assert_allclose(oracle.predictions(actual), oracle.predictions(expected), atol=2e-3)
