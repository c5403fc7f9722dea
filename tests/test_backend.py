"""Choosing a backend, what it says when CuPy cannot be used, its linear solves, and its threads."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
import time
import types
import warnings
from functools import partial

import forks
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from toolkit import WALSConfig
from toolkit.backends import Backend, CupyBackend, NumbaBackend, blas, cupy_problem
from toolkit.errors import BackendError, ConfigError, WalslabError
from toolkit.solver import PosteriorTrainer, Trainer, TrainingData

NOT_INSTALLED = "cupy is not installed: pip install 'walslab[gpu]'"
NO_DEVICE = "cupy is installed, but no CUDA device is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES"
BROKEN = "cupy is installed, but its device is not usable: CUDA driver version is insufficient"


def pretend(monkeypatch, *, installed, available=False, allocates=False):
    """Put a CuPy in place, whatever this machine has: absent, without a device, broken, or usable."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util,
        "find_spec",
        lambda name, *rest: (object() if installed else None) if name == "cupy" else find_spec(name, *rest),
    )

    def zeros(_):
        if not allocates:
            raise RuntimeError("CUDA driver version is insufficient")

    cupy = types.ModuleType("cupy")
    cupy.cuda = types.SimpleNamespace(is_available=lambda: available)
    cupy.zeros = zeros
    monkeypatch.setitem(sys.modules, "cupy", cupy)


UNUSABLE = [
    pytest.param({"installed": False}, NOT_INSTALLED, id="not installed"),
    pytest.param({"installed": True}, NO_DEVICE, id="no device"),
    pytest.param({"installed": True, "available": True}, BROKEN, id="broken"),
]


@pytest.mark.parametrize(("state", "text"), UNUSABLE)
def test_require_says_why_cupy_cannot_be_used(monkeypatch, state, text):
    pretend(monkeypatch, **state)
    assert cupy_problem() == text
    with pytest.raises(BackendError) as caught:
        Backend.require("cupy")
    assert str(caught.value) == text
    assert isinstance(caught.value, WalslabError)
    assert isinstance(caught.value, RuntimeError)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("state", "text"), UNUSABLE)
@pytest.mark.parametrize("choose", [Backend.prefer, Backend.require])
def test_auto_falls_back_to_numba_and_then_to_numpy(monkeypatch, state, text, choose):
    pretend(monkeypatch, **state)
    assert (
        choose("auto", threads=3).name
        == Backend.prefer("cupy").name
        == Backend.prefer("numba").name
        == "numba"
    )
    assert choose("auto", threads=3).threads == 3
    monkeypatch.setattr(NumbaBackend, "problem", lambda: "numba is not usable")
    assert (
        choose("auto", threads=3).name
        == Backend.prefer("cupy").name
        == Backend.prefer("numba").name
        == "numpy"
    )
    with pytest.raises(BackendError, match="numba is not usable"):
        Backend.require("numba")


@pytest.mark.parametrize("choose", [Backend.prefer, Backend.require])
def test_a_usable_cupy_is_chosen_unless_numpy_is_asked_for(monkeypatch, choose):
    pretend(monkeypatch, installed=True, available=True, allocates=True)
    assert cupy_problem() is None
    assert Backend.prefer("numba").name == "numba"
    assert choose("auto").name == "cupy"
    # Rows are solved side by side by the GPU; threads of ours would only queue for it.
    assert choose("cupy", threads=8).threads == 1
    assert choose("numpy").xp is np


@pytest.mark.parametrize(
    ("limit", "spare", "batch"),
    [
        (80 << 30, None, 1 << 31),
        (4 << 30, None, 1 << 29),
        (4 << 30, 1 << 30, 1 << 28),
        (1 << 30, -5, 1 << 20),
    ],
)
def test_batches_are_cut_to_the_memory_there_is(monkeypatch, limit, spare, batch):
    pretend(monkeypatch, installed=True, available=True, allocates=True)
    backend = CupyBackend()
    whole = backend.batch_entries, backend.batch_scores
    backend.fit_in(limit, spare)
    assert backend.batch_bytes == batch
    assert 0 < backend.batch_entries <= whole[0]
    assert 0 < backend.batch_scores <= whole[1]
    if limit > 64 << 30:
        assert (backend.batch_entries, backend.batch_scores) == whole


def test_numpy_never_asks_for_cupy(monkeypatch):
    monkeypatch.setattr(CupyBackend, "problem", lambda: pytest.fail("cupy was looked for"))
    assert Backend.prefer("numpy").name == Backend.require("numpy").name == "numpy"


def test_no_threads_means_every_processor_this_process_may_use():
    assert Backend().threads == len(os.sched_getaffinity(0))
    assert Backend(3).threads == 3
    assert repr(Backend(3)) == "Backend(threads=3)"


def test_threads_are_counted_where_the_system_knows_no_affinity(monkeypatch):
    monkeypatch.delattr(os, "sched_getaffinity")
    assert Backend().threads == os.cpu_count()


