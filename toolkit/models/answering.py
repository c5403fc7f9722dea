"""What a fitted model answers by id: predictions, recommendations, similar items, explanations."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np

from toolkit.arrays import AnySparse, Array, FloatArray, IdLike, IntArray, Ratings
from toolkit.backends import Backend, Best
from toolkit.errors import ConfigError
from toolkit.evaluation import pairs_on, rmse
from toolkit.inputs import checked_ratings, checked_side, checked_type
from toolkit.models.best_items import best_items, most_similar
from toolkit.models.explaining import Explanation, explanations
from toolkit.models.predicting import predictions
from toolkit.models.stored import StoredModel
from toolkit.predictor import Side

# Fewer rows are ready sooner than compiled loops are loaded.
_FEW = 64


class AnsweringModel(StoredModel):
    """A model that answers by id."""

    @abstractmethod
    def _contributions(self, rated: Ratings, items: IntArray) -> FloatArray:
        """Return what each rating of a user adds to predictions; see `explaining.contributions`."""

    def _backend(self, n_rows: int, wanted: Backend | None = None) -> Backend:
        if wanted is not None:
            return checked_type("backend", wanted, Backend, "Backend.require('numpy')")
        return Backend.prefer("numpy" if n_rows < _FEW else "numba", self.options.threads)

    def predict(
        self,
        users: IdLike,
        items: IdLike,
        *,
        clip: bool = True,
        unknown: Literal["refuse", "average"] = "refuse",
    ) -> FloatArray:
        """Return predicted ratings of pairs of ids.

        Parameters
        ----------
        users, items : scalar or array-like of ids, broadcast against each other
        clip : bool, default True
            Whether predictions are clipped to the rating scale, where the model was trained to (``clip``).
        unknown : {"refuse", "average"}, default "refuse"
            What an id that was not in the ratings gets: an error, or the prediction of the average user,
            item, or both.

        Returns
        -------
        array of float, shape (n,)

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings, and such ids are refused.
        ConfigError
            When there are not as many users as items, and not one of either.
        """
        if unknown not in ("refuse", "average"):
            raise ConfigError(f"unknown must be refuse or average, but got {unknown!r}")
        tables = ((self.users, users), (self.items, items))
        rows, columns = (table.find(i) if unknown == "average" else table.rows(i) for table, i in tables)
        if len(rows) != len(columns) and 1 not in (len(rows), len(columns)):
            raise ConfigError(f"users and items must be as many, but got {len(rows)} and {len(columns)}")
        rows, columns = np.broadcast_arrays(rows, columns)
        return predictions(self.factors, rows, columns, clip=clip)

    def rmse(self, ratings: AnySparse) -> float | None:
        """Return the RMSE on ratings by row number, clipped as the model is; None where there is no rating.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (n_users, n_items)

        Raises
        ------
        ConfigError
            When the ratings have another shape.
        RatingsError
            When the matrix is not one of finite ratings, each pair once.
        """
        checked = checked_ratings(ratings)
        if checked.shape != self.rated.shape:
            raise ConfigError(f"ratings must have the shape {self.rated.shape}, but have {checked.shape}")
        backend = Backend(self.options.threads)
        return rmse(self.factors, *pairs_on(backend, checked), backend)

    def recommend(self, user: IdLike, n: int = 10, *, exclude_seen: bool = True) -> tuple[Array, FloatArray]:
        """Return a user's best items and their predicted ratings, best first.

        Predicted ratings are not clipped, so that they do not tie.

        Parameters
        ----------
        user : id
            A user of the ratings.
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
            When `user` is not one id, or `n` is not a whole number from 1.
        """
        row = self.users.row(user)
        best = self._best(np.array([row]), n, exclude_seen=exclude_seen)
        real = best.items[0] >= 0
        return self.items.at(best.items[0][real]), best.scores[0][real]

    def recommend_many(
        self, users: IdLike, n: int = 10, *, exclude_seen: bool = True, backend: Backend | None = None
    ) -> Best:
        """Return the best items of many users and their predicted ratings, which are not clipped.

        Parameters
        ----------
        users : array-like of ids, shape (n_users,)
            Users of the ratings.
        n : int, default 10
            How many items for each user.
        exclude_seen : bool, default True
            Whether items that the model saw a user rate are left out for this user.
        backend : Backend, optional
            Where it is computed; by default NumPy for a few users, and otherwise what is usable here. CuPy
            copies the factors to the device each time.

        Returns
        -------
        Best
            Row numbers of items, whose ids are ``model.items.at(rows)``, and predicted ratings, shape
            (n_users, n); -1 and NaN where fewer items are left.

        Raises
        ------
        UnknownIdError
            When a user was not in the ratings.
        ConfigError
            When `n` is not a whole number from 1.
        """
        return self._best(self.users.rows(users), n, exclude_seen=exclude_seen, backend=backend)

    def _best(self, rows: IntArray, n: int, *, exclude_seen: bool, backend: Backend | None = None) -> Best:
        hidden = [self.rated[rows]] if exclude_seen else []
        users = self.factors.users.at(rows)
        return best_items(self.factors, users, n, hidden=hidden, backend=self._backend(len(rows), backend))

    def best_of(
        self, users: Side, n: int = 10, *, hidden: Sequence[AnySparse] = (), backend: Backend | None = None
    ) -> Best:
        """Return the best items of users that are given by their factors, which `fold_in` returns.

        Parameters
        ----------
        users : Side
            Factors, shape (n_users, k), and biases, shape (n_users,), in host memory.
        n : int, default 10
            How many items for each user.
        hidden : sequence of scipy.sparse matrix, shape (n_users, n_items)
            Items that are stored in a user's row are left out for this user.
        backend : Backend, optional
            Where it is computed; by default NumPy for a few users, and otherwise what is usable here.

        Returns
        -------
        Best
            Row numbers of items, whose ids are ``model.items.at(rows)``, and predicted ratings, shape
            (n_users, n); -1 and NaN where fewer items are left.

        Raises
        ------
        ConfigError
            When shapes do not fit the model, or `n` is not a whole number from 1.
        RatingsError
            When a matrix of `hidden` is damaged.
        """
        side = checked_side(users, self.factors.items.factors.shape[1])
        checked = [checked_ratings(matrix, name="hidden items") for matrix in hidden]
        backend = self._backend(len(side.bias), backend)
        return best_items(self.factors, side, n, hidden=checked, backend=backend)

    def similar_items(self, item: IdLike, n: int = 10) -> tuple[Array, FloatArray]:
        """Return the items whose factors point the same way, and the cosine, most similar first.

        Parameters
        ----------
        item : id
            An item of the ratings; it is left out of the answer.
        n : int, default 10
            How many items.

        Returns
        -------
        items : array of ids, shape (≤ n,)
        cosines : array of float, shape (≤ n,)

        Raises
        ------
        UnknownIdError
            When the item was not in the ratings.
        ConfigError
            When `item` is not one id, or `n` is not a whole number from 1.
        """
        rows, cosines = most_similar(np.asarray(self.factors.items.factors), self.items.row(item), n)
        return self.items.at(rows), cosines

    def explain(self, user: IdLike, item: IdLike) -> Explanation:
        """Return which of a user's ratings make the prediction of an item what it is.

        Parameters
        ----------
        user, item : id
            Of the ratings.

        Returns
        -------
        Explanation
            It adds up to the prediction that the user's ratings give with the items as they are, not clipped.
            This is the prediction of `predict`, but for what the last iteration changed with ``momentum``.

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings.
        SolverError
            When the user's equations have no finite solution.
        """
        return self._explain(self.rated[[self.users.row(user)]], np.array([self.items.row(item)]))[0]

    def explain_many(self, user: IdLike, items: IdLike) -> list[Explanation]:
        """Return which of a user's ratings make the predictions of several items what they are, in one solve.

        Parameters
        ----------
        user : id
            Of the ratings.
        items : array-like of ids, shape (m,)

        Returns
        -------
        list of Explanation, length m

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings.
        SolverError
            When the user's equations have no finite solution.
        """
        return self._explain(self.rated[[self.users.row(user)]], self.items.rows(items))

    def explain_ratings(self, ratings: AnySparse, item: IdLike) -> Explanation:
        """Return which ratings of a new user make the prediction of an item what it is.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (1, n_items)
            The user's ratings, columns by ``model.items.rows(ids)``.
        item : id
            Of the ratings of the model.

        Returns
        -------
        Explanation

        Raises
        ------
        ConfigError
            When the ratings are not one row of all items.
        RatingsError
            When a rating is not finite, or an item is rated twice.
        UnknownIdError
            When the item was not in the ratings of the model.
        SolverError
            When the user's equations have no finite solution.
        """
        checked = checked_ratings(ratings)
        if checked.shape != (1, len(self.items)):
            raise ConfigError(
                f"ratings must be a row of {len(self.items)} items, but have the shape {checked.shape}"
            )
        return self._explain(checked, np.array([self.items.row(item)]))[0]

    def _explain(self, rated: Ratings, items: IntArray) -> list[Explanation]:
        parts = self._contributions(rated, items)
        return explanations(parts, rated, items, factors=self.factors, ids=self.items)
