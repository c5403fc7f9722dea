"""A model of one training whose posterior can be sampled: its mean factors, and intervals of predictions."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, cast, overload

import numpy as np

from toolkit.arrays import AnySparse, FloatArray, IdLike, Ratings, SideName, Table
from toolkit.backends import Backend
from toolkit.config import SolverName, WALSConfig
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.errors import ConfigError
from toolkit.inputs import checked_path
from toolkit.models.base import Model
from toolkit.models.fitted import Training
from toolkit.models.intervals import (
    Interval,
    checked_probability,
    interval_of,
)
from toolkit.models.placed import PlacedRatings
from toolkit.models.placing import DaskName, Where, placed_input
from toolkit.models.posterior import SampleProgress, SamplingPlan
from toolkit.models.sampling import sample
from toolkit.models.training import Progress
from toolkit.models.updating import updated
from toolkit.predictor import Side, predict_rows
from toolkit.solver import BaselineErrors, Factors


class SampledModel(Model):
    """A model of one training, or of one posterior.

    Attributes
    ----------
    config : WALSConfig
    options : RunOptions
    history : sequence of Progress
        Figures of every iteration of the last `fit`, or sweep of the last `fit_posterior`; empty before.
    backend_name : str or None
        The array backend that it ran on.
    baselines : BaselineErrors or None
        What the model has to beat: ``mean_rmse`` of the mean rating, and ``bias_rmse`` of mean and biases
        without factors, on the validation ratings of the last fit; None where it had none.
    solver_name : {"exact", "cg"} or None
        How the last `fit` solved the rows; None after `fit_posterior`.
    posterior : Posterior or None
        What is kept of the posterior distribution after `fit_posterior`.
    """

    _fitted: Training | None

    config: WALSConfig
    history: Sequence[Progress] = ()
    backend_name: str | None = None
    baselines: BaselineErrors | None = None
    solver_name: SolverName | None = None

    @property
    def state(self) -> Training:
        """All that the model knows, as one object that does not change."""
        return cast("Training", super().state)

    @property
    def factors(self) -> Factors:
        """The fitted numbers, in host memory."""
        return self.state.factors

    @property
    def ended_with(self) -> Progress | None:
        """The figures of the iteration whose factors the model has; None where there was no training."""
        done = self.factors.iterations if self.history else 0
        return self.history[done - 1] if 0 < done <= len(self.history) else None

    def fit_posterior(
        self,
        ratings: RatingsDataset | AnySparse | Table | PlacedRatings,
        *,
        samples: int = 200,
        burn_in: int = 30,
        chains: int = 1,
        keep: int = 0,
        columns: Sequence[object] | None = None,
        valid: AnySparse | Table | None = None,
        user_ids: IdLike | IdTable | None = None,
        item_ids: IdLike | IdTable | None = None,
        patience: int = 0,
        checkpoint: str | Path | None = None,
        memory: str | int | None = None,
        dask_scheduler: str | None = None,
        dask: DaskName | None = None,
        on_sample: Callable[[SampleProgress], None] | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Sample the posterior distribution, and take the mean of the factors; forget what was fitted before.

        Penalties need no choice, as the priors of users and items are sampled, too. Of the hyperparameters,
        the rank and ``pattern_weight`` matter; ``regularization`` is that of the pattern factors alone.
        ``docs/posterior.md`` states the model.

        Parameters
        ----------
        ratings, columns, valid, user_ids, item_ids
            As `fit`.
        samples : int, default 200
            Sweeps of each chain that count.
        burn_in : int, default 30
            Sweeps of each chain before them.
        chains : int, default 1
            Independent chains. The first one gives the mean factors; ``posterior.facts`` says whether all of
            them agree.
        keep : int, default 0
            Samples that the model keeps for intervals. Each takes as much memory as the factors.
        patience : int, default 0
            Stop when so many samples have not lowered the validation RMSE of the mean of all samples; 0
            draws them all.
        checkpoint : str or Path, optional
            A directory that is written every ten sweeps. When it is there at the start, sampling goes on from
            it, to the same numbers. It is not removed.
        memory, dask_scheduler, dask
            As `fit`. The validation ratings are in the memory of this process, wherever the others are: what
            is summed up of the predictions of each takes 28 bytes.
        on_sample : callable, optional
            Called with each sweep's `SampleProgress`.
        progress : bool, optional
            As `fit`.

        Returns
        -------
        Self
            This model.

        Raises
        ------
        ConfigError
            As `fit`; when a number is too small, the config has an ``unobserved_weight``, the solver is
            ``cg``, or the checkpoint is of another sampling.
        ModelError
            When the checkpoint cannot be read or written.
        UnknownIdError, RatingsError, SolverError, BackendError
            As `fit`.
        """
        plan = SamplingPlan(samples, burn_in, chains, keep, patience)
        if self.options.solver == "cg":
            raise ConfigError("solver cg is that of a training, and a posterior takes none: leave it at auto")
        where, ids = Where(memory, dask_scheduler, dask), (user_ids, item_ids)
        with placed_input(
            ratings, self.config, self.options, where, valid=valid, ids=ids, columns=columns
        ) as placed:
            self._fitted, self.history, self.backend_name, self.baselines, self.posterior = sample(
                placed,
                self.config,
                self.options,
                plan,
                checkpoint=None if checkpoint is None else checked_path("checkpoint", checkpoint),
                on_sample=on_sample,
                progress=progress,
            )
        self.solver_name = None
        return self

    @overload
    def predict_new(self, ratings: AnySparse, items: IdLike, *, interval: None = ...) -> FloatArray: ...
    @overload
    def predict_new(self, ratings: AnySparse, items: IdLike, *, interval: float) -> Interval: ...
    def predict_new(
        self, ratings: AnySparse, items: IdLike, *, interval: float | None = None
    ) -> FloatArray | Interval:
        """Return predicted ratings of new users, who are given by their ratings, as `fold_in` has them.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (n, n_items)
            One row for each new user, columns by ``model.items.rows(ids)``.
        items : id, or array-like of ids, shape (n,)
            The item of each user.
        interval : float, optional
            As `predict`. A user without ratings is unknown: who could be anybody, by the priors.

        Returns
        -------
        array of float, shape (n,)
            With an `interval` three of them, as `predict`. All are clipped where the model clips.

        Raises
        ------
        ConfigError
            When the ratings have another number of columns, or there is not one item for each user; when an
            interval is no probability, or the model keeps no samples.
        UnknownIdError
            When an item was not in the ratings of the model.
        RatingsError, SolverError
            As `fold_in`.
        """
        checked = self._checked_rows(ratings, "user")
        columns = self.items.rows(items)
        if len(columns) not in {1, checked.shape[0]}:
            raise ConfigError(f"each of {checked.shape[0]} users needs an item, but got {len(columns)}")
        columns = np.broadcast_to(columns, checked.shape[0])
        backend = self._backend(checked.shape[0])
        f, side = self.factors, self._fold_in(checked, "user", backend)
        mean = predict_rows(side, f.items.at(columns), f, np, clip=False)
        if interval is None:
            return mean if f.scale is None else np.clip(mean, *f.scale)
        probability = checked_probability(interval)
        rows = np.where(np.diff(checked.indptr) > 0, np.arange(checked.shape[0]), -1)
        deviation = self.deviations(rows, columns, new=self.folded_samples(checked, backend))
        return interval_of(mean, deviation, probability, f.scale)

    def _fold_in(self, ratings: Ratings, side: SideName, backend: Backend) -> Side:
        return self.state.fold_in(ratings, side, backend)

    def _update(self, ratings: Ratings, ids: IdLike, side: SideName, backend: Backend) -> None:
        samples = self._samples() if self.posterior is not None and self.posterior.samples else []
        self._fitted, *changed = updated([self.state, *samples], ratings, ids, side, backend)
        if self.posterior is not None:
            self.posterior = dataclasses.replace(self.posterior, samples=[each.factors for each in changed])
