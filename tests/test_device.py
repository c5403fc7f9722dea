"""A trial's share of a GPU: its limit, and the least memory that a training needs."""

from __future__ import annotations

import itertools
import re

import cupy_stand_in
import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.backends import CupyBackend, DeviceMemoryError, DeviceShare, cupy_problem, is_out_of_memory
from toolkit.backends.gpu_share import RESERVE
from toolkit.backends.memory_estimate import device_bytes
from toolkit.config import WALSConfig
from toolkit.errors import BackendError, WalslabError
from toolkit.files import size_text
from toolkit.solver import Trainer, TrainingData

GIB = 1 << 30


@pytest.fixture
def pool(monkeypatch):
    """The pool of a made-up device of 8 GiB."""
    monkeypatch.delenv("CUPY_GPU_MEMORY_LIMIT", raising=False)
    return cupy_stand_in.install(monkeypatch, total=8 * GIB)


@pytest.mark.parametrize(("gpu", "part"), [(0.25, 2), (0.5, 4), (1, 8), (2, 8), (0, 8)])
def test_pool_is_limited_to_the_share_less_the_reserve(pool, gpu, part):
    share = DeviceShare(CupyBackend(), gpu)
    assert share.limit == pool.get_limit() == part * GIB - RESERVE


def test_share_says_how_large_it_is_and_of_what(pool):
    share = DeviceShare(CupyBackend(), 0.25)
    assert str(share) == "1.5 GiB (resources.gpu 0.25 of 8 GiB, less 512 MiB for CUDA)"
    assert share.device == "Stand-in GPU, 0.25 of it"
    assert DeviceShare(CupyBackend(), 1).device == "Stand-in GPU"


@pytest.mark.parametrize(("said", "limit"), [("1000000", 10**6), ("25%", 2 * GIB), ("0", 8 * GIB)])
def test_limit_of_the_environment_goes_before(monkeypatch, said, limit):
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", said)
    pool = cupy_stand_in.install(monkeypatch, total=8 * GIB)
    before = pool.get_limit()
    share = DeviceShare(CupyBackend(), 0.01)
    assert share.limit == limit
    assert pool.get_limit() == before
    assert "CUPY_GPU_MEMORY_LIMIT" in str(share)


@pytest.mark.parametrize("total", [2 * GIB, 8 * GIB, 80 * GIB, 10**10])
def test_share_that_the_reserve_eats_is_refused_with_the_least_that_is_not(monkeypatch, total):
    monkeypatch.delenv("CUPY_GPU_MEMORY_LIMIT", raising=False)
    cupy_stand_in.install(monkeypatch, total=total)
    with pytest.raises(
        BackendError, match=r"^resources\.gpu must leave room beside the 512 MiB .*"
    ) as caught:
        DeviceShare(CupyBackend(), RESERVE / total)
    least = float(str(caught.value).rpartition("set it to ")[2].removesuffix(" or more"))
    assert DeviceShare(CupyBackend(), least).limit > 0
    with pytest.raises(BackendError):
        DeviceShare(CupyBackend(), max(least - 0.01, 0.001))


def test_batches_are_made_to_fit_the_share(pool):
    small, large = CupyBackend(), CupyBackend()
    DeviceShare(small, 0.08)
    DeviceShare(large, 1)
    assert small.batch_bytes < large.batch_bytes
    assert small.batch_entries < large.batch_entries
    assert 4 * large.batch_bytes <= pool.get_limit() // 2


def ratings_of(n_users, n_items, per_user):
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(n_users), per_user)
    items = (rng.integers(n_items, size=n_users)[:, None] + np.arange(per_user) * 7).ravel() % n_items
    values = rng.uniform(1, 5, len(users)).astype("float32")
    return sp.csr_matrix((values, (users, items)), (n_users, n_items))


