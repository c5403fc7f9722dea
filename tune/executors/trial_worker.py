"""The work of a trial, wherever it runs: ratings laid out once a process, one configuration after another."""

from __future__ import annotations

import gc
import platform
import resource
import sys
import time
import traceback
from collections.abc import Sequence
from typing import Any, TypedDict

from toolkit.backends import (
    Backend,
    BackendName,
    DeviceShare,
    device_share,
    is_out_of_memory,
    keep_kernels_locally,
)
from toolkit.config import GPU_BACKENDS, WALSConfig
from toolkit.errors import BackendError, WalslabError
from toolkit.evaluation import pairs_on, rank, rmse
from toolkit.solver import Factors, Trainer, TrainingData, stopping
from tune.search.segment import Segment, TrialSettings
from tune.study import System

# A trial is heard of at least so often, in seconds: what is asked in between is asked of the search's loop.
_SEGMENT_SECONDS = 0.5


class TrialRatings(TypedDict):
    """What every trial trains and is judged on; test ratings are not among it."""

    train: Any
    train_by_item: Any
    valid: Any


class TrialWorker:
    """Trains the configurations that a search proposes.

    Parameters
    ----------
    ratings : TrialRatings
        May be mapped from an object store: it is not written to.
    settings : TrialSettings
        What all trials have in common.

    Attributes
    ----------
    share : DeviceShare or None
        What the process may take of its GPU; None on a CPU.

    Raises
    ------
    BackendError
        When the backend cannot be used, or the share of the GPU is too small for CUDA and the ratings.
    """

    def __init__(self, ratings: TrialRatings, settings: TrialSettings) -> None:
        self._settings = settings
        backend = _backend(settings)
        self.share = device_share(backend, settings.gpu)
        self._trainer: Trainer | None = None
        self._best: tuple[Factors, dict[str, float]] | None = None
        try:
            self._data = TrainingData(ratings["train"], ratings["train_by_item"], backend=backend)
            self._valid = pairs_on(backend, ratings["valid"])
            # Made now, so that it is known before a trial begins what the ratings take.
            _ = self._data.pairs
        except Exception as error:
            if self.share is None or not is_out_of_memory(error):
                raise
            raise BackendError(
                f"the ratings must fit into the GPU memory of a trial, {self.share}, but: {error}; give each "
                "trial a larger share (resources.gpu)"
            ) from error
        # A ranking reads them row by row.
        self._matrices = ratings["train"], ratings["valid"].tocsr()

    def begin(self, config: WALSConfig) -> None:
        """Take up another configuration."""
        self._config = config
        self._losses: list[float] = []
        # What the last trial held is free before the next asks for memory.
        self._trainer = self._best = None
        if self.share:
            self.share.release()

    def advance(self) -> Segment:
        """Train until there is something to tell: after half a second, where a verdict is due, at the end."""
        began = time.perf_counter()
        segment = Segment({})
        try:
            if self._trainer is None:
                self._trainer = self._start()
            while not segment.done:
                self._iterate(segment)
                if self._trainer.iterations in self._settings.rungs:
                    break
                if time.perf_counter() - began > _SEGMENT_SECONDS:
                    break
            self._tell(segment)
        except Exception as error:  # noqa: BLE001 - whatever a trial raises is that trial's, and the next may go well
            self._fail(segment, error)
        segment.system = self._system()
        return segment

    def _start(self) -> Trainer:
        data, settings = self._data, self._settings
        if self.share:
            self.share.require(self._config, data.n_users, data.n_items, patience=settings.patience)
        return Trainer(data, self._config, seed=settings.seed)

    def _iterate(self, segment: Segment) -> None:
        trainer, settings = self._trainer, self._settings
        assert trainer is not None  # noqa: S101 - begun above
        if not settings.patience:
            # It ends with what is now made: what was before may go as soon as nothing needs it.
            self._best = None
        began = time.perf_counter()
        trainer.step()
        seconds = time.perf_counter() - began
        backend = self._data.backend
        figures = {
            "valid_rmse": rmse(trainer.factors, *self._valid, backend),
            "train_rmse": trainer.train_rmse(),
            "seconds": seconds,
        }
        if settings.metric.k:
            train, valid = self._matrices
            found = rank(trainer.factors, valid, seen=[train], k=settings.metric.k, backend=backend)
            figures |= dict(zip(settings.metric.keys, (found.recall, found.ndcg), strict=True))
        for key, figure in figures.items():
            segment.history.setdefault(key, []).append(float("nan") if figure is None else float(figure))
        loss = settings.metric.loss(settings.metric.value(figures))
        if loss == float("inf"):
            raise _NotFiniteError(
                f"{settings.metric.label} is not finite after iteration {trainer.iterations}: more "
                "regularization is needed"
            )
        self._losses.append(loss)
        if not settings.patience or stopping.best(self._losses) == len(self._losses) - 1:
            self._best = trainer.factors, figures  # type: ignore[assignment]
        segment.stalled = stopping.stalled(self._losses, settings.patience)
        segment.done = segment.stalled or trainer.iterations >= trainer.config.iterations

    def _tell(self, segment: Segment) -> None:
        trainer = self._trainer
        if trainer is None or self._best is None:
            return
        factors, figures = self._best
        segment.figures = {key: float(figure) for key, figure in figures.items() if key != "seconds"}
        segment.iterations = factors.iterations
        may_end = segment.done or trainer.iterations in self._settings.rungs
        if may_end and self._settings.keep_factors:
            segment.factors = trainer.host_factors(factors)

    def _fail(self, segment: Segment, error: Exception) -> None:
        segment.done, segment.stalled, segment.factors = True, False, None
        segment.trace = traceback.format_exc()
        segment.reason = explain(error, self.share)
        _forget_frames(error)
        self._trainer = self._best = None
        if self.share:
            # One that cannot go on must not fail the trials that follow, but end: they are begun in another.
            self.share.require_alive()
            gc.collect()
            self.share.release()

    def _system(self) -> System:
        # Linux counts in KiB, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        backend = self._data.backend
        return System(
            backend=backend.name,
            device=self.share.device
            if self.share
            else f"{platform.machine()} CPU, {backend.threads} threads",
            host=platform.node(),
            peak_bytes=peak,
            device_peak_bytes=self.share.measure() if self.share else None,
        )


