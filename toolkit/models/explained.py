"""A model that says which ratings of a user make its predictions what they are."""

from __future__ import annotations

from abc import abstractmethod

import numpy as np

from toolkit.arrays import AnySparse, IdLike, IntArray, Ratings
from toolkit.errors import ConfigError
from toolkit.inputs import checked_ratings
from toolkit.models.explaining import Contributions, Explanation, explanations
from toolkit.models.stored import StoredModel


class ExplainingModel(StoredModel):
    """A model that explains its predictions."""

    @abstractmethod
    def _contributions(self, rated: Ratings, items: IntArray) -> Contributions:
        """Return what each rating of a user adds to predictions; see `explaining.contributions`."""

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