SHAPES = {"more users": ratings_of(400, 92, 4), "more items": ratings_of(92, 400, 9)}
# Which of the changes, the even or the odd ones, and which patience: patience keeps factors of both alike.
TURNS = {"more users": (0, 0), "more items": (1, 2)}
CHANGES = [
    {},
    {"iterations": 1, "pattern_weight": 0.5, "momentum": 0.3},
    {"iterations": 2, "pattern_weight": 0.5, "momentum": 0.3},
    {"bias": "none"},
    {"bias": "none", "momentum": 0.3},
    {"momentum": 0.3},
    {"pattern_weight": 0.5},
    {"pattern_weight": 0.5, "momentum": 0.3, "unobserved_weight": 0.1},
    {"unobserved_weight": 0.1, "factors": 70, "iterations": 2},
]


# Each change with one shape and patience, by turns; the others where all is tried.
TRIED = itertools.product(range(len(CHANGES)), SHAPES, [0, 2])


@pytest.mark.parametrize(
    ("changes", "shape", "patience"),
    [
        pytest.param(
            *(CHANGES[n], shape, patience),
            marks=() if (n % 2, patience) == TURNS[shape] else pytest.mark.slow,
            id=f"{CHANGES[n]}-{shape}-{patience}",
        )
        for n, shape, patience in TRIED
    ],
)
def test_need_is_a_lower_bound_of_what_a_training_takes(pool, shape, changes, patience):
    backend = CupyBackend()
    data = TrainingData(SHAPES[shape], backend=backend)
    config = WALSConfig(**{"factors": 40, "iterations": 3} | changes)
    before = pool.used_bytes()
    pool.peak = 0
    # Enough for rows to be solved many at once, and little beside what is counted.
    backend.batch_bytes, backend.batch_entries = 1 << 17, 1 << 10
    trainer, best = Trainer(data, config), None
    for _ in range(config.iterations):
        trainer.step()
        best = trainer.factors if patience else None
    taken = pool.peak - before
    need = device_bytes(config, data.n_users, data.n_items, patience=patience)
    assert need <= taken
    assert best is None or best.iterations == config.iterations


def test_need_grows_with_all_that_it_depends_on():
    config = WALSConfig(factors=32, iterations=5, pattern_weight=0)
    need = device_bytes(config, 5000, 3000)
    assert need > 4 * (32 + 1) * (5000 + 3000)
    for change in ({"factors": 33}, {"momentum": 0.1}, {"pattern_weight": 0.1}):
        assert device_bytes(config.replace(**change), 5000, 3000) > need
    assert device_bytes(config, 5001, 3000) > need
    assert device_bytes(config, 5000, 3001) > need
    assert device_bytes(config, 5000, 3000, patience=1) > need
    assert device_bytes(config, 5000, 3000, itemsize=8) == 2 * need


def test_training_that_cannot_fit_is_refused_with_the_knobs(pool):
    backend = CupyBackend()
    share = DeviceShare(backend, 0.25)
    ratings = backend.asarray(np.zeros(1 << 20, "float32"))
    share.require(WALSConfig(factors=50), 138_493, 26_744)
    with pytest.raises(DeviceMemoryError) as caught:
        share.require(WALSConfig(factors=1000), 138_493, 26_744)
    assert isinstance(caught.value, WalslabError)
    assert isinstance(caught.value, MemoryError)
    text = str(caught.value)
    need = device_bytes(WALSConfig(factors=1000), 138_493, 26_744)
    assert f"1000 factors needs at least {size_text(need)}" in text
    assert "1.5 GiB are left of 1.5 GiB (resources.gpu 0.25 of 8 GiB" in text
    assert all(knob in text for knob in ("space.factors", "resources.gpu", "concurrency"))
    assert ratings.nbytes == pool.used_bytes()


def test_what_the_ratings_take_is_no_room(monkeypatch):
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", str(1 << 20))
    cupy_stand_in.install(monkeypatch)
    backend = CupyBackend()
    share = DeviceShare(backend, 0.25)
    config = WALSConfig(factors=8, bias="none")
    need = device_bytes(config, 1000, 1000)
    ratings = backend.asarray(np.zeros((1 << 20) - need, "int8"))
    share.require(config, 1000, 1000)
    # A batch takes a little, whatever is left.
    assert backend.batch_bytes == 1 << 20
    with pytest.raises(
        DeviceMemoryError, match=rf"but {size_text(need)} are left of 1 MiB \(by CUPY_GPU_MEM"
    ):
        share.require(config, 1001, 1000)
    del ratings
    share.require(config, 1001, 1000)


