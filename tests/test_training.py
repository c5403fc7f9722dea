"""The work of a trial: what it tells, when it stops itself, and what becomes of its errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.sparse as sp

from toolkit.backend import Backend
from toolkit.config import WALSConfig
from toolkit.errors import BackendError
from toolkit.metrics import rmse
from toolkit.ranking import rank
from toolkit.trainer import Trainer
from tune import training
from tune.metric import SearchMetric
from tune.training import TrialSettings, TrialWorker, explain

CONFIG = WALSConfig(factors=3, iterations=6, regularization=0.1)
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


def test_short_trial_is_one_segment_and_its_factors_have_its_figures(ratings):
    (segment,) = all_of(TrialWorker(ratings, SETTINGS), CONFIG)
    assert {len(figures) for figures in segment.history.values()} == {6}
    assert segment.iterations == 6
    assert segment.figures["valid_rmse"] == segment.history["valid_rmse"][-1]
    valid = ratings["valid"]
    again = rmse(segment.factors, valid.row, valid.col, valid.data, Backend("numpy"))
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
    none = all_of(TrialWorker(ratings, changed(rungs=(2, 4), keep_factors=False)), CONFIG)
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
    wanted = rank(segment.factors, ratings["valid"].tocsr(), seen=[ratings["train"]], k=3)
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
    monkeypatch.setattr(training, "rmse", lambda *_: float("nan"))
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


def test_reason_is_one_line():
    assert explain(ValueError("")) == "ValueError"
    assert explain(OSError(28, "No space left on device")) == "OSError: [Errno 28] No space left on device"