class _NotFiniteError(WalslabError, ArithmeticError):
    pass


def explain(error: BaseException, share: DeviceShare | None = None) -> str:
    """Return a failure, of a trial with a share of a GPU or without, in one line, with the way out if any."""
    if isinstance(error, WalslabError):
        return str(error)
    name = type(error).__name__
    if is_out_of_memory(error):
        what, ways = "out of memory", "give each a larger share (resources)"
        if share:
            what = f"out of memory on the GPU, of which this process may take {share}"
            ways = "give each a larger share of a GPU (resources.gpu)"
        return (
            f"{what} ({str(error).strip() or name}): search fewer factors, run fewer trials at once "
            f"(concurrency), or {ways}"
        )
    lines: Sequence[str] = str(error).strip().splitlines()
    return f"{name}: {lines[-1]}" if lines else name


def _backend(settings: TrialSettings) -> Backend:
    """Return the backend that was asked for."""
    if settings.backend == "auto" and not settings.gpu:
        # A device that nobody asked for may be somebody else's.
        return Backend.prefer("numba", settings.threads)
    name: BackendName = "cupy" if settings.backend == "auto" else settings.backend
    if name in GPU_BACKENDS:
        keep_kernels_locally()
    return Backend.require(name, settings.threads)


def _forget_frames(error: BaseException | None) -> None:
    """Have an error and those behind it hold no frames: a frame holds its arrays, and its function's."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