def test_most_that_was_taken_is_known_and_what_is_cached_is_given_back(pool):
    backend = CupyBackend()
    share = DeviceShare(backend, 1)
    array = backend.asarray(np.zeros(5000, "int8"))
    del array
    assert (pool.used_bytes(), pool.total_bytes()) == (0, 5000)
    assert share.measure() == 5000
    share.release()
    assert pool.total_bytes() == 0
    assert share.measure() == share.peak_bytes == 5000


def test_device_that_computes_no_more_is_noticed(pool):
    backend = CupyBackend()
    share = DeviceShare(backend, 1)
    share.require_alive()

    def broken():
        raise RuntimeError("cudaErrorIllegalAddress: an illegal memory access was encountered")

    backend.xp.cuda.runtime.deviceSynchronize = broken
    with pytest.raises(BackendError, match="computes nothing more for this process: cudaErrorIllegalAddress"):
        share.require_alive()


@pytest.mark.parametrize(
    ("error", "short"),
    [
        (MemoryError(), True),
        (cupy_stand_in.OutOfMemoryError(1, 2, 3), True),
        (RuntimeError("cudaErrorMemoryAllocation: out of memory"), True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("CUSOLVER_STATUS_ALLOC_FAILED"), True),
        (RuntimeError("cudaErrorIllegalAddress"), False),
        (ValueError("of memory"), False),
    ],
)
def test_errors_that_say_memory_is_short(error, short):
    assert is_out_of_memory(error) is short


@pytest.fixture
def gpu(request):
    """CuPy on a real device, with the pool as it was afterwards."""
    if request.config.getoption("--backend") not in ("all", "cupy"):
        pytest.skip("another backend was asked for")
    if problem := cupy_problem():
        (pytest.fail if request.config.getoption("--backend") == "cupy" else pytest.skip)(problem)
    backend = CupyBackend()
    real = backend.xp.get_default_memory_pool()
    limit = real.get_limit()
    yield backend
    real.set_limit(size=limit)


@pytest.mark.gpu
def test_real_pool_refuses_what_is_above_the_limit_and_goes_on(gpu):
    share = DeviceShare(gpu, 1)
    share.release()
    real = gpu.xp.get_default_memory_pool()
    before = real.used_bytes()
    with pytest.raises(MemoryError, match="limit set to") as caught:
        gpu.xp.zeros(share.limit + 1, "int8")
    assert is_out_of_memory(caught.value)
    share.require_alive()
    assert float(gpu.xp.ones(1000).sum()) == 1000
    share.release()
    assert real.used_bytes() == before
    assert share.peak_bytes > before


@pytest.mark.gpu
@pytest.mark.parametrize("changes", CHANGES, ids=repr)
def test_need_is_a_lower_bound_on_a_real_device(gpu, changes):
    share = DeviceShare(gpu, 1)
    data = TrainingData(SHAPES["more users"], backend=gpu)
    share.release()
    share.peak_bytes = 0
    before = gpu.xp.get_default_memory_pool().used_bytes()
    config = WALSConfig(**{"factors": 40, "iterations": 4} | changes)
    trainer = Trainer(data, config)
    for _ in range(config.iterations):
        trainer.step()
    assert device_bytes(config, data.n_users, data.n_items) <= share.measure() - before


def test_table_of_the_document_is_what_is_computed(repo_root):
    text = (repo_root / "docs/gpu.md").read_text(encoding="utf-8")
    rows = re.findall(r"(?m)^\| (\d+) \| (.*) \|$", text)
    assert [int(k) for k, _ in rows] == [34, 64, 128, 256]
    users, items = 138_493, 26_744
    for k, figures in rows:
        plain = WALSConfig(factors=int(k), pattern_weight=0)
        pattern = plain.replace(pattern_weight=1.0)
        needs = [
            4 * (int(k) + 1) * (users + items),
            device_bytes(plain, users, items),
            device_bytes(pattern, users, items),
            device_bytes(pattern.replace(momentum=0.3), users, items, patience=5),
        ]
        assert figures.split(" | ") == [size_text(need) for need in needs]
