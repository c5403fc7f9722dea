"""What runs kernels on the processor: that it sees the mistakes that it is there for."""

from __future__ import annotations

import re

import numpy as np
import pytest
from cuda_on_cpu.build import LaunchError, compiled, needs_compiler
from cuda_on_cpu.launcher import ProcessorLauncher
from test_cuda_rows import WEIGHTED, half_step, ratings_of

from toolkit.backends.cuda.kernels import defines_of, source
from toolkit.backends.cuda.shape import Shape
from toolkit.config import WALSConfig

pytestmark = needs_compiler

KERNELS = """
#define SHARED extern __shared__ float4 shared[]; float* const memory = reinterpret_cast<float*>(shared)

// Each thread gets its right neighbour's number.
extern "C" __global__ void with_barrier(const float* in, float* out)
{
    SHARED;
    memory[threadIdx.x] = in[blockIdx.x * blockDim.x + threadIdx.x];
    __syncthreads();
    out[blockIdx.x * blockDim.x + threadIdx.x] = memory[(threadIdx.x + 1) % blockDim.x];
}

extern "C" __global__ void without_barrier(const float* in, float* out)
{
    SHARED;
    memory[threadIdx.x] = in[threadIdx.x];
    out[threadIdx.x] = memory[(threadIdx.x + 1) % blockDim.x];
}

extern "C" __global__ void barrier_for_some(float* out)
{
    if (threadIdx.x < 40) {
        __syncthreads();
    }
    out[threadIdx.x] = 1.0f;
}

extern "C" __global__ void writes_at(float* out, int at) { out[at] = 1.0f; }
extern "C" __global__ void writes_constant(const float* out) { const_cast<float*>(out)[0] = 1.0f; }
extern "C" __global__ void reads_at(const float* in, float* out, int at) { out[0] = in[at]; }
extern "C" __global__ void writes_shared(float* out, int at) { SHARED; memory[at] = 1.0f; }
extern "C" __global__ void reads_shared(float* out, int at) { SHARED; out[0] = memory[at]; }

extern "C" __global__ void shuffled(const float* in, float* out)
{
    out[threadIdx.x] = in[threadIdx.x] + __shfl_xor_sync(0xffffffffu, in[threadIdx.x], 3);
}
"""


@pytest.fixture(scope="module")
def kernels():
    return compiled(KERNELS)


@pytest.mark.parametrize("order", [0, 1, 2, 77])
def test_a_barrier_makes_every_order_the_same(kernels, order):
    numbers = np.arange(3 * 40, dtype=np.float32)
    out = np.zeros_like(numbers)
    kernels.with_barrier(3, 40, numbers, out, shared=160, order=order)
    np.testing.assert_array_equal(out, np.roll(numbers.reshape(3, 40), -1, axis=1).ravel())


def test_a_missing_barrier_shows(kernels):
    numbers = np.arange(40, dtype=np.float32)
    found = []
    for order in (0, 1, 2):
        found.append(np.zeros_like(numbers))
        kernels.without_barrier(1, 40, numbers, found[-1], shared=160, order=order)
    # What was not written yet is NaN.
    assert np.isnan(found[0]).any()
    assert (np.isnan(found[0]) != np.isnan(found[1])).any()


def test_a_barrier_that_some_never_come_to_is_an_error(kernels):
    with pytest.raises(LaunchError, match="barrier"):
        kernels.barrier_for_some(1, 64, np.zeros(64, np.float32))


@pytest.mark.parametrize("at", [-1, 4, 40])
def test_writing_outside_of_an_array_is_an_error(kernels, at):
    with pytest.raises(LaunchError, match="out was written outside"):
        kernels.writes_at(1, 1, np.zeros(4, np.float32), np.int32(at))


def test_writing_what_is_constant_is_an_error(kernels):
    with pytest.raises(LaunchError, match="constant"):
        kernels.writes_constant(1, 1, np.zeros(4, np.float32))


def test_what_is_read_outside_of_an_array_is_no_number(kernels):
    out = np.zeros(1, np.float32)
    kernels.reads_at(1, 1, np.ones(4, np.float32), out, np.int32(4))
    assert np.isnan(out[0])


def test_shared_memory_has_the_size_of_the_launch(kernels):
    out = np.zeros(1, np.float32)
    kernels.writes_shared(1, 1, out, np.int32(3), shared=16)
    with pytest.raises(LaunchError, match="shared memory"):
        kernels.writes_shared(1, 1, out, np.int32(4), shared=16)


def test_shared_memory_is_no_number_before_it_is_written(kernels):
    out = np.zeros(1, np.float32)
    kernels.reads_shared(2, 1, out, np.int32(0), shared=16)
    assert np.isnan(out[0])


@pytest.mark.parametrize("order", [0, 1, 5])
def test_lanes_exchange_numbers(kernels, order):
    numbers = np.random.default_rng(0).standard_normal(96).astype(np.float32)
    out = np.zeros_like(numbers)
    kernels.shuffled(1, 96, numbers, out, order=order)
    np.testing.assert_array_equal(out, numbers + numbers[np.arange(96) ^ 3])


def test_a_number_of_another_size_than_the_parameter_is_refused(kernels):
    with pytest.raises(AssertionError, match="int64"):
        kernels.writes_at(1, 1, np.zeros(4, np.float32), np.int64(0))


# -------------------------------------------------------------------------------- the barriers of the rows


def without_each_barrier(text):
    """Yield sources that lack one barrier each, and the lines before it."""
    for found in re.finditer(r"__syncthreads\(\);", text):
        yield text[: found.start()] + text[found.end() :], text[found.start() - 300 : found.end()]


# Two barriers are for the flag of a number that is not finite, of which there is none here: before it is
# read, and before the next row begins without it.
OF_THE_FLAG = ("*flag = real(1);", "system.state[row.row] =")


@pytest.mark.slow
@pytest.mark.parametrize("limit", [pytest.param(64 << 10, id="shared memory"), pytest.param(0, id="slots")])
def test_the_rows_without_any_one_of_their_barriers_are_seen_to_be_wrong(monkeypatch, limit):
    k = 12
    monkeypatch.setattr("toolkit.backends.cuda.shape.SHARED_LIMIT", limit)
    config = WALSConfig(factors=k, **WEIGHTED)
    text = source("rows", defines_of(Shape.of(k, biased=True), "int"))
    launch = ProcessorLauncher.__call__
    good = half_step(ratings_of(), config, "column")[0]
    missed = []
    for broken, where in without_each_barrier(text):
        kernels = compiled(broken)

        def broken_rows(self, kernel, grid, block, *args, shared=0, kernels=kernels):
            if kernel.file == "rows":
                getattr(kernels, kernel.name)(grid, block, *args, shared=shared, order=self.order)
            else:
                launch(self, kernel, grid, block, *args, shared=shared)

        def is_seen(order):
            try:
                found = half_step(ratings_of(), config, "column", order=order)[0]
            except LaunchError:
                return True
            return not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(found, good, strict=True))

        with monkeypatch.context() as patch:
            patch.setattr(ProcessorLauncher, "__call__", broken_rows)
            if not any(is_seen(order) for order in range(8)):
                missed.append(where)
    assert len(missed) == len(OF_THE_FLAG), "\n\n".join(missed)
    assert all(mark in where for mark, where in zip(OF_THE_FLAG, missed, strict=True)), "\n\n".join(missed)
