"""What every model answers, by id: predict, recommend, similar items, fold in, save, load."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import numpy as np

from toolkit.backends import Backend, Best, at_most, largest
from toolkit.config import RunOptions
from toolkit.datasets.ids import IdTable
from toolkit.errors import ConfigError, ModelError
from toolkit.evaluation import pairs_on, rmse
from toolkit.models import files as model_files
from toolkit.models.explaining import Explanation, explanations
from toolkit.models.updating import FEW
from toolkit.predictor import Predictor, Side, predict_pairs, predict_rows

if TYPE_CHECKING:
    import scipy.sparse as sp

    from toolkit.models.updating import Kind


class Model(ABC):
    """A fitted model: one training (`toolkit.WALS`), or several (`toolkit.models.ensemble.Ensemble`).

    Attributes
    ----------
    factors : Predictor
        What it predicts by, in host memory.
    users, items : IdTable
        Ids of the rows of the factors.
    item_counts : array of int, shape (n_items,)
        Training ratings of each item.
    rated : scipy.sparse CSR, shape (n_users, n_items)
        The ratings it was trained on.
    titles : array of str, shape (n_items,), or None
        What people call the items, "" where that is not known.
    options : RunOptions
        Where and how it runs.
    dataset_digest : str or None
        Identity of the dataset it was trained on, where it was a dataset.
    """

    factors: Predictor
    users: IdTable
    items: IdTable
    item_counts: Any
    rated: sp.csr_matrix
    titles: Any = None
    options: RunOptions
    dataset_digest: str | None

    @abstractmethod
    def _solve(self, ratings: Any, kind: Kind) -> Side:
        """Return factors and biases of new users or items, as those of `factors`."""

    @abstractmethod
    def _update(self, ratings: Any, ids: Any, kind: Kind) -> None:
        """Solve users or items again, or for the first time, or change nothing."""

    @abstractmethod
    def contributions(self, rated: Any, items: Any) -> np.ndarray[Any, Any]:
        """Return what each rating of a user adds to predictions; see `explaining.contributions`."""

    def predict(
        self, users: Any, items: Any, *, clip: bool = True, unknown: Literal["refuse", "average"] = "refuse"
    ) -> np.ndarray[Any, Any]:
        """Return predicted ratings of pairs of ids.

        Parameters
        ----------
        users, items : scalar or array-like of ids, broadcast against each other
        clip : bool, default True
            Whether predictions are clipped to the rating scale, where the model was trained to (``clip``).
        unknown : {"refuse", "average"}, default "refuse"
            What is done with ids that were not in the ratings: an error, or the prediction of the average
            user, item, or both.

        Returns
        -------
        array of float, shape (n,)

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings, and such are refused.
        ConfigError
            When there are not as many users as items, and not one of either.
        """
        if unknown not in ("refuse", "average"):
            raise ConfigError(f"unknown must be refuse or average, but got {unknown!r}")
        average = unknown == "average"
        rows = self.users.find(users) if average else self.users.rows(users)
        columns = self.items.find(items) if average else self.items.rows(items)
        if len(rows) != len(columns) and 1 not in (len(rows), len(columns)):
            raise ConfigError(f"users and items must be as many, but got {len(rows)} and {len(columns)}")
        rows, columns = np.broadcast_arrays(rows, columns)
        predicted: np.ndarray[Any, Any] = predict_pairs(self.factors, rows, columns, np, clip=clip)
        new = np.flatnonzero((rows < 0) | (columns < 0))
        if len(new):
            f = self.factors
            own = taken(f.users, rows[new], f.average_user)
            other = taken(f.items, columns[new], f.average_item)
            predicted[new] = predict_rows(own, other, f, np, clip=clip)
        return predicted

    def rmse(self, ratings: sp.coo_matrix | sp.coo_array) -> float | None:
        """Return the RMSE on ratings by row and column number, clipped as the model is; None for none."""
        backend = Backend(self.options.threads)
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
        best = self.recommend_many([user], n, exclude_seen=exclude_seen)
        real = best.items[0] >= 0
        return self.items.ids[best.items[0][real]], best.scores[0][real]

    def recommend_many(
        self, users: Any, n: int = 10, *, exclude_seen: bool = True, backend: Backend | None = None
    ) -> Best:
        """Return the best items of many users and their predicted ratings, unclipped.

        Parameters
        ----------
        users : array-like of ids, shape (n_users,)
            Users of the training data.
        n, exclude_seen
            As `recommend`.
        backend : Backend, optional
            Where it is computed; by default NumPy for a few users, and otherwise what is usable here. CuPy
            takes the factors to the device each time.

        Returns
        -------
        Best
            Item columns, whose ids are ``model.items.ids[columns]``, and predicted ratings, shape
            (n_users, n); -1 and NaN where fewer items are left.

        Raises
        ------
        UnknownIdError
            When a user was not in the ratings.
        ConfigError
            When `n` is below 1.
        """
        rows = self.users.rows(users)
        hidden = [self.rated[rows]] if exclude_seen else []
        return self.best_of(self.factors.users.at(rows), n, hidden=hidden, backend=backend)

    def best_of(
        self, users: Side, n: int = 10, *, hidden: Sequence[Any] = (), backend: Backend | None = None
    ) -> Best:
        """Return the best items of users by their factors, which `fold_in` gives; as `recommend_many`.

        Parameters
        ----------
        users : Side
            Factors, shape (n_users, k), and biases, in host memory.
        n : int, default 10
            How many items.
        hidden : sequence of scipy.sparse CSR, shape (n_users, n_items)
            Items stored in a user's row are left out.
        backend : Backend, optional
            As `recommend_many`.
        """
        few = len(users.bias) < FEW
        backend = backend or Backend.prefer("numpy" if few else "numba", self.options.threads)
        own, items = (Side(*map(backend.asarray, side)) for side in (users, self.factors.items))
        return backend.top_n(own, items, n, mean=self.factors.mean, hidden=hidden)

    def explain(self, user: Any, item: Any) -> Explanation:
        """Return which of a user's ratings make the prediction of an item what it is.

        Parameters
        ----------
        user, item : id
            Of the training data.

        Returns
        -------
        Explanation
            Adds up to the prediction, unclipped, that the user's ratings give with the items as they are:
            that of `predict`, but for what the last iteration changed with ``momentum``.

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings.
        """
        return self.explain_many(user, [item])[0]

    def explain_many(self, user: Any, items: Any) -> list[Explanation]:
        """Do the same for many items, in one solve; `items` are ids, shape (m,)."""
        return explanations(self, self.rated[self.users.rows(user)], items)

    def explain_ratings(self, ratings: sp.csr_matrix, item: Any) -> Explanation:
        """Do the same for a user that is folded in.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (1, n_items)
            The user's ratings.
        item : id
            Of the training data.

        Raises
        ------
        ConfigError
            When the ratings are not one row of all items.
        RatingsError
            When a rating is not finite, or an item is rated twice.
        UnknownIdError
            When the item was not in the ratings.
        """
        return explanations(self, ratings, [item])[0]

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
        # The item itself comes last.
        cosines[row] = -np.inf
        n = at_most(n, len(y) - 1)
        best = largest(cosines[None], n, np)[0][0] if n else np.empty(0, np.int64)
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


def taken(side: Side, rows: Any, average: Side) -> Side:
    """Return some rows of a side, that of the average where the row is below 0."""
    own, new = side.at(rows), rows < 0
    return Side(np.where(new[:, None], average.factors, own.factors), np.where(new, average.bias, own.bias))
