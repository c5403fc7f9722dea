"""The model a user holds: fit, predict, recommend, similar items, fold in, save, load."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, cast

import numpy as np
import scipy.sparse as sp

from toolkit import model_files, stopping
from toolkit.backend import Backend
from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError
from toolkit.factors import Factors, Side
from toolkit.ids import IdTable
from toolkit.layout import TrainingData
from toolkit.metrics import pairs_on, predict_pairs, rmse
from toolkit.trainer import Trainer
from toolkit.updating import fold_in, update

if TYPE_CHECKING:
    from toolkit.dataset import RatingsDataset


class Progress(TypedDict):
    """One iteration's figures: RMSE in rating units, time in seconds."""

    iteration: int
    train_rmse: float
    valid_rmse: float | None
    seconds: float


class WALS:
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
    users, items : IdTable
        Ids of the rows of the factors.
    history : list of Progress
        Figures of every iteration of the last `fit`.
    backend_name : str or None
        The array backend that the last `fit` ran on.
    dataset_digest : str or None
        Identity of the dataset it was trained on, where it was a dataset.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> ratings = sp.random_array((30, 20), density=0.3, random_state=0, format="csr")
    >>> model = WALS(WALSConfig(factors=4, iterations=5)).fit(ratings)
    >>> items, scores = model.recommend(7, n=3)
    """

    def __init__(self, config: WALSConfig | None = None, options: RunOptions | None = None) -> None:
        self.config = config or WALSConfig()
        self.options = options or RunOptions()
        self.history: list[Progress] = []
        self.backend_name: str | None = None
        self.dataset_digest: str | None = None

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
            seen_indptr=train.indptr,
            seen_items=train.indices,
        )
        return self

    def take(
        self,
        factors: Factors,
        *,
        users: IdTable,
        items: IdTable,
        item_counts: Any,
        seen_indptr: Any,
        seen_items: Any,
    ) -> None:
        """Hold these numbers from now on: what training, loading and updating end with."""
        self.factors = factors
        self.users, self.items = users, items
        self.item_counts, self.seen_indptr, self.seen_items = item_counts, seen_indptr, seen_items

    def predict(self, users: Any, items: Any, *, clip: bool = True) -> np.ndarray[Any, Any]:
        """Return predicted ratings of pairs of ids.

        Parameters
        ----------
        users, items : scalar or array-like of ids, broadcast against each other
        clip : bool, default True
            Whether predictions are clipped to the rating scale, where the model was trained to (``clip``).

        Returns
        -------
        array of float, shape (n,)

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings.
        ConfigError
            When there are not as many users as items, and not one of either.
        """
        rows, columns = self.users.rows(users), self.items.rows(items)
        if len(rows) != len(columns) and 1 not in (len(rows), len(columns)):
            raise ConfigError(f"users and items must be as many, but got {len(rows)} and {len(columns)}")
        rows, columns = np.broadcast_arrays(rows, columns)
        predicted: np.ndarray[Any, Any] = predict_pairs(self.factors, rows, columns, np, clip=clip)
        return predicted

    def rmse(self, ratings: sp.coo_matrix | sp.coo_array) -> float | None:
        """Return the RMSE on ratings by row and column number, clipped as the model is; None for none."""
        backend = Backend("numpy", self.options.threads)
        return rmse(self.factors, *pairs_on(backend, ratings), backend)

    def recommend(
        self, user: Any, n: int = 10, *, exclude_seen: bool = True
    ) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return a user's best items and their predicted ratings, best first; unclipped, so as not to tie.

        Parameters
        ----------
        user : id
            A user of the training data.
        n : int, default 10
            How many items; fewer come back when fewer are left.
        exclude_seen : bool, default True
            Whether items that the model saw the user rate are left out.

        Returns
        -------
        items : array of ids, shape (≤ n,)
        scores : array of float, shape (≤ n,)

        Raises
        ------
        UnknownIdError
            When the user was not in the ratings.
        ConfigError
            When `n` is below 1.
        """
        row = int(self.users.rows(user)[0])
        f = self.factors
        scores = f.items.factors @ f.users.factors[row] + f.items.bias + f.users.bias[row] + f.mean
        skip = self.seen_items[self.seen_indptr[row] : self.seen_indptr[row + 1]] if exclude_seen else []
        best = _best(scores, n, skip)
        return self.items.ids[best], scores[best]

    def similar_items(self, item: Any, n: int = 10) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return the items whose factors point the same way, and the cosine, most similar first.

        Parameters
        ----------
        item : id
            An item of the training data; it is left out of the answer.
        n : int, default 10
            How many items.

        Returns
        -------
        items : array of ids, shape (≤ n,)
        cosines : array of float, shape (≤ n,)
        """
        row = int(self.items.rows(item)[0])
        y = np.asarray(self.factors.items.factors)
        length = np.linalg.norm(y, axis=1)
        cosines = y @ y[row] / np.maximum(length * length[row], np.finfo(y.dtype).tiny)
        best = _best(cosines, n, [row])
        return self.items.ids[best], cosines[best]

    def fold_in(self, ratings: sp.csr_matrix | sp.csr_array) -> Side:
        """Return factors and biases of new users from their ratings; the model does not change.

        The normal equations are those of training, so a training user's ratings give the row it already has.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_items)
            One row per new user, columns by ``model.items.rows(ids)``.

        Returns
        -------
        Side
            Arrays of shape (n, k) and (n,).
        """
        return fold_in(self, ratings, "user")

    def fold_in_items(self, ratings: sp.csr_matrix | sp.csr_array) -> Side:
        """Return factors and biases of new items from the ratings they got; the model does not change.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_users)
            One row per new item, columns by ``model.users.rows(ids)``.

        Returns
        -------
        Side
            Arrays of shape (n, k) and (n,).
        """
        return fold_in(self, ratings, "item")

    def seen(self) -> sp.csr_matrix:
        """Return which items each user has rated, as ones."""
        ones = np.ones(len(self.seen_items), np.int8)
        return sp.csr_matrix(
            (ones, self.seen_items, self.seen_indptr), shape=(len(self.users), len(self.items))
        )

    def partial_fit(self, ratings: sp.csr_matrix | sp.csr_array, *, user_ids: Any) -> WALS:
        """Solve some users again for all their ratings as they are now, and take new users in.

        The items stay as they are, so that a training ends where it would have with one more half-step. What
        many changed users would change of the items takes a new `fit`.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_items)
            All ratings of each user, columns by ``model.items.rows(ids)``.
        user_ids : array-like, shape (n,)
            Who they are; a user that the model does not know is appended.

        Returns
        -------
        WALS
            This model.
        """
        update(self, ratings, user_ids, "user")
        return self

    def partial_fit_items(self, ratings: sp.csr_matrix | sp.csr_array, *, item_ids: Any) -> WALS:
        """Solve some items again for all ratings they have now, and take new items in; as `partial_fit`.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_users)
            All ratings of each item, columns by ``model.users.rows(ids)``.
        item_ids : array-like, shape (n,)
            Which they are.

        Returns
        -------
        WALS
            This model.
        """
        update(self, ratings, item_ids, "item")
        return self

    def save(self, path: str | Path, *, overwrite: bool = False, **facts: Any) -> None:
        """Write the model directory: plain ``.npy`` arrays and JSON, complete or not at all.

        Parameters
        ----------
        path : str or Path
            The directory to make.
        overwrite : bool, default False
            Whether an existing directory is replaced.
        **facts
            JSON values to keep beside the model, such as RMSEs.

        Raises
        ------
        ModelError
            When `path` exists and `overwrite` is false, or it is not a model directory.
        """
        model_files.save(self, path, overwrite=overwrite, **facts)

    @classmethod
    def load(cls, path: str | Path) -> WALS:
        """Read what `save` wrote; the arrays are mapped from the files, and nothing is unpickled.

        Raises
        ------
        ModelError
            When the directory is not a complete model of this format version.
        """
        return model_files.load(path)


def _best(scores: Any, n: int, skip: Any) -> np.ndarray[Any, Any]:
    """Return the positions of the n largest scores, largest first, equal ones by position."""
    if n < 1:
        raise ConfigError(f"n must be at least 1, but got {n}")
    scores = np.array(scores, dtype=np.float64)
    scores[skip] = -np.inf
    n = min(n, int(np.isfinite(scores).sum()))
    if n == 0:
        return np.empty(0, np.int64)
    candidates = np.flatnonzero(scores >= np.partition(scores, -n)[-n])
    order: np.ndarray[Any, Any] = candidates[np.lexsort((candidates, -scores[candidates]))][:n]
    return order
