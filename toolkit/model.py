"""What every model answers, by id: predict, recommend, similar items, fold in, save, load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from toolkit import model_files
from toolkit.backend import Backend
from toolkit.config import RunOptions
from toolkit.errors import ConfigError, ModelError
from toolkit.factors import Predictor, Side
from toolkit.ids import IdTable
from toolkit.metrics import pairs_on, predict_pairs, rmse

if TYPE_CHECKING:
    from toolkit.updating import Kind


class Model(ABC):
    """A fitted model: one training (`toolkit.wals.WALS`), or several (`toolkit.ensemble.Ensemble`).

    Attributes
    ----------
    factors : Predictor
        What it predicts by, in host memory.
    users, items : IdTable
        Ids of the rows of the factors.
    item_counts : array of int, shape (n_items,)
        Training ratings of each item.
    seen_indptr, seen_items : arrays of int, shape (n_users + 1,) and (nnz,)
        Which items each user has rated, as in a CSR matrix.
    options : RunOptions
        Where and how it runs.
    dataset_digest : str or None
        Identity of the dataset it was trained on, where it was a dataset.
    """

    factors: Predictor
    users: IdTable
    items: IdTable
    item_counts: Any
    seen_indptr: Any
    seen_items: Any
    options: RunOptions
    dataset_digest: str | None

    @abstractmethod
    def _solve(self, ratings: Any, kind: Kind) -> Side:
        """Return factors and biases of new users or items, as those of `factors`."""

    @abstractmethod
    def _update(self, ratings: Any, ids: Any, kind: Kind) -> None:
        """Solve users or items again, or for the first time, or change nothing."""

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
        return self._solve(ratings, "user")

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
        return self._solve(ratings, "item")

    def seen(self) -> sp.csr_matrix:
        """Return which items each user has rated, as ones."""
        ones = np.ones(len(self.seen_items), np.int8)
        return sp.csr_matrix(
            (ones, self.seen_items, self.seen_indptr), shape=(len(self.users), len(self.items))
        )

    def partial_fit(self, ratings: sp.csr_matrix | sp.csr_array, *, user_ids: Any) -> Self:
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
        Self
            This model.
        """
        self._update(ratings, user_ids, "user")
        return self

    def partial_fit_items(self, ratings: sp.csr_matrix | sp.csr_array, *, item_ids: Any) -> Self:
        """Solve some items again for all ratings they have now, and take new items in; as `partial_fit`.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_users)
            All ratings of each item, columns by ``model.users.rows(ids)``.
        item_ids : array-like, shape (n,)
            Which they are.

        Returns
        -------
        Self
            This model.
        """
        self._update(ratings, item_ids, "item")
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
    def load(cls, path: str | Path) -> Self:
        """Read what `save` wrote; the arrays are mapped from the files, and nothing is unpickled.

        ``Model.load`` reads a model of any kind.

        Raises
        ------
        ModelError
            When the directory is not a complete model of this kind and format version.
        """
        model = model_files.load(path)
        if not isinstance(model, cls):
            raise ModelError(f"{path} holds another kind of model: load it with {type(model).__name__}.load")
        return model


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
