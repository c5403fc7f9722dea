"""The training of a model: what `fit` is given, checked before any work, and the iterations."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypedDict

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import AnySparse, IdLike, Ratings, SideName
from toolkit.backends import Backend
from toolkit.config import RunOptions, WALSConfig
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.errors import ConfigError
from toolkit.evaluation import pairs_on, rmse
from toolkit.inputs import checked_number, checked_ratings, require_callable
from toolkit.models.fitted import Training
from toolkit.solver import Trainer, TrainingData, stopping


class Progress(TypedDict):
    """One iteration's figures: RMSE in rating units, time in seconds."""

    iteration: int
    train_rmse: float
    valid_rmse: float | None
    seconds: float


class TrainingInput(NamedTuple):
    """Ratings to train on, with the ids of their rows and columns.

    Attributes
    ----------
    ratings : scipy.sparse CSR, shape (n_users, n_items)
    by_item : scipy.sparse CSR, shape (n_items, n_users), or None
        The same ratings by item, where they are at hand.
    valid : scipy.sparse CSR or COO, shape (n_users, n_items), or None
        Ratings to measure the RMSE on.
    users, items : IdTable
    dataset_digest : str or None
    """

    ratings: Ratings
    by_item: Ratings | None
    valid: Ratings | sp.coo_matrix | None
    users: IdTable
    items: IdTable
    dataset_digest: str | None


def checked_input(
    ratings: RatingsDataset | AnySparse,
    valid: AnySparse | None,
    user_ids: IdLike | IdTable | None,
    item_ids: IdLike | IdTable | None,
    dtype: str,
) -> TrainingInput:
    """Return what `toolkit.WALS.fit` is given, after a check of all of it.

    Raises
    ------
    ConfigError
        When ids or `valid` do not fit the ratings, or ids are given with a dataset.
    RatingsError
        When a matrix is not one of finite ratings, each pair once.
    """
    by_item = digest = None
    held_out: Ratings | sp.coo_matrix | None = None
    if isinstance(ratings, RatingsDataset):
        if user_ids is not None or item_ids is not None:
            raise ConfigError(
                "a dataset brings its own ids: leave user_ids and item_ids out, or fit dataset.train"
            )
        users, items, digest = ratings.users, ratings.items, ratings.digest
        # A dataset checks its ratings when it reads them.
        train, by_item, held_out = ratings.train, ratings.train_by_item, ratings.valid
    else:
        train = checked_ratings(ratings, dtype)
        users, items = _table(user_ids, train.shape[0], "user"), _table(item_ids, train.shape[1], "item")
    if valid is not None:
        held_out = checked_ratings(valid, dtype, name="valid")
    if (len(users), len(items)) != train.shape:
        raise ConfigError(
            f"ratings of {train.shape[0]} users and {train.shape[1]} items need as many ids, "
            f"but got {len(users)} and {len(items)}"
        )
    if held_out is not None and held_out.shape != train.shape:
        raise ConfigError(f"valid must have the shape of ratings, {train.shape}, but has {held_out.shape}")
    return TrainingInput(train, by_item, held_out, users, items, digest)


def _table(ids: IdLike | IdTable | None, n: int, kind: SideName) -> IdTable:
    if isinstance(ids, IdTable):
        return ids
    return IdTable(np.arange(n) if ids is None else ids, kind)


def train(
    given: TrainingInput,
    config: WALSConfig,
    options: RunOptions,
    *,
    patience: int,
    on_iteration: Callable[[Progress], None] | None,
) -> tuple[Training, list[Progress], str]:
    """Run one training.

    Returns
    -------
    training : Training
    history : list of Progress
        The figures of each iteration.
    backend_name : str
        The backend that it ran on.

    Raises
    ------
    ConfigError
        When `patience` is not a whole number from 0, there is `patience` and no validation rating, or
        `on_iteration` is not a function.
    RatingsError
        When there is no rating.
    SolverError
        When the normal equations have no finite solution.
    BackendError
        When the backend of the options is not usable.
    """
    patience = checked_number("patience", patience, 0)
    require_callable("on_iteration", on_iteration)
    if patience and (given.valid is None or given.valid.nnz == 0):
        raise ConfigError("patience needs validation ratings to stop by: hold some out, or set it to 0")
    backend = Backend.require(options.backend, options.threads)
    data = TrainingData(given.ratings, given.by_item, backend=backend, dtype=options.dtype)
    held_out = None if given.valid is None else pairs_on(backend, given.valid)
    trainer = Trainer(data, config, seed=options.seed)
    history: list[Progress] = []
    errors: list[float] = []
    best = trainer.factors
    for _ in range(config.iterations):
        began = time.perf_counter()
        trainer.step()
        seconds = time.perf_counter() - began
        valid_rmse = None if held_out is None else rmse(trainer.factors, *held_out, backend)
        history.append(
            {
                "iteration": trainer.iterations,
                "train_rmse": trainer.train_rmse(),
                "valid_rmse": valid_rmse,
                "seconds": seconds,
            }
        )
        if on_iteration:
            on_iteration(history[-1])
        if patience and valid_rmse is not None:
            errors.append(valid_rmse)
            if stopping.best(errors) == len(errors) - 1:
                best = trainer.factors
            if stopping.stalled(errors, patience):
                break
    counts = data.item_counts
    training = Training(
        trainer.host_factors(best if patience else None),
        given.users,
        given.items,
        # A copy of what the caller may change, in the type of what is computed with it.
        sp.csr_matrix(given.ratings.astype(options.dtype, copy=given.dataset_digest is None)),
        counts,
        counts,
        dataset_digest=given.dataset_digest,
    )
    return training, history, backend.name
