"""Weighted alternating least squares: the model of one training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, cast

import numpy as np

from toolkit.arrays import AnySparse, FloatArray, IdLike, IntArray, Ratings, SideName
from toolkit.backends import Backend
from toolkit.config import RunOptions, WALSConfig
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.errors import ConfigError, did_you_mean
from toolkit.inputs import checked_type
from toolkit.models import files
from toolkit.models.base import Model
from toolkit.models.fitted import Training
from toolkit.models.training import Progress, checked_input, train
from toolkit.models.updating import updated
from toolkit.predictor import Side
from toolkit.solver import Factors


class WALS(Model, header_words=("config", "options", "history")):
    """Weighted alternating least squares for explicit ratings.

    Parameters
    ----------
    config : WALSConfig, optional
        Hyperparameters; what identifies the model.
    options : RunOptions, optional
        Seed, backend, threads, precision; where and how it runs.

    Attributes
    ----------
    config : WALSConfig
    options : RunOptions
    history : list of Progress
        Figures of every iteration of the last `fit`.
    backend_name : str or None
        The array backend that the last `fit` ran on.

    Raises
    ------
    ConfigError
        When an argument is of another class.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import WALS, WALSConfig
    >>> ratings = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> model = WALS(WALSConfig(factors=4, iterations=5)).fit(ratings)
    >>> items, scores = model.recommend(7, n=3)
    >>> len(items)
    3
    >>> model.fold_in(ratings[:2]).factors.shape
    (2, 4)
    """

    _fitted: Training | None

    def __init__(self, config: WALSConfig | None = None, options: RunOptions | None = None) -> None:
        config = WALSConfig() if config is None else config
        options = RunOptions() if options is None else options
        self.config = checked_type("config", config, WALSConfig, "WALSConfig(factors=32)")
        self.options = checked_type("options", options, RunOptions, "RunOptions(seed=0)")
        self.history: list[Progress] = []
        self.backend_name: str | None = None

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
        given = checked_input(rated, None, user_ids, item_ids, str(factors.items.factors.dtype))
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
        cls, training: Training, *, options: RunOptions | None = None, history: Sequence[Progress] = ()
    ) -> Self:
        """Return a fitted model of what a training left.

        Parameters
        ----------
        training : Training
        options : RunOptions, optional
            Where and how the model runs.
        history : sequence of Progress
            Figures of the training's iterations.
        """
        model = cls(training.factors.config, options)
        model._fitted, model.history = training, list(history)
        return model

    @property
    def state(self) -> Training:
        """All that the model knows, as one object that does not change."""
        return cast("Training", super().state)

    @property
    def factors(self) -> Factors:
        """The fitted numbers, in host memory."""
        return self.state.factors

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Return what the model was made with, in the form of scikit-learn, whose `clone` works.

        Parameters
        ----------
        deep : bool, default True
            Whether also single values are returned, as ``config__factors`` and ``options__seed``.
        """
        params: dict[str, Any] = {"config": self.config, "options": self.options}
        if deep:
            for of in ("config", "options"):
                params |= {f"{of}__{name}": value for name, value in dataclasses.asdict(params[of]).items()}
        return params

    def set_params(self, **params: Any) -> Self:
        """Change what the next `fit` runs with; the names are those of `get_params`.

        Raises
        ------
        ConfigError
            When a name is unknown, or a value out of range; nothing is changed then.
        """
        valid = self.get_params()
        unknown = [name for name in params if name not in valid]
        if unknown:
            hints = ", ".join(f"{name!r}{did_you_mean(name, valid)}" for name in unknown)
            raise ConfigError(f"unknown parameter {hints}; valid are {', '.join(valid)}")
        changed = {of: params.get(of, valid[of]) for of in ("config", "options")}
        for of, whole in changed.items():
            single = {name.partition("__")[2]: v for name, v in params.items() if name.startswith(f"{of}__")}
            changed[of] = dataclasses.replace(whole, **single) if single else whole
        # The constructor checks the classes.
        new = type(self)(**changed)
        self.config, self.options = new.config, new.options
        return self

    def fit(
        self,
        ratings: RatingsDataset | AnySparse,
        *,
        valid: AnySparse | None = None,
        user_ids: IdLike | IdTable | None = None,
        item_ids: IdLike | IdTable | None = None,
        patience: int = 0,
        on_iteration: Callable[[Progress], None] | None = None,
    ) -> Self:
        """Train on a dataset's training ratings, or on a sparse matrix; what was fitted before is forgotten.

        Parameters
        ----------
        ratings : RatingsDataset, or scipy.sparse matrix of shape (n_users, n_items)
            Stored entries are the observed ratings. A dataset brings its ids and validation ratings.
        valid : scipy.sparse matrix, same shape, optional
            Ratings whose RMSE is measured after every iteration; never trained on.
        user_ids, item_ids : array-like or IdTable, shape (n_users,) and (n_items,), optional
            Ids of rows and columns of a matrix; row numbers where they are not given.
        patience : int, default 0
            Stop when so many iterations have not lowered the validation RMSE, and take the factors of the
            iteration that was best; 0 does all iterations.
        on_iteration : callable, optional
            Called with each iteration's `Progress`.

        Returns
        -------
        Self
            This model.

        Raises
        ------
        ConfigError
            When ids or `valid` do not fit the ratings, or there is `patience` and no validation rating.
        RatingsError
            When there is no rating, a rating is not finite, or a pair is stored twice.
        SolverError
            When the normal equations have no finite solution.
        BackendError
            When the backend of the options is not usable.
        """
        given = checked_input(ratings, valid, user_ids, item_ids, self.options.dtype)
        self._fitted, self.history, self.backend_name = train(
            given, self.config, self.options, patience=patience, on_iteration=on_iteration
        )
        return self

    def _fold_in(self, ratings: Ratings, side: SideName, backend: Backend) -> Side:
        return self.state.fold_in(ratings, side, backend)

    def _update(self, ratings: Ratings, ids: IdLike, side: SideName, backend: Backend) -> None:
        (self._fitted,) = updated([self.state], ratings, ids, side, backend)

    def _contributions(self, rated: Ratings, items: IntArray) -> FloatArray:
        return self.state.contributions(rated, items)

    def _header(self) -> dict[str, object]:
        return {"config": self.config.to_dict(), **run_words(self)}

    def _save_factors(self, folder: Path) -> None:
        self.factors.save(folder)

    @classmethod
    def _read(cls, path: Path, header: dict[str, Any]) -> Self:
        training = files.read_training(path, header, Factors.load(path))
        return cls.holding(training, options=RunOptions(**header["options"]), history=header["history"])


def run_words(model: WALS) -> dict[str, object]:
    """Return what a header says of how a training ran."""
    return {"options": dataclasses.asdict(model.options), "history": model.history}
