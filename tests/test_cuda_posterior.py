"""The posterior on a stand-in for a GPU, with kernels run on the processor: it draws what NumPy draws."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from cuda_on_cpu.build import needs_compiler
from on_stand_in import put_in_place

from toolkit.backends import Backend, CudaBackend, CupyBackend
from toolkit.config import WALSConfig
from toolkit.errors import BackendError
from toolkit.predictor import Side
from toolkit.solver import PosteriorMean, Prior, Sampler, Trainer, TrainingData, half_step, solve

pytestmark = needs_compiler

POSTERIOR = {"factors": 5, "observed_weight": 2.0, "weight_exponent": 0.4}


@pytest.fixture
def device(monkeypatch):
    """A stand-in for a device, which draws the numbers of NumPy's backend."""
    put_in_place(monkeypatch)
    # Long rows, whole ones and short ones in thirty by twenty ratings.
    monkeypatch.setattr("toolkit.backends.cuda.plan.plan_rows.__kwdefaults__", {"part": 6, "short": 3})

    def normals(self, key, shape, dtype):
        return self.asarray(Backend(1).normals(key, shape, dtype))

    monkeypatch.setattr(CupyBackend, "normals", normals)


@pytest.mark.parametrize("kind", [CupyBackend, CudaBackend])
@pytest.mark.parametrize("by", ["row", "column"])
def test_a_draw_of_rows_equals_that_of_double_precision(*, device, made_up_ratings, kind, by):
    ratings = made_up_ratings(empty_users=(4,))
    config = WALSConfig(**POSTERIOR, pattern_weight=0.0)
    rng = np.random.default_rng(1)
    fixed = Side(rng.standard_normal((11, 5)).astype(np.float32), rng.standard_normal(11).astype(np.float32))
    weight = rng.uniform(0.5, 2, 15 if by == "row" else 11).astype(np.float32)
    prior = Prior.of(rng.standard_normal(6), 3 * np.eye(6))

    def drawn(backend, dtype):
        step = half_step(
            backend.rows(ratings, dtype),
            backend.side(fixed, dtype),
            backend=backend,
            config=config,
            mean=3.0,
            spread=1.0,
            prior=prior,
            **{f"{by}_weight": backend.asarray(weight, dtype)},
        )
        # The same steps for all: only how they are solved differs.
        noise = backend.asarray(Backend(1).normals((5,), (15, 6), "float32"), dtype)
        found = solve(replace(step, noise=noise), backend=backend)
        return np.column_stack([backend.to_numpy(found.factors), backend.to_numpy(found.bias)])

    found, expected = drawn(kind(), "float32"), drawn(Backend(1), "float64")
    scale = abs(expected).max(axis=1, keepdims=True)
    assert (abs(found - expected) / scale).max() < 5e-6


@pytest.mark.parametrize("kind", [CupyBackend, CudaBackend])
@pytest.mark.parametrize("pattern_weight", [0.0, 0.7])
def test_a_chain_on_a_device_is_that_of_the_processor(*, device, made_up_ratings, kind, pattern_weight):
    ratings = made_up_ratings(30, 20, empty_users=(3,))
    config = WALSConfig(**POSTERIOR, pattern_weight=pattern_weight)
    own, samples = kind(), []
    for backend in (own, Backend(1)):
        sampler = Sampler(TrainingData(ratings, backend=backend, dtype="float32"), config)
        mean = PosteriorMean(sampler)
        for _ in range(3):
            sampler.sweep()
            mean.add()
        samples.append([*mean.factors().users, *mean.factors().items, np.array([sampler.noise])])
    for found, expected in zip(*samples, strict=True):
        # Rounding grows from sweep to sweep.
        np.testing.assert_allclose(found, expected, atol=2e-3 * abs(expected).max())
    if kind is CudaBackend:
        # docs/cuda.md says so: arrays solve the rows of a draw, and kernels sum what was rated.
        assert set(own.launch.launched) == ({"sum_parts", "join_sums"} if pattern_weight else set())


def test_steps_are_none_of_a_device(device, made_up_ratings):
    backend = CudaBackend()
    with pytest.raises(BackendError):
        Trainer(TrainingData(made_up_ratings(), backend=backend), WALSConfig(factors=3), solver="cg")
    trainer = Trainer(TrainingData(made_up_ratings(), backend=backend), WALSConfig(factors=200))
    assert trainer.solver == "exact"
