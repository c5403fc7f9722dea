"""The work of a trial: what it tells, when it stops itself, and what becomes of its errors."""

from __future__ import annotations

import dataclasses
import gc

import cupy_stand_in
import numpy as np
import pytest
import scipy.sparse as sp
from small_models import PLAIN

from toolkit.backends import Backend, DeviceMemoryError, DeviceShare
from toolkit.errors import BackendError
from toolkit.evaluation import HeldOutRows, rank, rmse
from toolkit.solver import Trainer
from tune.executors import TrialWorker, explain, laid_out
from tune.executors import trial_worker as training
from tune.search import TrialSettings
from tune.spec import SearchMetric

CONFIG = PLAIN.replace(factors=3, iterations=6)
SETTINGS = TrialSettings(metric=SearchMetric(), backend="numpy", threads=1, gpu=0, seed=0)


@pytest.fixture(scope="module")
def ratings():
    """Some noise around two tastes: 60 users, 40 items."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((60, 2)), rng.standard_normal((40, 2))
    full = np.clip(3.5 + x @ y.T + 0.5 * rng.standard_normal((60, 40)), 1, 5).astype("float32")
    u, i = np.nonzero(rng.random((60, 40)) < 0.5)
    held = rng.random(len(u)) < 0.2
    train = sp.csr_matrix((full[u[~held], i[~held]], (u[~held], i[~held])), (60, 40))
    return {
        "train": train,
        "train_by_item": train.T.tocsr(),
        "valid": sp.coo_matrix((full[u[held], i[held]], (u[held], i[held])), (60, 40)),
    }


def all_of(worker, config):
    """Return the segments of a trial that nobody stops."""
    worker.begin(config)
    segments = [worker.advance()]
    while not segments[-1].done:
        segments.append(worker.advance())
    return segments


def rmses(segments):
    return [figure for segment in segments for figure in segment.history["valid_rmse"]]


def changed(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.fixture(autouse=True)
def segments_that_end_where_they_are_due(monkeypatch):
    """On a machine with much else to do, half a second is soon over."""
    monkeypatch.setattr(training, "_SEGMENT_SECONDS", 60.0)


def test_short_trial_is_one_segment_and_its_factors_have_its_figures(ratings):
    (segment,) = all_of(TrialWorker(ratings, SETTINGS), CONFIG)
    assert {len(figures) for figures in segment.history.values()} == {6}
    assert segment.iterations == 6
    assert segment.figures["valid_rmse"] == segment.history["valid_rmse"][-1]
    valid = ratings["valid"]
    again = rmse(segment.factors, valid.row, valid.col, valid.data, Backend())
    assert again == pytest.approx(segment.figures["valid_rmse"], abs=1e-6)
    assert segment.system["backend"] == "numpy"
    assert segment.system["peak_bytes"] > 1 << 20


def test_trials_follow_one_another_without_a_trace(ratings):
    worker = TrialWorker(ratings, SETTINGS)
    (first,) = all_of(worker, CONFIG)
    all_of(worker, CONFIG.replace(factors=7, regularization=3.0))
    (again,) = all_of(worker, CONFIG)
    assert again.history["valid_rmse"] == first.history["valid_rmse"]


def test_long_trial_is_heard_of_in_between(ratings, monkeypatch):
    monkeypatch.setattr(training, "_SEGMENT_SECONDS", 0.0)
    segments = all_of(TrialWorker(ratings, SETTINGS), CONFIG)
    assert len(segments) == 6
    assert [segment.factors is not None for segment in segments] == [False] * 5 + [True]
    assert segments[-1].iterations == 6


def test_trial_waits_at_rungs_with_factors_to_end_with(ratings):
    segments = all_of(TrialWorker(ratings, changed(rungs=(2, 4))), CONFIG)
    assert [segment.iterations for segment in segments] == [2, 4, 6]
    assert all(segment.factors.iterations == segment.iterations for segment in segments)
    none = all_of(TrialWorker(ratings, changed(rungs=(2, 4), keep_factors="none")), CONFIG)
    assert all(segment.factors is None for segment in none)


def test_plateau_goes_back_to_the_best_iteration(ratings):
    # Without much regularization, it learns the noise by heart.
    config = CONFIG.replace(factors=20, regularization=0.02, iterations=60)
    segments = all_of(TrialWorker(ratings, changed(patience=2)), config)
    history = rmses(segments)
    last = segments[-1]
    assert last.stalled
    assert len(history) < 60
    assert last.figures["valid_rmse"] == min(history)
    assert last.iterations == last.factors.iterations == 1 + history.index(min(history))


def test_ranking_is_measured_where_it_is_searched_for(ratings):
    metric = SearchMetric("recall", 3)
    (segment,) = all_of(TrialWorker(ratings, changed(metric=metric)), CONFIG)
    wanted = rank(segment.factors, ratings["valid"].tocsr(), seen=[ratings["train"]], n=3)
    assert segment.figures["valid_recall_3"] == pytest.approx(wanted.recall)
    assert segment.figures["valid_ndcg_3"] == pytest.approx(wanted.ndcg)
    assert len(segment.history["valid_recall_3"]) == 6


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (ValueError("rows\nare bad"), "ValueError: are bad"),
        (KeyError(), "KeyError"),
        (MemoryError("Unable to allocate 9 TiB"), "out of memory (Unable to allocate 9 TiB): search fewer"),
        (type("OutOfMemoryError", (Exception,), {})(), "out of memory (OutOfMemoryError): search fewer"),
        (BackendError("no device: look"), "no device: look"),
    ],
)
def test_error_is_that_trials_and_the_next_goes_well(ratings, monkeypatch, error, reason):
    worker = TrialWorker(ratings, SETTINGS)

    def fail(trainer):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(Trainer, "step", fail)
        (segment,) = all_of(worker, CONFIG)
    assert segment.done
    assert segment.factors is None
    assert segment.reason.startswith(reason)
    assert "Traceback" in segment.trace
    assert all_of(worker, CONFIG)[-1].reason is None


def test_figure_that_is_not_finite_fails_the_trial(ratings, monkeypatch):
    monkeypatch.setattr(HeldOutRows, "rmse", lambda *_: float("nan"))
    (segment,) = all_of(TrialWorker(ratings, SETTINGS), CONFIG)
    assert segment.reason == "valid RMSE is not finite after iteration 1: more regularization is needed"


def test_backend_that_is_not_there_is_refused(ratings):
    with pytest.raises(BackendError, match="cupy"):
        TrialWorker(ratings, changed(backend="cupy"))


def test_trial_is_the_same_on_every_backend(ratings, backend):
    there, here = (
        all_of(TrialWorker(ratings, changed(backend=name, gpu=1)), CONFIG) for name in (backend.name, "numpy")
    )
    assert rmses(there) == pytest.approx(rmses(here), abs=1e-4)
    assert isinstance(there[-1].factors.items.factors, np.ndarray)


@pytest.fixture
def pool(monkeypatch):
    """The memory of a made-up GPU of 8 GiB, on which CuPy seems to work."""
    monkeypatch.delenv("CUPY_GPU_MEMORY_LIMIT", raising=False)
    monkeypatch.setenv("CUPY_CACHE_DIR", "somewhere")
    # Memory that is short is looked for among what is made from now on: among all else it takes long.
    gc.freeze()
    return cupy_stand_in.install(monkeypatch)


ON_GPU = changed(backend="auto", gpu=0.25)


def test_share_of_a_gpu_is_a_cap_and_is_said(ratings, pool):
    worker = TrialWorker(ratings, ON_GPU)
    (segment,) = all_of(worker, CONFIG)
    assert segment.reason is None
    assert pool.get_limit() == (2 << 30) - (512 << 20)
    assert segment.system["backend"] == "cupy"
    assert segment.system["device"] == "Stand-in GPU, 0.25 of it"
    assert worker.share.peak_bytes == pool.peak
    assert rmses([segment]) == pytest.approx(rmses(all_of(TrialWorker(ratings, SETTINGS), CONFIG)), abs=1e-4)


def test_trial_on_a_cpu_has_no_share_and_no_folder_of_kernels(ratings, monkeypatch):
    monkeypatch.setattr(laid_out, "keep_kernels_locally", lambda: pytest.fail("asked for"))
    assert TrialWorker(ratings, changed(gpu=0.25)).share is None
    assert TrialWorker(ratings, changed(backend="auto")).share is None


def test_kernels_have_their_folder_before_cupy_is_asked_for(ratings, pool, monkeypatch):
    asked = []
    require = Backend.require
    monkeypatch.setattr(laid_out, "keep_kernels_locally", lambda: asked.append("folder"))
    monkeypatch.setattr(Backend, "require", lambda *names: asked.append("cupy") or require(*names))
    TrialWorker(ratings, ON_GPU)
    assert asked == ["folder", "cupy"]


def test_share_without_room_for_cuda_is_refused(ratings, pool):
    with pytest.raises(BackendError):
        TrialWorker(ratings, changed(backend="cupy", gpu=0.01))


def test_ratings_that_do_not_fit_are_refused(ratings, pool, monkeypatch):
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", "9000")
    cupy_stand_in.install(monkeypatch)
    with pytest.raises(BackendError, match=r"must fit into .* 8\.79 KiB \(by CUPY_GPU_.*Out of memory alloc"):
        TrialWorker(ratings, ON_GPU)


def test_trial_that_cannot_fit_fails_before_it_takes_memory(ratings, pool, monkeypatch):
    monkeypatch.setenv("CUPY_GPU_MEMORY_LIMIT", "100000")
    pool = cupy_stand_in.install(monkeypatch)
    worker = TrialWorker(ratings, ON_GPU)
    before = pool.used_bytes()
    pool.peak = 0
    (segment,) = all_of(worker, CONFIG.replace(factors=500))
    assert segment.reason.startswith("a training of 500 factors needs at least 2.3 MiB of GPU memory, but")
    assert "resources.gpu" in segment.reason
    assert not segment.fatal
    assert pool.peak <= before
    assert all_of(worker, CONFIG)[-1].reason is None


def test_memory_that_runs_out_midway_fails_the_trial_and_not_the_next(ratings, pool, monkeypatch):
    worker = TrialWorker(ratings, ON_GPU)
    before = pool.used_bytes()
    monkeypatch.setattr(DeviceShare, "require", lambda *_, **__: None)
    pool.set_limit(size=before + 60_000)
    (segment,) = all_of(worker, CONFIG.replace(factors=100))
    assert segment.reason.startswith(
        f"out of memory on the GPU, of which this process may take {worker.share} (Out of memory allocating "
    )
    assert "1.5 GiB (resources.gpu 0.25 of 8 GiB" in segment.reason
    assert "limit set to: " in segment.reason
    assert segment.reason.endswith(
        "search fewer factors, run fewer trials at once (concurrency), or give each a larger share of a GPU "
        "(resources.gpu)"
    )
    assert pool.total_bytes() == pool.used_bytes() == before
    assert all_of(worker, CONFIG)[-1].reason is None


def fail_knotted(trainer):
    """Raise errors that refer to themselves, from frames and closures that hold device memory."""
    held = trainer.factors.users.factors + 1
    error = ValueError("knotted")
    error.itself = error

    def again(n):
        return again(n - 1) if n else len(held)

    try:
        raise error
    except ValueError as first:
        raise KeyError(again(3)) from first


def test_trials_leave_nothing_on_the_device(ratings, pool, monkeypatch):
    worker = TrialWorker(ratings, changed(backend="cupy", gpu=1, patience=2, rungs=(2,)))
    arrays, used = pool.live(), pool.used_bytes()
    step = Trainer.step
    kept = []
    gc.disable()  # nothing is freed by chance
    try:
        for number in range(10):
            kind = ("goes well", "fails", "runs out", "is refused", "is stopped")[number % 5]
            with monkeypatch.context() as patched:
                if kind == "fails":
                    patched.setattr(
                        Trainer,
                        "step",
                        lambda trainer: (fail_knotted if trainer.iterations else step)(trainer),
                    )
                if kind == "runs out":
                    patched.setattr(DeviceShare, "require", lambda *_, **__: None)
                    pool.set_limit(size=used + 20_000)
                if kind == "is refused":
                    patched.setattr(worker.share, "limit", used)
                config = CONFIG.replace(factors=4 + number, pattern_weight=0.5, momentum=0.2)
                worker.begin(config)
                assert (pool.live(), pool.used_bytes(), pool.total_bytes()) == (arrays, used, used)
                segment = worker.advance()
                while not segment.done and kind != "is stopped":
                    segment = worker.advance()
                kept.append(segment)
                assert (segment.reason is None) == (kind in ("goes well", "is stopped")), segment.reason
                if segment.reason:
                    assert (pool.live(), pool.total_bytes()) == (arrays, used)
            pool.set_limit(size=worker.share.limit)
        worker.begin(CONFIG)
        assert (pool.live(), pool.used_bytes(), pool.total_bytes()) == (arrays, used, used)
    finally:
        gc.enable()
    assert {"knotted" in segment.trace for segment in kept[1::5]} == {True}


def test_process_whose_gpu_computes_no_more_ends_with_it(ratings, pool):
    # Ray then begins the trial in another process; its failure would be that of all that follow.
    worker = TrialWorker(ratings, ON_GPU)
    worker.begin(CONFIG)
    cuda = worker._laid_out.backend.xp.cuda

    def broken(*_):
        raise RuntimeError("cudaErrorIllegalAddress")

    cuda.runtime.deviceSynchronize = broken
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Trainer, "step", broken)
        with pytest.raises(BackendError):
            worker.advance()


def test_last_iteration_is_dropped_before_the_next_where_it_is_not_kept(ratings, pool):
    config = CONFIG.replace(factors=100, iterations=3, bias="none")
    peaks = []
    for patience in (0, 6):
        worker = TrialWorker(ratings, changed(backend="cupy", gpu=1, patience=patience))
        pool.peak = 0
        all_of(worker, config)
        peaks.append(pool.peak - pool.used_bytes())
        del worker
    assert peaks[0] < peaks[1]


def test_memory_error_is_its_own_explanation_where_it_has_one():
    assert explain(DeviceMemoryError("needs more: take less")) == "needs more: take less"


def test_reason_is_one_line():
    assert explain(ValueError("")) == "ValueError"
    assert explain(OSError(28, "No space left on device")) == "OSError: [Errno 28] No space left on device"
