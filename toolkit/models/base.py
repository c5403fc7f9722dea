"""The one door to a model of any kind: it answers, takes new users and items in, and is saved and loaded."""

from __future__ import annotations

from abc import abstractmethod
from typing import Self

from toolkit.arrays import AnySparse, IdLike, Ratings, SideName
from toolkit.backends import Backend
from toolkit.inputs import checked_ratings, require_columns
from toolkit.models.explained import ExplainingModel
from toolkit.models.measured import MeasuredModel
from toolkit.models.similar import SimilarityModel
from toolkit.predictor import Side


class Model(MeasuredModel, SimilarityModel, ExplainingModel):
    """A fitted model of any kind: one training, or one posterior (`toolkit.WALS`).

    Users and items have ids outside, and row numbers inside: ``model.items.rows(ids)`` returns row numbers,
    and ``model.items.at(rows)`` ids. Before `fit`, what only a fitted model has raises
    `toolkit.errors.NotFittedError`.

    Examples
    --------
    >>> import scipy.sparse as sp
    >>> from toolkit import WALS, Model
    >>> ratings = sp.random_array((30, 20), density=0.3, rng=0, format="csr")
    >>> WALS(factors=4, iterations=5).fit(ratings).save("a model")
    >>> model = Model.load("a model")
    >>> model.predict([3, 7], 5).shape
    (2,)
    >>> items, scores = model.recommend(7, n=3)
    >>> len(items)
    3
    """

    @abstractmethod
    def _fold_in(self, ratings: Ratings, side: SideName, backend: Backend) -> Side:
        """Return factors and biases of new users or items, as those of `factors`."""

    @abstractmethod
    def _update(self, ratings: Ratings, ids: IdLike, side: SideName, backend: Backend) -> None:
        """Solve users or items again, or for the first time, or change nothing."""

    def fold_in(self, ratings: AnySparse, *, backend: Backend | None = None) -> Side:
        """Return factors and biases of new users from their ratings; the model does not change.

        The normal equations are those of training, so a user's ratings in `rated` give the row that the user
        has.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (n, n_items)
            One row per new user, columns by ``model.items.rows(ids)``.
        backend : Backend, optional
            Where it is computed; by default NumPy for a few users, and otherwise compiled loops.

        Returns
        -------
        Side
            Arrays of shape (n, k) and (n,); zeros for a user without ratings.

        Raises
        ------
        ConfigError
            When the ratings have another number of columns.
        RatingsError
            When the matrix is not one of finite ratings, each pair once.
        SolverError
            When the equations of a row have no finite solution.
        """
        checked = self._checked_rows(ratings, "user")
        return self._fold_in(checked, "user", self._backend(checked.shape[0], backend))

    def fold_in_items(self, ratings: AnySparse, *, backend: Backend | None = None) -> Side:
        """Return factors and biases of new items from the ratings they got; the model does not change.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (n, n_users)
            One row per new item, columns by ``model.users.rows(ids)``.
        backend : Backend, optional
            Where it is computed; by default NumPy for a few items, and otherwise compiled loops.

        Returns
        -------
        Side
            Arrays of shape (n, k) and (n,); zeros for an item without ratings.

        Raises
        ------
        ConfigError
            When the ratings have another number of columns.
        RatingsError
            When the matrix is not one of finite ratings, each pair once.
        SolverError
            When the equations of a row have no finite solution.
        """
        checked = self._checked_rows(ratings, "item")
        return self._fold_in(checked, "item", self._backend(checked.shape[0], backend))

    def partial_fit(self, ratings: AnySparse, *, user_ids: IdLike) -> Self:
        """Solve some users again for all their ratings as they are now, and take new users in.

        Items, mean, rating scale and the weights of observed ratings stay those of the training. So these
        users get the row that `fold_in` gives, and every other user keeps the row that `fold_in` gives.
        `rated` and `item_counts` follow the new ratings. What many changed users would change of the items
        takes a new `fit`.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (n, n_items)
            All ratings of each user, columns by ``model.items.rows(ids)``.
        user_ids : array-like, shape (n,)
            The id of each row; a user that the model does not know is appended.

        Returns
        -------
        Self
            This model.

        Raises
        ------
        ConfigError
            When there is not one id for each row, an id occurs twice, or the columns are not the items.
        RatingsError
            When the matrix is not one of finite ratings, each pair once.
        SolverError
            When the equations of a row have no finite solution. The model does not change then.
        """
        return self._partial_fit(ratings, user_ids, "user")

    def partial_fit_items(self, ratings: AnySparse, *, item_ids: IdLike) -> Self:
        """Solve some items again for all ratings that they have now, and take new items in.

        Users stay as they are, and so do mean and rating scale. The weight of an observed rating of these
        items follows their number of ratings now, as `fold_in_items` takes it. Users who rated them are
        solved again by `partial_fit`.

        Parameters
        ----------
        ratings : scipy.sparse matrix, shape (n, n_users)
            All ratings of each item, columns by ``model.users.rows(ids)``.
        item_ids : array-like, shape (n,)
            The id of each row; an item that the model does not know is appended.

        Returns
        -------
        Self
            This model.

        Raises
        ------
        ConfigError
            When there is not one id for each row, an id occurs twice, or the columns are not the users.
        RatingsError
            When the matrix is not one of finite ratings, each pair once.
        SolverError
            When the equations of a row have no finite solution. The model does not change then.
        """
        return self._partial_fit(ratings, item_ids, "item")

    def _partial_fit(self, ratings: AnySparse, ids: IdLike, side: SideName) -> Self:
        checked = self._checked_rows(ratings, side)
        self._update(checked, ids, side, self._backend(checked.shape[0]))
        return self

    def _checked_rows(self, ratings: AnySparse, side: SideName) -> Ratings:
        factors = self.factors
        checked = checked_ratings(ratings, str(factors.items.factors.dtype))
        other: SideName = "item" if side == "user" else "user"
        require_columns(checked, len((factors.items if side == "user" else factors.users).bias), other)
        return checked