def test_arrays_go_to_the_backend_and_back(backend):
    there = backend.asarray([[1, 2], [3, 4]], "float32")
    assert isinstance(there, backend.xp.ndarray)
    assert there.dtype == "float32"
    back = backend.to_numpy(there)
    assert isinstance(back, np.ndarray)
    assert back.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (5, 1), (7, 4), (3, 33), (2, 300)])
def test_a_stack_of_systems_is_solved(backend, n, m, dtype):
    rng = np.random.default_rng(n + m)
    root = rng.standard_normal((n, m, m + 5))
    matrices, vectors = root @ root.transpose(0, 2, 1) + m * np.eye(m), rng.standard_normal((n, m))
    solved = backend.solve_spd(backend.asarray(matrices, dtype), backend.asarray(vectors, dtype))
    assert solved.dtype == dtype
    expected = np.stack([np.linalg.solve(a, b) for a, b in zip(matrices, vectors, strict=True)])
    np.testing.assert_allclose(backend.to_numpy(solved), expected, atol=1e-4 if dtype == "float32" else 1e-11)


def test_a_singular_system_is_not_solved_to_finite_numbers(backend):
    matrices = backend.asarray(np.array([[[1.0, 1], [1, 1]]]))
    solved = backend.to_numpy(backend.solve_spd(matrices, backend.asarray(np.array([[1.0, 2]]))))
    assert not np.isfinite(solved).all()


@pytest.mark.parametrize("threads", [1, 2, 4])
@pytest.mark.parametrize("n", [0, 1, 2, 50])
def test_each_batch_is_worked_on_once(threads, n):
    lock, seen = threading.Lock(), []

    def work(batch):
        with lock:
            seen.append(batch)

    Backend(threads).each(work, list(range(n)))
    assert sorted(seen) == list(range(n))


def test_two_threads_work_side_by_side():
    # Each waits for the other: one after the other, the barrier would break.
    barrier = threading.Barrier(2, timeout=60)
    Backend(2).each(lambda _: barrier.wait(), [0, 1])


@pytest.mark.parametrize("threads", [1, 2])
def test_an_error_in_a_batch_reaches_the_caller(threads):
    def work(batch):
        if batch == 3:
            raise ZeroDivisionError("batch 3")

    with pytest.raises(ZeroDivisionError, match="batch 3"):
        Backend(threads).each(work, list(range(6)))


@pytest.mark.parametrize("failing", ["the caller's", "another"])
def test_an_error_in_any_thread_reaches_the_caller_and_no_further_batch_is_begun(failing):
    both, seen = threading.Barrier(2, timeout=60), []

    def work(batch):
        seen.append(batch)
        if batch < 2:
            both.wait()
            if (threading.current_thread() is threading.main_thread()) == (failing == "the caller's"):
                raise ZeroDivisionError
            ended.wait(60)

    ended = threading.Event()
    left = list(range(100))
    threading.Timer(0.2, ended.set).start()  # the other batch goes on after the error
    with pytest.raises(ZeroDivisionError):
        Backend(2).each(work, left)
    assert sorted(seen) == [0, 1]


def test_work_on_a_batch_may_itself_work_on_batches_side_by_side():
    backend, seen = Backend(2), []
    backend.each(lambda outer: backend.each(lambda inner: seen.append((outer, inner)), range(5)), range(5))
    assert sorted(seen) == [(outer, inner) for outer in range(5) for inner in range(5)]


def test_a_process_that_forked_works_on_batches_too():
    barrier = threading.Barrier(2, timeout=60)
    Backend(2).each(lambda _: barrier.wait(), [0, 1])  # another thread has been started
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # from Python 3.12 on, of a fork beside threads
        child = os.fork()
    if not child:
        barrier, code = threading.Barrier(2, timeout=60), 1
        try:
            Backend(2).each(lambda _: barrier.wait(), [0, 1])
            code = 0
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.fixture
def blas_threads():
    """How many threads each BLAS has; two, to begin with."""
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def numbers():
        return [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]

    def limit(number):
        """Set the number by a thread that ends: while it lives, threadpoolctl obeys no other."""
        thread = threading.Thread(target=threadpoolctl.threadpool_limits, args=(number, "blas"))
        thread.start()
        thread.join()

    before = max(numbers())
    limit(2)
    yield numbers
    limit(before)
    assert max(numbers()) == before


def test_blas_has_one_thread_while_batches_are_worked_on_and_its_own_number_after(blas_threads):
    before, during = blas_threads(), []
    Backend(1).each(lambda _: during.extend(blas_threads()), [0])
    assert set(during) <= {1}
    assert blas_threads() == before
    assert set(before) <= {2}


