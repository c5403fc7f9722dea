"""A model that predicts ratings, and measures its predictions on ratings that it has not seen."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, overload

import numpy as np

from toolkit.arrays import AnySparse, FloatArray, IdLike, IntArray, Ratings, Table
from toolkit.backends import Backend
from toolkit.errors import ConfigError, RatingsError
from toolkit.evaluation import rank
from toolkit.inputs import checked_ratings, checked_word
from toolkit.models.fitted import Fitted, Training
from toolkit.models.intervals import (
    Interval,
    checked_probability,
    deviations,
    interval_of,
    require_samples,
    sampled_trainings,
)
from toolkit.models.posterior import Posterior
from toolkit.models.predicting import predictions
from toolkit.models.stored import StoredModel
from toolkit.models.table_ratings import matrix_of, rows_of
from toolkit.predictor import Predictor, Side
from toolkit.tables import is_table, rating_columns

Unknown = Literal["refuse", "average"]
_UNKNOWN = ("refuse", "average")


class Evaluation(NamedTuple):
    """How good predictions and recommendations are on ratings that were held out.

    Attributes
    ----------
    rmse : float
        Root mean squared error of the predicted ratings.
    recall, capped_recall, ndcg, coverage : float
    users : int
        As those of `toolkit.evaluation.Ranking`.
    """

    rmse: float
    recall: float
    capped_recall: float
    ndcg: float
    coverage: float
    users: int


class MeasuredModel(StoredModel):
    """A model that predicts the ratings of pairs of ids."""

    _sampled: tuple[Fitted[Predictor], Posterior, list[Training]] | None = None

    @overload
    def predict(
        self, users: IdLike, items: IdLike, *, clip: bool = ..., unknown: Unknown = ..., interval: None = ...
    ) -> FloatArray: ...
    @overload
    def predict(
        self, users: IdLike, items: IdLike, *, clip: bool = ..., unknown: Unknown = ..., interval: float
    ) -> Interval: ...
    def predict(
        self,
        users: IdLike,
        items: IdLike,
        *,
        clip: bool = True,
        unknown: Unknown = "refuse",
        interval: float | None = None,
    ) -> FloatArray | Interval:
        """Return predicted ratings of pairs of ids.

        Parameters
        ----------
        users, items : scalar or array-like of ids, broadcast against each other
        clip : bool, default True
            Whether predictions are clipped to the rating scale, where the model was trained to (``clip``).
        unknown : {"refuse", "average"}, default "refuse"
            What an id that was not in the ratings gets: an error, or the prediction of the average user,
            item, or both.
        interval : float, optional
            The probability with which a rating lies between two ends that come with it, such as 0.8. It takes
            a model of `WALS.fit_posterior` that keeps samples.

        Returns
        -------
        array of float, shape (n,)
            With an `interval` three of them: predictions, lower ends and upper ends. They are clipped as
            predictions are, so that an end of the scale may stand for what lies beyond it.

        Raises
        ------
        UnknownIdError
            When an id was not in the ratings, and such ids are refused.
        ConfigError
            When there are not as many users as items, and not one of either; when an interval is no
            probability, or the model keeps no samples.
        """
        checked_word("unknown", unknown, _UNKNOWN)
        tables = ((self.users, users), (self.items, items))
        rows, columns = (table.find(i) if unknown == "average" else table.rows(i) for table, i in tables)
        if len(rows) != len(columns) and 1 not in (len(rows), len(columns)):
            raise ConfigError(f"users and items must be as many, but got {len(rows)} and {len(columns)}")
        rows, columns = np.broadcast_arrays(rows, columns)
        if interval is None:
            return predictions(self.factors, rows, columns, clip=clip)
        probability = checked_probability(interval)
        mean = predictions(self.factors, rows, columns, clip=False)
        deviation = self.deviations(rows, columns)
        return interval_of(mean, deviation, probability, self.factors.scale if clip else None)

    def deviations(
        self, users: IntArray, items: IntArray, *, new: Sequence[Side] | None = None
    ) -> FloatArray:
        """Return the standard deviation of a rating around each prediction, by row number.

        Parameters
        ----------
        users, items : array of int, shape (n,)
            Row numbers; below 0 for one that the model lacks.
        new : sequence of Side, optional
            What `folded_samples` returns, where `users` are row numbers of new users.

        Raises
        ------
        ConfigError
            When the model keeps no samples.
        """
        return deviations(require_samples(self.posterior), users, items, self.state.weight_counts, new=new)

    def folded_samples(self, ratings: Ratings, backend: Backend) -> list[Side]:
        """Return new users as each sample has them: drawn, given their ratings and the items of the sample.

        Parameters
        ----------
        ratings : scipy.sparse CSR, shape (n, n_items)
            One row for each user, as `toolkit.inputs.checked_ratings` returns it.
        backend : Backend
            Where they are computed.

        Raises
        ------
        ConfigError
            When the model keeps no samples.
        """
        return [each.fold_in(ratings, "user", backend) for each in self._samples()]

    def _samples(self) -> list[Training]:
        """Return the samples as trainings; sums over all items, which fold-in needs, are taken once."""
        state, posterior = self.state, require_samples(self.posterior)
        if self._sampled is None or self._sampled[:2] != (state, posterior):
            self._sampled = state, posterior, sampled_trainings(posterior, state)
        return self._sampled[2]

    def rmse(
        self,
        ratings: AnySparse | Table,
        *,
        columns: Sequence[object] | None = None,
        unknown: Unknown = "refuse",
    ) -> float | None:
        """Return the RMSE on ratings, clipped as the model is; None where there is no rating.

        Parameters
        ----------
        ratings : table, or scipy.sparse matrix of shape (n_users, n_items)
            A table by id, as `fit` takes it, or a matrix by row number.
        columns : sequence of str, length 3, optional
            The columns of users, items and ratings in a table.
        unknown : {"refuse", "average"}, default "refuse"
            What an id of a table that the model lacks gets; see `predict`.

        Raises
        ------
        ConfigError
            When a matrix has another shape, or a table lacks a column.
        UnknownIdError
            When an id was not in the ratings, and such ids are refused.
        RatingsError
            When the matrix is not one of finite ratings, each pair once, or an id or a rating of a table
            cannot be used.
        """
        return self._error(*self._held_out(ratings, columns, unknown))

    def score(self, ratings: AnySparse | Table, *, columns: Sequence[object] | None = None) -> float:
        """Return the negative RMSE on ratings: the greater the better, as scikit-learn's searches want it.

        Users and items that the model lacks count as the average user and item, as they do where a model
        predicts of somebody new: cross-validation of a table always has some.

        Parameters
        ----------
        ratings : table, or scipy.sparse matrix of shape (n_users, n_items)
            A table by id, as `fit` takes it, or a matrix by row number.
        columns : sequence of str, length 3, optional
            The columns of users, items and ratings in a table.

        Returns
        -------
        float
            At most 0.

        Raises
        ------
        ConfigError, RatingsError
            As `rmse` does, and where there is no rating.
        """
        error = self.rmse(ratings, columns=columns, unknown="average")
        if error is None:
            raise RatingsError("ratings to score must have at least one rating, but have none")
        return -error

    def evaluate(
        self,
        ratings: AnySparse | Table,
        *,
        n: int = 10,
        relevant: float | None = None,
        exclude_seen: bool = True,
        columns: Sequence[object] | None = None,
        unknown: Unknown = "refuse",
    ) -> Evaluation:
        """Return how well predicted ratings, and the n best items of each user, agree with ratings.

        Parameters
        ----------
        ratings : table, or scipy.sparse matrix of shape (n_users, n_items)
            Ratings that the model was not trained on: a table by id, as `fit` takes it, or a matrix by row
            number.
        n : int, default 10
            How many items are recommended to each user.
        relevant : float, optional
            Smallest rating that makes an item relevant; by default every item of `ratings` is.
        exclude_seen : bool, default True
            Whether items that the model saw a user rate are not recommended to this user.
        columns : sequence of str, length 3, optional
            The columns of users, items and ratings in a table.
        unknown : {"refuse", "average"}, default "refuse"
            What an id of a table that the model lacks gets; see `predict`. Such ratings count in the RMSE
            alone: nobody is recommended an item that the model lacks.

        Returns
        -------
        Evaluation
            NaN where nothing is relevant.

        Raises
        ------
        ConfigError, UnknownIdError, RatingsError
            As `rmse` does, and where there is no rating.
        """
        users, items, values = self._held_out(ratings, columns, unknown)
        error = self._error(users, items, values)
        if error is None:
            raise RatingsError("ratings to evaluate must have at least one rating, but have none")
        known = (users >= 0) & (items >= 0)
        held_out = matrix_of(self.users, self.items, (users[known], items[known]), values[known], "ratings")
        seen = [self.rated] if exclude_seen else []
        backend = Backend.prefer("numba", self.options.threads)
        ranking = rank(self.factors, held_out, seen=seen, n=n, relevant=relevant, backend=backend)
        return Evaluation(error, *ranking)

    def _held_out(
        self, ratings: AnySparse | Table, columns: Sequence[object] | None, unknown: Unknown
    ) -> tuple[IntArray, IntArray, FloatArray]:
        """Return row numbers of users and items, -1 where the model lacks one, and their ratings."""
        checked_word("unknown", unknown, _UNKNOWN)
        if is_table(ratings):
            given = rating_columns(ratings, columns)
            return *rows_of(given, self.users, self.items, refuse=unknown == "refuse"), given.ratings
        checked = checked_ratings(ratings)
        if columns is not None:
            raise ConfigError("columns are those of a table, but ratings are a matrix: leave them out")
        if checked.shape != self.rated.shape:
            raise ConfigError(f"ratings must have the shape {self.rated.shape}, but have {checked.shape}")
        coo = checked.tocoo()
        return coo.row, coo.col, coo.data

    def _error(self, users: IntArray, items: IntArray, ratings: FloatArray) -> float | None:
        if not len(ratings):
            return None
        backend = Backend(self.options.threads)
        known = (users >= 0) & (items >= 0)
        if known.all():
            return math.sqrt(backend.squared_errors(self.factors, users, items, ratings) / len(ratings))
        own = backend.squared_errors(self.factors, users[known], items[known], ratings[known])
        guessed = predictions(self.factors, users[~known], items[~known], clip=True)
        rest = float(np.square(guessed - ratings[~known], dtype=np.float64).sum())
        return math.sqrt((own + rest) / len(ratings))
