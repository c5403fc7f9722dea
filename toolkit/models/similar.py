"""A model that finds the items and users that are most like others, by id."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from toolkit.arrays import IdLike, SideName
from toolkit.models.best_items import Candidates, most_similar
from toolkit.models.lists import Lists, as_arrays, as_table, candidates, is_one
from toolkit.models.recommending import RecommendingModel

if TYPE_CHECKING:
    import pandas as pd


class SimilarityModel(RecommendingModel):
    """A model that compares items with items, and users with users, by the cosine of their factors."""

    @overload
    def similar_items(
        self,
        item: IdLike,
        n: int = ...,
        *,
        items: IdLike | None = ...,
        exclude_items: IdLike | None = ...,
        as_frame: Literal[False] = ...,
    ) -> Lists: ...
    @overload
    def similar_items(
        self,
        item: IdLike,
        n: int = ...,
        *,
        items: IdLike | None = ...,
        exclude_items: IdLike | None = ...,
        as_frame: Literal[True],
    ) -> pd.DataFrame: ...
    def similar_items(
        self,
        item: IdLike,
        n: int = 10,
        *,
        items: IdLike | None = None,
        exclude_items: IdLike | None = None,
        as_frame: bool = False,
    ) -> Lists | pd.DataFrame:
        """Return the items whose factors point the same way as those of one, or of each of several.

        Parameters
        ----------
        item : id, or array-like of ids, shape (m,)
            Items of the ratings; each is left out of its own list.
        n : int, default 10
            How many items for each; fewer come back when fewer are left.
        items : ids, optional
            The items to choose from; by default all.
        exclude_items : ids, optional
            Items that are left out; those that the model lacks are no matter.
        as_frame : bool, default False
            Whether a table of pandas comes back, with the columns item, similar_item, rank (from 1) and
            score.

        Returns
        -------
        items : array of ids, shape (≤ n,) for one item, or (m, n) for several
            Where fewer items are left than for another: -1, or None where ids are text.
        cosines : array of float, same shape
            Most similar first; NaN where fewer are left than for another.

        Raises
        ------
        UnknownIdError
            When an item, or one of `items`, was not in the ratings.
        ConfigError
            When `n` is not a whole number from 1.
        """
        return self._similar("item", item, n, candidates(self.items, items, exclude_items), as_frame=as_frame)

    @overload
    def similar_users(
        self,
        user: IdLike,
        n: int = ...,
        *,
        users: IdLike | None = ...,
        exclude_users: IdLike | None = ...,
        as_frame: Literal[False] = ...,
    ) -> Lists: ...
    @overload
    def similar_users(
        self,
        user: IdLike,
        n: int = ...,
        *,
        users: IdLike | None = ...,
        exclude_users: IdLike | None = ...,
        as_frame: Literal[True],
    ) -> pd.DataFrame: ...
    def similar_users(
        self,
        user: IdLike,
        n: int = 10,
        *,
        users: IdLike | None = None,
        exclude_users: IdLike | None = None,
        as_frame: bool = False,
    ) -> Lists | pd.DataFrame:
        """Return the users whose factors point the same way as those of one, or of each of several.

        Parameters
        ----------
        user : id, or array-like of ids, shape (m,)
            Users of the ratings; each is left out of its own list.
        n : int, default 10
            How many users for each; fewer come back when fewer are left.
        users : ids, optional
            The users to choose from; by default all.
        exclude_users : ids, optional
            Users that are left out; those that the model lacks are no matter.
        as_frame : bool, default False
            Whether a table of pandas comes back, with the columns user, similar_user, rank (from 1) and
            score.

        Returns
        -------
        users : array of ids, shape (≤ n,) for one user, or (m, n) for several
            Where fewer users are left than for another: -1, or None where ids are text.
        cosines : array of float, same shape
            Most similar first; NaN where fewer are left than for another.

        Raises
        ------
        UnknownIdError
            When a user, or one of `users`, was not in the ratings.
        ConfigError
            When `n` is not a whole number from 1.
        """
        return self._similar("user", user, n, candidates(self.users, users, exclude_users), as_frame=as_frame)

    def _similar(
        self, side: SideName, ids: IdLike, n: int, among: Candidates, *, as_frame: bool
    ) -> Lists | pd.DataFrame:
        table, factors = (
            (self.items, self.factors.items) if side == "item" else (self.users, self.factors.users)
        )
        rows = table.rows(ids)
        own = np.asarray(factors.factors)
        best = most_similar(own, rows, n, backend=self._backend(len(rows)), candidates=among)
        if as_frame:
            return as_table(best, table.at(rows), table, (side, f"similar_{side}"))
        return as_arrays(best, table, one=is_one(ids))
