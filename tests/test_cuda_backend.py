"""``backend: cuda`` as a whole, its kernels run on the processor: training equals the oracle and NumPy."""

from __future__ import annotations

import importlib

import cupy_stand_in
import numpy as np
import oracle
import pytest
import scipy.sparse as sp
from cuda_on_cpu.build import COMPILER
from on_stand_in import put_in_place
from test_solver import BACKGROUNDS, CASES

from toolkit.backends import Backend, CudaBackend, DeviceShare
from toolkit.backends.cuda import kernels
from toolkit.backends.cuda.launcher import CuPyLauncher, Kernel
from toolkit.backends.cuda.shape import Shape
from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import SolverError
from toolkit.evaluation import rmse
from toolkit.predictor import Side
from toolkit.solver import Trainer, TrainingData, half_step, objective, solve


@pytest.fixture
def cuda(monkeypatch):
    """A backend of CUDA whose device is this processor."""
    if COMPILER is None:
        pytest.skip("g++ is not installed, or this is not Linux: CUDA sources cannot be run on the CPU")
    put_in_place(monkeypatch)
    # Short rows, whole ones and parts in fifteen by eleven ratings.
    monkeypatch.setattr("toolkit.backends.cuda.plan.plan_rows.__kwdefaults__", {"part": 6, "short": 3})
    return CudaBackend()


def trained(ratings, config, backend, dtype="float32"):
    trainer = Trainer(TrainingData(ratings, backend=backend, dtype=dtype), config)
    start = trainer.host_factors().users.factors
    for _ in range(config.iterations):
        trainer.step()
    return trainer, start


def launched(backend):
    return backend.launch.launched


@pytest.mark.slow
@pytest.mark.parametrize("background", BACKGROUNDS)
@pytest.mark.parametrize(("name", "value"), CASES)
def test_hyperparameter_equals_oracle(*, cuda, made_up_ratings, background, name, value):
    assert_equals_oracle(cuda, made_up_ratings, {**BACKGROUNDS[background], name: value})


@pytest.mark.parametrize("background", BACKGROUNDS)
def test_training_equals_oracle(cuda, made_up_ratings, background):
    assert_equals_oracle(cuda, made_up_ratings, BACKGROUNDS[background])
    assert {"part_rows", "joined_rows", "whole_rows", "short_rows", "mend_rows"} <= set(launched(cuda))


def assert_equals_oracle(cuda, made_up_ratings, values):
    config = WALSConfig(**values)
    ratings = made_up_ratings(empty_users=(4,), empty_items=(0, 10))
    trainer, start = trained(ratings, config, cuda)
    problem = oracle.Problem.from_sparse(ratings)
    expected = oracle.iterate(problem, oracle.start(problem, start, config), config, config.iterations)
    actual = oracle.State.of(trainer.host_factors())
    np.testing.assert_allclose(oracle.predictions(actual), oracle.predictions(expected), atol=2e-3)
    if not config.factors:
        return  # biases alone need no kernel, and the oracle would have a pattern that nothing explains
    assert trainer.train_rmse() == pytest.approx(
        rmse(trainer.host_factors(), *map(cuda.to_numpy, trainer.data.pairs), Backend(1))
    )
    assert objective(trainer.factors, trainer.data) == pytest.approx(
        oracle.objective(problem, actual, config), rel=1e-5
    )
    assert "squared_errors" in launched(cuda)


