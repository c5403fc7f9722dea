"""Answers to requests: recommendations and predicted ratings for known, new and unknown users at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import FloatArray, IntArray, Ratings
from toolkit.backends import Backend
from toolkit.models import Model, interval_of, rows_or_average
from toolkit.predictor import Side, predict_rows
from toolkit.serving import limits
from toolkit.serving.requests import Requests, read

Answer: TypeAlias = dict[str, Any]
"""The answer to one row of a table, as JSON has it."""


class Answers:
    """A model that answers tables of requests.

    Parameters
    ----------
    model : Model
        The model that answers.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        # NumPy: compiled loops take seconds to load where they are installed.
        self._backend = Backend(model.options.threads)
        # Averages, files, and sums over all items are ready before the first request comes.
        self({"user": [model.users.id(0)], "item": [None], "ratings": [None]}, {})
        self._fold_in(sp.csr_matrix((1, len(model.items))))

    def __call__(self, columns: Mapping[str, Sequence[Any]], params: Mapping[str, object]) -> list[Answer]:
        """Return the answer to each row of a table.

        Parameters
        ----------
        columns : mapping of str to sequence, all of length n
            The table, as `toolkit.serving.requests.read` takes it.
        params : mapping
            The parameters of the request.

        Returns
        -------
        list of dict, length n
            With ``user``, as it was given; ``user_is``: known, new (folded in from its ratings) or unknown
            (the average user); ``ignored``: for a new user, rated items that the model does not know.
            Where an item was given, ``item``, ``item_is`` (known or unknown: the average item) and
            ``rating``, clipped to the scale; with an interval, ``low`` and ``high``, clipped as well, and
            ``clipped``: whether one of them is an end of the scale. Otherwise ``items``, best first: each
            with ``item``, ``score`` (a rating, not clipped) and, where the model has titles, ``title``.

        Raises
        ------
        ConfigError
            When the request is refused.
        """
        requests = read(self.model, columns, params)
        model, f = self.model, self.model.factors
        wanted = np.flatnonzero([item is None for item in requests.items])
        limits.require_at_most(limits.ITEMS, len(wanted) * requests.n, "recommended items (rows × n)")
        limits.require_at_most(limits.SCORES, len(wanted) * len(model.items), "scores (rows × items)")
        users = rows_or_average(f.users, requests.user_rows, f.average_user)
        if len(requests.new):
            users.factors[requests.new], users.bias[requests.new] = self._fold_in(requests.ratings)
        answers = [self._who(requests, row) for row in range(len(requests.users))]
        for row in requests.new.tolist():
            answers[row]["user_is"] = "new"
        pairs = np.setdiff1d(np.arange(len(answers)), wanted)
        self._predict(requests, pairs, users, answers)
        if requests.interval:
            self._add_intervals(requests, pairs, users, answers)
        self._recommend(requests, wanted, users, answers)
        return answers

    def _fold_in(self, ratings: Ratings) -> Side:
        # On the thread of the request: requests are what runs side by side in a server.
        return self.model.fold_in(ratings, backend=Backend(threads=1))

    @staticmethod
    def _who(requests: Requests, row: int) -> Answer:
        answer: Answer = {
            "user": requests.users[row],
            "user_is": "known" if requests.user_rows[row] >= 0 else "unknown",
        }
        if row in requests.ignored:
            answer["ignored"] = requests.ignored[row]
        return answer

    def _predict(self, requests: Requests, rows: IntArray, users: Side, answers: list[Answer]) -> None:
        f = self.model.factors
        columns = requests.item_columns[rows]
        ratings = predict_rows(users.at(rows), rows_or_average(f.items, columns, f.average_item), f, np)
        for row, column, rating in zip(rows.tolist(), columns.tolist(), ratings.tolist(), strict=True):
            answers[row] |= {
                "item": requests.items[row],
                "item_is": "known" if column >= 0 else "unknown",
                "rating": rating,
            }

    def _add_intervals(self, requests: Requests, rows: IntArray, users: Side, answers: list[Answer]) -> None:
        """Add the ends of intervals to predicted ratings."""
        model, f = self.model, self.model.factors
        columns = requests.item_columns[rows]
        items = rows_or_average(f.items, columns, f.average_item)
        mean = predict_rows(users.at(rows), items, f, np, clip=False)
        deviation = np.empty(len(rows))
        place = np.searchsorted(requests.new, rows).clip(max=max(len(requests.new) - 1, 0))
        new = np.isin(rows, requests.new)
        deviation[~new] = model.deviations(requests.user_rows[rows[~new]], columns[~new])
        if new.any():
            folded = model.folded_samples(requests.ratings, Backend(threads=1))
            deviation[new] = model.deviations(place[new], columns[new], new=folded)
        _, low, high = interval_of(mean, deviation, requests.interval, f.scale)
        for row, *ends in zip(rows.tolist(), low.tolist(), high.tolist(), strict=True):
            clipped = f.scale is not None and (ends[0] <= f.scale[0] or ends[1] >= f.scale[1])
            answers[row] |= {"low": ends[0], "high": ends[1], "clipped": clipped}

    def _recommend(self, requests: Requests, rows: IntArray, users: Side, answers: list[Answer]) -> None:
        model = self.model
        new = np.full(len(answers), -1)
        new[requests.new] = np.arange(len(requests.new))
        # Known users, new users, and unknown users, who all are the average one: each kind has seen others.
        for part, source, at in (
            (rows[requests.user_rows[rows] >= 0], model.rated, requests.user_rows),
            (rows[new[rows] >= 0], requests.ratings, new),
            (rows[(requests.user_rows[rows] < 0) & (new[rows] < 0)], None, new),
        ):
            if not len(part):
                continue
            hidden = [source[at[part]]] if requests.exclude_seen and source is not None else []
            side = users.at(part if source is not None else part[:1])
            best = model.best_of(side, requests.n, hidden=hidden, backend=self._backend)
            lists = [self._entries(*pair) for pair in zip(best.items, best.scores, strict=True)]
            for number, row in enumerate(part.tolist()):
                answers[row]["items"] = lists[number if source is not None else 0]

    def _entries(self, columns: IntArray, scores: FloatArray) -> list[Answer]:
        real = columns >= 0
        columns, model = columns[real], self.model
        entries = {"item": model.items.at(columns).tolist(), "score": scores[real].tolist()}
        if model.titles is not None:
            entries["title"] = model.titles[columns].tolist()
        return [dict(zip(entries, values, strict=True)) for values in zip(*entries.values(), strict=True)]
