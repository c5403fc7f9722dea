"""Weighted alternating least squares: the model of one training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np

from toolkit.arrays import AnySparse, IdLike, IntArray, Ratings, Table
from toolkit.config import RunOptions, WALSConfig
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.errors import ConfigError
from toolkit.inputs import checked_path, checked_ratings, checked_type
from toolkit.models import files
from toolkit.models.explaining import Contributions
from toolkit.models.fitted import Training
from toolkit.models.model_html import model_html
from toolkit.models.parameters import Parameters, merged, shows_parameters
from toolkit.models.placed import PlacedRatings
from toolkit.models.placing import DaskName, Where, placed_input
from toolkit.models.posterior import Posterior
from toolkit.models.sampled import SampledModel
from toolkit.models.training import Progress, train
from toolkit.models.training_input import checked_input
from toolkit.solver import BaselineErrors, Factors


class WALS(Parameters, SampledModel, header_words=("config", "options", "history")):
    """Weighted alternating least squares for explicit ratings.

    Parameters
    ----------
    config : WALSConfig, optional
        Hyperparameters; what identifies the model.
    options : RunOptions, optional
        Seed, backend, threads, precision; where and how it runs.
    **parameters
        Hyperparameters and options by their names in these two classes, such as ``factors=64`` and
        ``seed=1``. They change what `config` and `options` say.

    Attributes
    ----------
    config : WALSConfig
    options : RunOptions
    history : sequence of Progress
        Figures of every iteration of the last `fit`; empty before.
    backend_name : str or None
        The array backend that the last `fit` ran on.
    baselines : BaselineErrors or None
        What the model has to beat: ``mean_rmse`` of the mean rating, and ``bias_rmse`` of mean and biases
        without factors, on the validation ratings of the last `fit`; None where it had none.
    solver_name : {"exact", "cg"} or None
        How the last `fit` solved the rows, where the option ``solver`` is ``"auto"``.
    posterior : Posterior or None
        What is kept of the posterior distribution after `fit_posterior`.

    Raises
    ------
    ConfigError
        When an argument is of another class, a name is unknown, or a value is out of range.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import WALS
    >>> ratings = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> model = WALS(factors=4, iterations=5).fit(ratings)
    >>> model
    WALS(factors=4, iterations=5), fitted: 30 users, 20 items, 180 ratings
    >>> items, scores = model.recommend(7, n=3)
    >>> len(items)
    3
    >>> model.fold_in(ratings[:2]).factors.shape
    (2, 4)
    """

    @shows_parameters
    def __init__(
        self, config: WALSConfig | None = None, options: RunOptions | None = None, **parameters: Any
    ) -> None:
        config = WALSConfig() if config is None else config
        options = RunOptions() if options is None else options
        self.config, self.options = merged(config, options, parameters)

    def __repr__(self) -> str:
        """Return what makes the model, and what it was fitted on."""
        return self._with_sizes(self.parameters)

    def _repr_html_(self) -> str:
        """Return the model for a notebook: hyperparameters, and the RMSE beside that of its baselines."""
        return model_html(repr(self), self.config, self.history, self.ended_with, self.baselines)

    @classmethod
    def from_factors(
        cls,
        factors: Factors,
        rated: AnySparse,
        *,
        user_ids: IdLike | IdTable | None = None,
        item_ids: IdLike | IdTable | None = None,
        options: RunOptions | None = None,
    ) -> Self:
        """Return a fitted model of factors that were computed elsewhere.

        Parameters
        ----------
        factors : Factors
            In host memory.
        rated : scipy.sparse matrix, shape (n_users, n_items)
            The ratings that the model knows.
        user_ids, item_ids : array-like or IdTable, shape (n_users,) and (n_items,), optional
            Ids of rows and columns; row numbers where they are not given.
        options : RunOptions, optional
            Where and how the model runs.

        Raises
        ------
        ConfigError
            When ids, ratings and factors are not of the same users and items.
        RatingsError
            When `rated` is not a matrix of finite ratings, each pair once.
        """
        checked_type("factors", factors, Factors, "what a Trainer holds")
        dtype = str(factors.items.factors.dtype)
        given = checked_input(checked_ratings(rated, dtype), dtype, ids=(user_ids, item_ids))
        shape = (len(factors.users.bias), len(factors.items.bias))
        if given.ratings.shape != shape:
            raise ConfigError(
                f"rated must have the shape of the factors, {shape}, but has {given.ratings.shape}"
            )
        counts = np.bincount(given.ratings.indices, minlength=shape[1])
        training = Training(factors, given.users, given.items, given.ratings, counts, counts)
        return cls.holding(training, options=options)

    @classmethod
    def holding(
        cls,
        training: Training,
        *,
        options: RunOptions | None = None,
        history: Sequence[Progress] = (),
        baselines: BaselineErrors | None = None,
    ) -> Self:
        """Return a fitted model of what a training left.

        Parameters
        ----------
        training : Training
        options : RunOptions, optional
            Where and how the model runs.
        history : sequence of Progress
            Figures of the training's iterations.
        baselines : BaselineErrors, optional
            What the model has to beat on the validation ratings.
        """
        model = cls(training.factors.config, options)
        model._fitted, model.history, model.baselines = training, list(history), baselines
        return model

    def fit(
        self,
        ratings: RatingsDataset | AnySparse | Table | PlacedRatings,
        *,
        columns: Sequence[object] | None = None,
        valid: AnySparse | Table | None = None,
        user_ids: IdLike | IdTable | None = None,
        item_ids: IdLike | IdTable | None = None,
        patience: int = 0,
        memory: str | int | None = None,
        dask_scheduler: str | None = None,
        dask: DaskName | None = None,
        checkpoint: str | Path | None = None,
        on_iteration: Callable[[Progress], None] | None = None,
        progress: bool | None = None,
    ) -> Self:
        """Train on a table, a sparse matrix, or a dataset's training ratings; forget what was fitted before.

        Parameters
        ----------
        ratings : table, RatingsDataset, PlacedRatings, or scipy.sparse matrix of shape (n_users, n_items)
            A table has a row for each rating: a pandas DataFrame, a table of Polars, Arrow or another that
            offers Arrow's C stream, or the three arrays (users, items, ratings) as a tuple. Ids are whole
            numbers or text. The stored entries of a matrix are the observed ratings. A dataset brings its
            ids and validation ratings.
        columns : sequence of str, length 3, optional
            The columns of users, items and ratings in a table; by default those that are named so, as in
            ``user_id`` and ``movieId`` (`toolkit.tables.ALIASES`).
        valid : table, or scipy.sparse matrix of the same shape, optional
            Ratings whose RMSE is measured after every iteration; never trained on. Beside a table it is a
            table, and may have further users and items, whom the model then knows by their ids alone.
        user_ids, item_ids : array-like or IdTable, shape (n_users,) and (n_items,), optional
            Ids of rows and columns of a matrix; row numbers where they are not given.
        patience : int, default 0
            Stop when so many iterations have not lowered the validation RMSE, and take the factors of the
            iteration that was best; 0 does all iterations.
        memory : str or int, optional
            How much the training may take, such as ``"2GB"`` or bytes. A dataset's ratings that do not fit
            into it stay in their shards; by default into what is free on this machine.
        dask_scheduler : str, optional
            Address of a Dask scheduler, or the path of its file: the workers of its cluster, who see the
            dataset under the same path or address, solve the rows.
        dask : {"threads", "cuda"}, optional
            cuda: a Dask worker on each GPU of this machine solves rows.
        checkpoint : str or Path, optional
            A directory that is written about every half minute. When it is there at the start, training goes
            on from it, to the same bits. It is not removed.
        on_iteration : callable, optional
            Called with each iteration's `Progress`.
        progress : bool, optional
            Whether a bar shows the iterations of a training that takes longer than a second; by default where
            somebody sees it: in a notebook, or on a terminal.

        Returns
        -------
        Self
            This model.

        Raises
        ------
        ConfigError
            When ids, columns or `valid` do not fit the ratings, there is `patience` and no validation rating,
            `memory` is too small, a place is asked for ratings that are no dataset, or the checkpoint is of
            another training.
        ModelError
            When the checkpoint cannot be read or written.
        UnknownIdError
            When `valid` is a table beside a matrix or dataset that lacks one of its ids.
        RatingsError
            When there is no rating, a rating or id is missing or not finite, or a pair occurs twice.
        SolverError
            When the normal equations have no finite solution.
        BackendError
            When the backend of the options is not usable.
        """
        where, ids = Where(memory, dask_scheduler, dask), (user_ids, item_ids)
        with placed_input(
            ratings, self.config, self.options, where, valid=valid, ids=ids, columns=columns
        ) as placed:
            self._fitted, self.history, self.backend_name, self.baselines, self.solver_name = train(
                placed,
                self.config,
                self.options,
                patience=patience,
                on_iteration=on_iteration,
                progress=progress,
                checkpoint=None if checkpoint is None else checked_path("checkpoint", checkpoint),
            )
        self.posterior = None
        return self

    def _contributions(self, rated: Ratings, items: IntArray) -> Contributions:
        return self.state.contributions(rated, items)

    def _header(self) -> dict[str, object]:
        own: dict[str, object] = {
            "config": self.config.to_dict(),
            "options": dataclasses.asdict(self.options),
            "history": self.history,
            "baselines": self.baselines,
        }
        return own if self.posterior is None else {**own, files.POSTERIOR: self.posterior.words()}

    def _save_factors(self, folder: Path) -> None:
        self.factors.save(folder)
        if self.posterior is not None:
            self.posterior.save_samples(folder)

    @classmethod
    def _read(cls, path: Path, header: dict[str, Any]) -> Self:
        training = files.read_training(path, header, Factors.load(path))
        model = cls.holding(
            training,
            options=RunOptions(**header["options"]),
            history=header["history"],
            baselines=header.get("baselines"),
        )
        if files.POSTERIOR in header:
            model.posterior = Posterior.read(path, header[files.POSTERIOR])
        return model
