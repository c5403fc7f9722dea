"""Weighted alternating least squares: the model of one training."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self, TypedDict, cast

import numpy as np
import scipy.sparse as sp

from toolkit.backends import Backend
from toolkit.config import RunOptions, WALSConfig
from toolkit.datasets.ids import IdTable
from toolkit.errors import ConfigError, did_you_mean
from toolkit.evaluation import pairs_on, rmse
from toolkit.models.base import Model
from toolkit.models.explaining import contributions
from toolkit.models.updating import Kind, fold_in, update
from toolkit.predictor import Side
from toolkit.solver import Factors, Trainer, TrainingData, stopping

if TYPE_CHECKING:
    from toolkit.datasets.dataset import RatingsDataset


class Progress(TypedDict):
    """One iteration's figures: RMSE in rating units, time in seconds."""

    iteration: int
    train_rmse: float
    valid_rmse: float | None
    seconds: float


class WALS(Model):
    """Weighted alternating least squares for explicit ratings.

    Parameters
    ----------
    config : WALSConfig, optional
        Hyperparameters; what identifies the model.
    options : RunOptions, optional
        Seed, backend, threads, precision; where and how it runs.

    Attributes
    ----------
    factors : Factors
        Fitted numbers, in host memory.
    history : list of Progress
        Figures of every iteration of the last `fit`.
    backend_name : str or None
        The array backend that the last `fit` ran on.

    The others are those of every `toolkit.Model`.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> ratings = sp.random_array((30, 20), density=0.3, random_state=0, format="csr")
    >>> model = WALS(WALSConfig(factors=4, iterations=5)).fit(ratings)
    >>> items, scores = model.recommend(7, n=3)
    """

    factors: Factors

    def __init__(self, config: WALSConfig | None = None, options: RunOptions | None = None) -> None:
        self.config = config or WALSConfig()
        self.options = options or RunOptions()
        self.history: list[Progress] = []
        self.backend_name: str | None = None
        self.dataset_digest: str | None = None

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: FBT001, FBT002 - scikit-learn's signature
        """Return what the model was made with, as scikit-learn asks an estimator; its `clone` works.

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
        self.config, self.options = changed["config"], changed["options"]
        return self

    def fit(
        self,
        ratings: RatingsDataset | sp.csr_matrix | sp.csr_array,
        *,
        valid: sp.coo_matrix | sp.coo_array | None = None,
        user_ids: Any = None,
        item_ids: Any = None,
        patience: int = 0,
        on_iteration: Callable[[Progress], None] | None = None,
    ) -> WALS:
        """Train on a dataset's training ratings, or on a sparse matrix.

        Parameters
        ----------
        ratings : RatingsDataset, or scipy.sparse matrix of shape (n_users, n_items)
            Stored entries are the observed ratings. A dataset brings ids and validation ratings along.
        valid : scipy.sparse COO, same shape, optional
            Ratings whose RMSE is measured after every iteration; never trained on.
        user_ids, item_ids : array-like, shape (n_users,) and (n_items,), optional
            Ids of rows and columns; row numbers where they are not given.
        patience : int, default 0
            Stop when so many iterations have not lowered the validation RMSE, and take the factors of the
            iteration that was best; 0 does all iterations.
        on_iteration : callable, optional
            Called with each iteration's `Progress`.

        Returns
        -------
        WALS
            This model.

        Raises
        ------
        ConfigError
            When ids or `valid` do not fit the ratings, or there is `patience` and no validation rating.
        RatingsError
            When there is no rating, or one is not finite.
        SolverError
            When the normal equations have no finite solution.
        BackendError
            When the backend of the options is not usable.
        """
        by_item = None
        if not sp.issparse(ratings):
            user_ids, item_ids, self.dataset_digest = ratings.user_ids, ratings.item_ids, ratings.digest
            train, by_item = ratings.train, ratings.train_by_item
            valid = ratings.valid if valid is None else valid
        else:
            train, self.dataset_digest = sp.csr_matrix(ratings), None
        # Checked before training, not after.
        users = IdTable(np.arange(train.shape[0]) if user_ids is None else user_ids, "user")
        items = IdTable(np.arange(train.shape[1]) if item_ids is None else item_ids, "item")
        if (len(users), len(items)) != train.shape:
            raise ConfigError(
                f"ratings of {train.shape[0]} users and {train.shape[1]} items need as many ids, "
                f"but got {len(users)} and {len(items)}"
            )
        if valid is not None and valid.shape != train.shape:
            raise ConfigError(f"valid must have the shape of ratings, {train.shape}, but has {valid.shape}")
        if patience and (valid is None or valid.nnz == 0):
            raise ConfigError("patience needs validation ratings to stop by: hold some out, or set it to 0")
        backend = Backend.require(self.options.backend, self.options.threads)
        data = TrainingData(train, by_item, backend=backend, dtype=self.options.dtype)
        held_out = None if valid is None else pairs_on(backend, valid)
        trainer = Trainer(data, self.config, seed=self.options.seed)
        self.history, self.backend_name = [], backend.name
        errors: list[float] = []
        best = trainer.factors
        for _ in range(self.config.iterations):
            began = time.perf_counter()
            trainer.step()
            seconds = time.perf_counter() - began
            measured: Progress = {
                "iteration": trainer.iterations,
                "train_rmse": trainer.train_rmse(),
                "valid_rmse": None if held_out is None else rmse(trainer.factors, *held_out, backend),
                "seconds": seconds,
            }
            self.history.append(measured)
            if on_iteration:
                on_iteration(measured)
            if patience:
                errors.append(cast("float", measured["valid_rmse"]))
                if stopping.best(errors) == len(errors) - 1:
                    best = trainer.factors
                if stopping.stalled(errors, patience):
                    break
        self.take(
            trainer.host_factors(best if patience else None),
            users=users,
            items=items,
            item_counts=data.item_counts,
            # A copy of what may change, in the type of what is computed with it.
            rated=sp.csr_matrix(
                train.sorted_indices().astype(self.options.dtype, copy=self.dataset_digest is None)
            ),
        )
        return self

    def take(
        self,
        factors: Factors,
        *,
        users: IdTable,
        items: IdTable,
        item_counts: Any,
        rated: sp.csr_matrix,
    ) -> None:
        """Hold these numbers from now on: what training, loading and updating end with."""
        self.factors = factors
        self.users, self.items, self.item_counts, self.rated = users, items, item_counts, rated

    def _solve(self, ratings: Any, kind: Kind) -> Side:
        return fold_in(self, ratings, kind)

    def _update(self, ratings: Any, ids: Any, kind: Kind) -> None:
        update(self, ratings, ids, kind)

    def contributions(self, rated: Any, items: Any) -> np.ndarray[Any, Any]:
        """Return what each rating of a user adds to predictions; see `explaining.contributions`."""
        return contributions(self.factors, rated, items, self.item_counts)