def test_the_same_seed_gives_the_same_bits(cuda, made_up_ratings):
    config = WALSConfig(**BACKGROUNDS["weighted"]).replace(iterations=2)
    first, again = (trained(made_up_ratings(), config, cuda)[0].host_factors() for _ in range(2))
    for a, b in zip((*first.users, *first.items), (*again.users, *again.items), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_trained_user_folds_in_to_its_row(cuda, made_up_ratings):
    config = WALSConfig(**BACKGROUNDS["weighted"]).replace(iterations=2)
    ratings = made_up_ratings()
    trainer, _ = trained(ratings, config, cuda)
    step = half_step(
        cuda.rows(sp.csr_matrix(ratings[6])),
        trainer.factors.items,
        backend=cuda,
        pattern=trainer.factors.item_pattern,
        mean=trainer.factors.mean,
        spread=trainer.factors.spread,
        config=config,
        column_weight=trainer._item_weight,
    )
    one = solve(step, backend=cuda)
    first, trained_row = map(cuda.to_numpy, (one.factors[0], trainer.factors.users.factors[6]))
    np.testing.assert_array_equal(first, trained_row)


def test_no_iteration_waits_for_the_device(cuda, made_up_ratings, monkeypatch):
    trainer, _ = trained(made_up_ratings(), WALSConfig(factors=5, iterations=1), cuda)
    asked = []
    monkeypatch.setattr(
        "toolkit.backends.cuda.row_solver.RowSolver.unsolved", lambda _: asked.append(len(launched(cuda)))
    )
    before = len(launched(cuda))
    trainer.step()
    # Both sides are asked for when all has been launched.
    assert asked == [len(launched(cuda))] * 2
    assert asked[0] > before


def test_a_failure_is_told_of_the_side_and_row_where_it_began(cuda, made_up_ratings):
    trainer, _ = trained(made_up_ratings(), WALSConfig(factors=5, iterations=1), cuda)
    trainer.data.items.values[3] = np.inf
    with np.errstate(all="ignore"), pytest.raises(SolverError, match=r"row 0 .* no finite solution"):
        trainer.step()
    assert trainer.iterations == 1


@pytest.mark.parametrize(
    ("factors", "dtype", "weight"), [(300, "float32", 1.0), (4, "float64", 1.0), (4, "float32", 1e-39)]
)
def test_what_kernels_cannot_do_is_done_by_arrays(cuda, made_up_ratings, factors, dtype, weight):
    ratings = made_up_ratings()
    values = {"factors": factors, "iterations": 1, "observed_weight": weight, "unobserved_weight": 0.5}
    config = WALSConfig(**values)
    data = TrainingData(ratings, backend=cuda, dtype=dtype)
    rng = np.random.default_rng(0)
    fixed = Side(cuda.asarray(rng.standard_normal((11, factors)), dtype), cuda.asarray(np.zeros(11), dtype))
    weights = cuda.asarray(np.full(11, weight), dtype)
    step = half_step(
        data.users, fixed, backend=cuda, mean=3.0, spread=1.0, config=config, column_weight=weights
    )
    solved = solve(step, backend=cuda)
    assert np.isfinite(cuda.to_numpy(solved.factors)).all()
    assert "whole_rows" not in launched(cuda)


def test_iterations_take_no_scratch_memory_of_their_own(cuda, made_up_ratings):
    data = TrainingData(made_up_ratings(), backend=cuda, dtype="float32")
    config = WALSConfig(**BACKGROUNDS["weighted"]).replace(factors=4)
    largest = Trainer(data, config.replace(factors=5))
    assert cuda.arena.allocations <= 2
    before = cuda.arena.allocations
    for trainer in (largest, Trainer(data, config)):
        trainer.step()
        trainer.step()
    assert cuda.arena.allocations == before


def test_scratch_memory_is_not_counted_twice(cuda, made_up_ratings):
    # Of 8 GiB, the reserve taken off: a fifth of a GiB, for the stand-in fills what it reserves.
    share = DeviceShare(cuda, 0.09)
    assert share.limit < 1 << 28
    config = WALSConfig(factors=5, iterations=1)
    trained(made_up_ratings(), config, cuda)
    cuda.arena.reserve(share.limit - (64 << 20))
    share.require(config, 15, 11)


def test_cuda_is_asked_for_by_name_and_by_nothing_else(monkeypatch):
    put_in_place(monkeypatch)
    assert Backend.prefer("auto").name == Backend.require("auto").name == "cupy"
    assert Backend.require("cuda").name == Backend.prefer("cuda").name == "cuda"
    assert RunOptions().backend == "auto"


# -------------------------------------------------------------------------------- through CuPy


class FakeModule:
    """As `cupy.RawModule`, but for compiling."""

    made: list[FakeModule]

    def __init__(self, code, options):
        self.code, self.options = code, options
        self.launches = []
        FakeModule.made.append(self)

    def get_function(self, name):
        def launch(grid, block, args, shared_mem):
            self.launches.append((name, grid, block, args, shared_mem))

        return launch


@pytest.fixture
def raw(monkeypatch):
    cupy_stand_in.install(monkeypatch)
    cupy = importlib.import_module("cupy")
    FakeModule.made = []
    cupy.RawModule = FakeModule
    for cached in (kernels.compiled, kernels._module):
        cached.cache_clear()
    yield FakeModule.made
    for cached in (kernels.compiled, kernels._module):
        cached.cache_clear()


def test_kernels_are_compiled_once_and_launched_as_cupy_wants_it(raw):
    launch = CuPyLauncher()
    assert launch.multiprocessors == 2
    shape = Shape.of(64, biased=True)
    for n in (1, 2):
        launch(Kernel("rows", "whole_rows", shape, "int"), 3, 64, np.int32(n), None, shared=1000)
    launch(Kernel("rows", "short_rows", shape, "int"), 4, 128, shared=60_000)
    (module,) = raw
    assert "#define FACTORS 64" in module.code
    assert "--fmad=false" in module.options
    first, _, third = module.launches
    name, grid, block, args, shared = first
    assert (name, grid, block, shared) == ("whole_rows", (3,), (64,), 1000)
    # A null pointer has the size of a pointer.
    assert [(a.dtype, int(a)) for a in args] == [("int32", 1), ("uint64", 0)]
    assert third[4] == 60_000


def test_more_shared_memory_than_usual_is_asked_for(raw):
    shape = Shape.of(34, biased=True)
    plain = kernels.compiled("rows", "whole_rows", shape, "int", shared_bytes=48 << 10)
    more = kernels.compiled("rows", "whole_rows", shape, "int", shared_bytes=(48 << 10) + 16)
    assert not hasattr(plain, "max_dynamic_shared_size_bytes")
    assert more.max_dynamic_shared_size_bytes == (48 << 10) + 16


def test_64_bit_columns_are_other_kernels(raw):
    shape = Shape.of(34, biased=True)
    for column in ("int", "long long"):
        kernels.compiled("table", "make_table", shape, column, shared_bytes=0)
    assert ["#define COLUMN long long" in module.code for module in raw] == [False, True]
