"""Runs trials in one process: it lays the ratings out once, then trains one configuration after another."""

from __future__ import annotations

import contextlib
import gc
import math
import platform
import resource
import sys
import time
import traceback
from collections.abc import Mapping, Sequence

from toolkit.backends import DeviceShare, is_out_of_memory
from toolkit.config import WALSConfig
from toolkit.errors import WalslabError
from toolkit.solver import Baselines, Factors, PosteriorTrainer, Trainer
from tune.executors.laid_out import LaidOutRatings, TrialRatings, checkpoint_of
from tune.executors.trial_losses import TrialLosses
from tune.search import Checkpoint, Segment, TrialSettings
from tune.study import System

# A trial reports after so many seconds at the latest, so that budgets and progress are up to date.
_SEGMENT_SECONDS = 0.5


class TrialWorker:
    """Trains the configurations that a search proposes.

    Parameters
    ----------
    ratings : TrialRatings
        The arrays may be mapped from an object store: nothing writes to them.
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
        self._laid_out = LaidOutRatings(
            ratings, backend=settings.backend, threads=settings.threads, gpu=settings.gpu
        )
        self.share = self._laid_out.share
        self._trainer: Trainer | PosteriorTrainer | None = None
        # The factors that the trial would end with, and their figures.
        self._best: tuple[Factors, dict[str, float]] | None = None

    def begin(
        self,
        config: WALSConfig,
        *,
        to_beat: float = math.inf,
        checkpoint: Checkpoint | None = None,
        with_baselines: bool = False,
    ) -> None:
        """Take up another trial.

        Parameters
        ----------
        config : WALSConfig
            What to train.
        to_beat : float, default infinite
            The least loss of the trials that ended. Where only the best trial's factors are kept, this trial
            hands its factors over only with a smaller loss.
        checkpoint : Checkpoint, optional
            Where to go on from.
        with_baselines : bool, default False
            Whether the first segment also brings what the baselines of the ratings reach. They are measured
            when its iterations are done, so that no trial begins later for them.
        """
        self._config, self._to_beat, self._checkpoint = config, to_beat, checkpoint
        self._with_baselines = with_baselines
        self._losses = TrialLosses(
            self._settings, config.iterations, checkpoint.history if checkpoint else None
        )
        # What the last trial held is free before the next asks for memory.
        self._trainer = self._best = None
        self._laid_out.release()
        self._saved_at = time.perf_counter()

    def advance(self) -> Segment:
        """Train until there is something to tell: after half a second, where a verdict is due, at the end."""
        began = time.perf_counter()
        segment = Segment({})
        try:
            if self._trainer is None:
                self._trainer = self._start()
            # No local name: it would keep the arrays of a trial that fails.
            while not segment.done:
                self._iterate(self._trainer, segment)
                if self._losses.at_rung or time.perf_counter() - began > _SEGMENT_SECONDS:
                    break
            self._hand_over(self._trainer, segment)
            if self._with_baselines:
                segment.baselines, self._with_baselines = self._baselines(), False
        except Exception as error:  # noqa: BLE001 - whatever a trial raises is that trial's, and the next may go well
            self._fail(segment, error)
        segment.system = self._system()
        if self._trainer:
            segment.system["solver"] = self._trainer.solver
        return segment

    def _baselines(self) -> dict[str, float] | None:
        """Return what `Segment` has of the baselines, and None where they fail: no trial fails for them."""
        with contextlib.suppress(Exception):
            baselines = Baselines(self._laid_out.data, self._laid_out.valid)
            if errors := baselines.errors(self._laid_out.valid):
                return {
                    "mean_rmse": errors["mean_rmse"],
                    "bias_rmse": errors["bias_rmse"],
                    "damping": baselines.damping,
                }
        return None

    def _start(self) -> Trainer | PosteriorTrainer:
        settings, checkpoint = self._settings, self._checkpoint
        sampled = settings.model == "posterior"
        start = self._laid_out.start_posterior if sampled else self._laid_out.start
        trainer = start(self._config, seed=settings.seed, patience=settings.patience, checkpoint=checkpoint)
        if checkpoint:
            self._checkpoint = None
            on_device = self._laid_out.backend.asarray
            best = checkpoint.best.mapped(on_device) if checkpoint.best else trainer.factors
            self._best = best, checkpoint.figures
        return trainer

    def _iterate(self, trainer: Trainer | PosteriorTrainer, segment: Segment) -> None:
        settings, losses = self._settings, self._losses
        if not settings.patience:
            # The trial ends with what is now made: what was before may go as soon as nothing needs it.
            self._best = None
        figures = self._laid_out.step(trainer, [settings.metric])
        for key, figure in figures.items():
            segment.history.setdefault(key, []).append(figure)
        losses.add(figures)
        if losses.is_best:
            self._best = trainer.factors, {key: figures[key] for key in figures if key != "seconds"}
        segment.stalled = losses.stalled
        segment.done = segment.stalled or losses.through

    def _hand_over(self, trainer: Trainer | PosteriorTrainer, segment: Segment) -> None:
        """Add to a segment what the trial would end with, and a checkpoint once a minute."""
        if self._best is None:
            return
        factors, figures = self._best
        segment.figures = dict(figures)
        segment.iterations = factors.iterations
        if (segment.done or self._losses.at_rung) and self._may_be_kept(figures):
            segment.factors = trainer.host_factors(trainer.finished(factors))
        if not segment.done and time.perf_counter() - self._saved_at >= self._settings.checkpoint_seconds:
            segment.checkpoint = checkpoint_of(trainer, factors, figures)
            self._saved_at = time.perf_counter()

    def _may_be_kept(self, figures: Mapping[str, float]) -> bool:
        """Tell whether the study may keep the factors that have these figures."""
        metric, keep = self._settings.metric, self._settings.keep_factors
        return keep == "all" or (keep == "best" and metric.loss(metric.value(figures)) < self._to_beat)

    def _fail(self, segment: Segment, error: Exception) -> None:
        segment.done, segment.stalled, segment.factors, segment.checkpoint = True, False, None, None
        segment.trace = traceback.format_exc()
        segment.reason = explain(error, self.share)
        _forget_frames(error)
        self._trainer = self._best = None
        if self.share:
            # A process whose device fails must end, so that the next trials begin in another process.
            self.share.require_alive()
            gc.collect()
            self.share.release()

    def _system(self) -> System:
        # Linux counts in KiB, macOS in bytes.
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        backend = self._laid_out.backend
        return System(
            backend=backend.name,
            device=self.share.device
            if self.share
            else f"{platform.machine()} CPU, {backend.threads} threads",
            host=platform.node(),
            peak_bytes=peak,
            device_peak_bytes=self.share.measure() if self.share else None,
        )


def explain(error: BaseException, share: DeviceShare | None = None) -> str:
    """Return why a trial failed, in one line, with the way out if there is one.

    Parameters
    ----------
    error : BaseException
        What the trial raised.
    share : DeviceShare, optional
        The share of a GPU that the process has.
    """
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


def _forget_frames(error: BaseException | None) -> None:
    """Drop the frames of an error and of its causes, because a frame holds arrays."""
    while error is not None:
        error.__traceback__ = None
        error = error.__cause__ or error.__context__