@pytest.mark.parametrize("kind", [Trainer, PosteriorTrainer])
def test_a_step_on_one_thread_uses_no_thread_of_blas(blas_threads, kind):
    # Threads of BLAS that were woken for a small product go on spinning beside all that follows.
    ratings = sp.random_array((1500, 900), density=0.03, rng=0, format="csr", dtype=np.float32)
    data = TrainingData(ratings, backend=Backend.require("numba", 1))
    trainer = kind(data, WALSConfig(factors=32, pattern_weight=1.0), seed=0)
    trainer.step()
    own, all_threads = time.thread_time(), time.process_time()
    for _ in range(4):
        trainer.step()
    own, all_threads = time.thread_time() - own, time.process_time() - all_threads
    assert all_threads < 1.3 * own


@pytest.mark.parametrize("n", [0, 5, 8192, 20_000])
@pytest.mark.parametrize("dtype", [None, "float64"])
def test_a_gram_matrix_has_the_same_bits_on_any_number_of_threads(n, dtype):
    table = np.random.default_rng(n).standard_normal((n, 7), dtype=np.float32)
    one, two = (Backend(threads).gram(table, dtype) for threads in (1, 2))
    np.testing.assert_array_equal(one, two)
    assert one.dtype == (dtype or "float32")
    np.testing.assert_allclose(one, table.astype("f8").T @ table.astype("f8"), rtol=1e-4, atol=0.01)


def test_a_blas_that_is_loaded_later_is_limited_too():
    program = """
import threadpoolctl
from toolkit import Backend
backend = Backend.require("numpy", 1)
with backend.one_blas_thread():
    pass
import scipy.linalg
with backend.one_blas_thread():
    found = [lib["num_threads"] for lib in threadpoolctl.threadpool_info() if lib["user_api"] == "blas"]
raise SystemExit(set(found) != {1})
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "2"}
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=300, env=environment)
    assert done.returncode == 0


def test_work_is_done_without_threadpoolctl(monkeypatch):
    monkeypatch.setitem(sys.modules, "threadpoolctl", None)
    seen = []
    Backend(1).each(seen.append, [1, 2])
    assert seen == [1, 2]


def test_callers_of_one_blas_thread_may_come_and_go_in_any_order(blas_threads):
    before = blas_threads()
    started, inside = threading.Barrier(6), []

    def work(delay):
        started.wait(timeout=60)
        with Backend(threads=1).one_blas_thread():
            time.sleep(delay)
            inside.extend(blas_threads())

    callers = [threading.Thread(target=work, args=(0.01 * n,)) for n in range(6)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert set(inside) == {1}
    assert blas_threads() == before


def test_a_caller_that_ctrl_c_stops_half_way_leaves_no_limit(blas_threads, monkeypatch):
    before, stopped = blas_threads(), []

    class Lock:
        def __enter__(self):
            stopped.append(1)
            raise KeyboardInterrupt

        def __exit__(self, *_):
            pass

    with (
        pytest.raises(KeyboardInterrupt),
        monkeypatch.context() as patch,
        Backend(threads=1).one_blas_thread(),
    ):
        patch.setattr(blas, "_lock", Lock())
    assert stopped
    with Backend(threads=1).one_blas_thread():
        assert set(blas_threads()) == {1}
    assert blas_threads() == before


def test_a_training_that_outlives_the_main_thread_ends_well():
    program = """
import threading, time
import numpy as np
from toolkit import WALS

def train():
    threading.main_thread().join()
    time.sleep(0.1)
    pairs = np.arange(400)
    model = WALS(factors=2, iterations=2, threads=2, backend="numpy")
    print(model.fit((pairs // 20, pairs % 20, pairs % 5 + 1.0)))

threading.Thread(target=train).start()
"""
    done = forks.run(program)
    assert done.returncode == 0, done.stderr
    assert "fitted: 20 users" in done.stdout


@given(
    st.text("abcnumpy_ Äß", max_size=12).filter(
        lambda name: name not in ("auto", "numpy", "numba", "cupy", "cuda")
    )
)
@pytest.mark.parametrize("choose", [Backend.prefer, Backend.require])
def test_a_name_that_no_backend_has_is_refused(choose, name):
    with pytest.raises(ConfigError, match=r"backend must be one of auto, numpy, numba, cupy, cuda, but got"):
        choose(name)


def test_the_nearest_name_is_offered():
    with pytest.raises(ConfigError, match=r"got 'nubma' \(did you mean 'numba'"):
        Backend.require("nubma")


@pytest.mark.parametrize("threads", [-1, 1.5, "2", True, None, 4097])
@pytest.mark.parametrize(
    "make", [Backend, partial(Backend.require, "numpy"), partial(Backend.prefer, "numba")]
)
def test_threads_that_are_no_number_of_threads_are_refused(make, threads):
    with pytest.raises(ConfigError, match="threads must be"):
        make(threads)


def test_a_forked_process_limits_blas_by_itself():
    program = """
import os, threadpoolctl
from toolkit import Backend
with Backend.require("numpy", 1).one_blas_thread():
    child = os.fork()
    if not child:
        with Backend.require("numpy", 1).one_blas_thread():
            os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert forks.run(program).returncode == 0
