"""A model that recommends items to users, by id."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np

from toolkit.arrays import AnySparse, IdLike
from toolkit.backends import Backend, Best
from toolkit.inputs import checked_number, checked_ratings, checked_side, checked_type
from toolkit.models.best_items import best_items
from toolkit.models.intervals import require_samples
from toolkit.models.lists import Lists, as_arrays, as_table, candidates, is_one
from toolkit.models.stored import StoredModel
from toolkit.predictor import Predictor, Side

if TYPE_CHECKING:
    import pandas as pd

# Fewer rows are ready sooner than compiled loops are loaded.
_FEW = 64


class RecommendingModel(StoredModel):
    """A model that lists the best items of users."""

    def _backend(self, n_rows: int, wanted: Backend | None = None) -> Backend:
        if wanted is not None:
            return checked_type("backend", wanted, Backend, "Backend.require('numpy')")
        return Backend.prefer("numpy" if n_rows < _FEW else "numba", self.options.threads)

    @overload
    def recommend(
        self,
        user: IdLike,
        n: int = ...,
        *,
        exclude_seen: bool = ...,
        items: IdLike | None = ...,
        exclude_items: IdLike | None = ...,
        explore: int | None = ...,
        as_frame: Literal[False] = ...,
        backend: Backend | None = ...,
    ) -> Lists: ...
    @overload
    def recommend(
        self,
        user: IdLike,
        n: int = ...,
        *,
        exclude_seen: bool = ...,
        items: IdLike | None = ...,
        exclude_items: IdLike | None = ...,
        explore: int | None = ...,
        as_frame: Literal[True],
        backend: Backend | None = ...,
    ) -> pd.DataFrame: ...
    def recommend(
        self,
        user: IdLike,
        n: int = 10,
        *,
        exclude_seen: bool = True,
        items: IdLike | None = None,
        exclude_items: IdLike | None = None,
        explore: int | None = None,
        as_frame: bool = False,
        backend: Backend | None = None,
    ) -> Lists | pd.DataFrame:
        """Return the best items of a user, or of each of several, and their predicted ratings, best first.

        Predicted ratings are not clipped, so that they do not tie.

        Parameters
        ----------
        user : id, or array-like of ids, shape (m,)
            Users of the ratings.
        n : int, default 10
            How many items for each; fewer come back when fewer are left.
        exclude_seen : bool, default True
            Whether items that the model saw a user rate are left out for this user.
        items : ids, optional
            The items to choose from; by default all.
        exclude_items : ids, optional
            Items that nobody is recommended; those that the model lacks are no matter.
        explore : int, optional
            A seed that chooses one of the samples that a model of `WALS.fit_posterior` keeps. The lists are
            those of this sample alone (Thompson sampling): an item that the model knows little of is
            sometimes at the top, as often as it may well belong there. Give another seed to each request.
        as_frame : bool, default False
            Whether a table of pandas comes back, with the columns user, item, rank (from 1) and score.
        backend : Backend, optional
            Where it is computed; by default NumPy for a few users, and otherwise what is usable here. CuPy
            copies the factors to the device each time.

        Returns
        -------
        items : array of ids, shape (≤ n,) for one user, or (m, n) for several
            Where a user has fewer items left than another: -1, or None where ids are text.
        scores : array of float, same shape
            NaN where a user has fewer items left than another.

        Raises
        ------
        UnknownIdError
            When a user, or one of `items`, was not in the ratings.
        ConfigError
            When `n` is not a whole number from 1, or `explore` not one from 0; when the model keeps no
            samples.
        """
        rows = self.users.rows(user)
        factors = self.factors if explore is None else self._sample(explore)
        best = best_items(
            factors,
            factors.users.at(rows),
            n,
            hidden=[self.rated[rows]] if exclude_seen else [],
            backend=self._backend(len(rows), backend),
            candidates=candidates(self.items, items, exclude_items),
        )
        if as_frame:
            return as_table(best, self.users.at(rows), self.items, ("user", "item"))
        return as_arrays(best, self.items, one=is_one(user))

    def _sample(self, seed: int) -> Predictor:
        """Return the sample that a seed chooses."""
        seed, samples = checked_number("explore", seed, 0), require_samples(self.posterior).samples
        return samples[int(np.random.default_rng(seed).integers(len(samples)))]

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
