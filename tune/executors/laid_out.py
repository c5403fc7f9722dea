"""The ratings of a process, laid out once on its device: trainings start on them and are measured on them."""

from __future__ import annotations

import math
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal, TypedDict

from toolkit.arrays import Ratings
from toolkit.backends import (
    Backend,
    BackendName,
    device_share,
    is_out_of_memory,
    keep_kernels_locally,
)
from toolkit.config import GPU_BACKENDS, WALSConfig
from toolkit.errors import BackendError
from toolkit.evaluation import HeldOutRows, rank
from toolkit.solver import Factors, PosteriorTrainer, Trainer, TrainingData
from tune.search import Checkpoint
from tune.spec import SearchMetric

if TYPE_CHECKING:
    import scipy.sparse as sp


class TrialRatings(TypedDict):
    """The ratings that every trial trains and is judged on; the test ratings are not among them."""

    train: Ratings
    train_by_item: Ratings
    valid: sp.coo_matrix


class LaidOutRatings:
    """Training and validation ratings on the device of a process.

    Parameters
    ----------
    ratings : TrialRatings
        The arrays may be mapped from an object store: nothing writes to them.
    backend : {"auto", "numpy", "numba", "cupy", "cuda"}
        ``auto`` is ``cupy`` where there is a share of a GPU, or else ``numba``.
    threads : int
        CPU threads; 0 is all.
    gpu : float
        The share of a GPU that the process has.

    Attributes
    ----------
    backend : Backend
    share : DeviceShare or None
        What the process may take of its GPU; None on a CPU.
    data : TrainingData
    valid : Pairs
        The validation ratings on the device.

    Raises
    ------
    BackendError
        When the backend cannot be used, or the share of the GPU is too small for CUDA and the ratings.
    """

    def __init__(
        self, ratings: TrialRatings, *, backend: BackendName | Literal["auto"], threads: int, gpu: float
    ) -> None:
        self.backend = _backend(backend, threads, gpu)
        self.share = device_share(self.backend, gpu)
        try:
            self.data = TrainingData(ratings["train"], ratings["train_by_item"], backend=self.backend)
            self.valid = HeldOutRows(self.backend, ratings["valid"])
            if self.share:
                # Made now, so that the memory that ratings take is known before a trial begins.
                _ = self.data.pairs, self.data.users.batches, self.data.items.batches
                self.valid.reserve()
        except Exception as error:
            if self.share is None or not is_out_of_memory(error):
                raise
            raise BackendError(
                f"the ratings must fit into the GPU memory of a trial, {self.share}, but: {error}; give each "
                "trial a larger share (resources.gpu)"
            ) from error
        # A ranking reads them row by row.
        self._matrices = ratings["train"], ratings["valid"].tocsr()

    def start(
        self, config: WALSConfig, *, seed: int, patience: int = 0, checkpoint: Checkpoint | None = None
    ) -> Trainer:
        """Return a trainer at its random start, or where a checkpoint left it.

        Raises
        ------
        DeviceMemoryError
            When the training cannot fit into the share of the GPU.
        ConfigError
            When the checkpoint is of another config or other ratings.
        """
        self._require_memory(config, patience)
        trainer = Trainer(self.data, config, seed=seed)
        if checkpoint:
            trainer.restore(checkpoint.factors, checkpoint.users_before)
        return trainer

    def start_posterior(
        self, config: WALSConfig, *, seed: int, patience: int = 0, checkpoint: Checkpoint | None = None
    ) -> PosteriorTrainer:
        """Return a sampling at its random start, or where a checkpoint left it; errors as `start`."""
        self._require_memory(config, patience)
        trainer = PosteriorTrainer(self.data, config, seed=seed)
        if checkpoint:
            trainer.restore(checkpoint.sampling or {})
        return trainer

    def _require_memory(self, config: WALSConfig, patience: int) -> None:
        if self.share:
            self.share.require(config, self.data.n_users, self.data.n_items, patience=patience)

    def step(
        self, trainer: Trainer | PosteriorTrainer, rankings: Iterable[SearchMetric] = ()
    ) -> dict[str, float]:
        """Do an iteration, and return the figures after it.

        Parameters
        ----------
        trainer : Trainer or PosteriorTrainer
            What `start` or `start_posterior` returned.
        rankings : iterable of SearchMetric
            Recall and NDCG are measured for the k of each of these.

        Returns
        -------
        dict of str to float
            ``valid_rmse``, ``train_rmse``, ``seconds`` that the iteration took, without measuring, and the
            rankings by `SearchMetric.keys`. NaN where there is nothing to measure.
        """
        began = time.perf_counter()
        trainer.step()
        figures = {
            "seconds": time.perf_counter() - began,
            "valid_rmse": self.valid.rmse(trainer.factors),
            "train_rmse": trainer.train_rmse(),
        }
        train, valid = self._matrices
        for metric in rankings:
            if metric.k and metric.key not in figures:
                found = rank(trainer.factors, valid, seen=[train], n=metric.k, backend=self.backend)
                figures |= dict(zip(metric.keys, (found.recall, found.ndcg), strict=True))
        return {key: math.nan if figure is None else float(figure) for key, figure in figures.items()}

    def release(self) -> None:
        """Give the memory of trainings that ended back, so that the next one and other processes get it."""
        if self.share:
            self.share.release()


def checkpoint_of(
    trainer: Trainer | PosteriorTrainer, best: Factors | None = None, figures: dict[str, float] | None = None
) -> Checkpoint:
    """Return the state of a training in host memory.

    Parameters
    ----------
    trainer : Trainer or PosteriorTrainer
    best : Factors, optional
        The factors of the best iteration, on the device; the last ones where they are not given.
    figures : dict of str to float, optional
        The figures of the best iteration.
    """
    last = best is None or best is trainer.factors
    users_before = sampling = None
    if isinstance(trainer, PosteriorTrainer):
        sampling = trainer.host_state()
    else:
        users_before = trainer.host_users_before()
    return Checkpoint(
        factors=trainer.host_factors(),
        users_before=users_before,
        best=None if last else trainer.host_factors(best),
        figures=dict(figures or {}),
        sampling=sampling,
    )


def _backend(name: BackendName | Literal["auto"], threads: int, gpu: float) -> Backend:
    """Return the backend of that name."""
    if name == "auto" and not gpu:
        # A device that nobody asked for may be somebody else's.
        return Backend.prefer("numba", threads)
    known: BackendName = "cupy" if name == "auto" else name
    if known in GPU_BACKENDS:
        keep_kernels_locally()
    return Backend.require(known, threads)
