"""Answers to requests: recommendations and predicted ratings for known, new and unknown users at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.backends import Backend
from toolkit.models.base import Model, taken
from toolkit.predictor import Side, predict_rows
from toolkit.serving import limits
from toolkit.serving.folding import FoldIn
from toolkit.serving.requests import Requests, read

_Array = np.ndarray[Any, Any]


class Answers:
    """A model that answers tables of requests.

    Parameters
    ----------
    model : Model
        What answers.
    """

    def __init__(self, model: Model) -> None:
        self.model = model
        self._fold_in = FoldIn(model)
        # Not the compiled loops, which take seconds to load where they are.
        self._backend = Backend(model.options.threads)
        # Averages and files: nobody's first request waits for them.
        warm = {"user": model.users.ids[:1].tolist(), "item": [None], "ratings": [None]}
        self(warm, {})

    def __call__(self, columns: Any, params: Any) -> list[dict[str, Any]]:
        """Return the answer to each row of a table; the two parameters are those of `requests.read`.

        Returns
        -------
        list of dict, length n
            With ``user``, as it was given; ``user_is``: known, new (folded in from its ratings) or unknown
            (the average user); ``ignored``: for a new user, rated items that the model does not know.
            Where an item was given, ``item``, ``item_is`` (known or unknown: the average item) and
            ``rating``, clipped to the scale. Otherwise ``items``, best first: each with ``item``, ``score``
            (a rating, not clipped) and, where the model has titles, ``title``.

        Raises
        ------
        ConfigError
            When the request is refused.
        """
        asked = read(self.model, columns, params)
        model, f = self.model, self.model.factors
        wanted = np.flatnonzero([item is None for item in asked.items])
        limits.require_at_most(limits.ITEMS, len(wanted) * asked.k, "recommended items (rows × k)")
        limits.require_at_most(limits.SCORES, len(wanted) * len(model.items), "scores (rows × items)")
        users = taken(f.users, asked.user_rows, f.average_user)
        if len(asked.new):
            solved = self._fold_in(asked.ratings)
            users.factors[asked.new], users.bias[asked.new] = solved
        answers = [self._who(asked, row) for row in range(len(asked.users))]
        for row in asked.new.tolist():
            answers[row]["user_is"] = "new"
        self._predict(asked, np.setdiff1d(np.arange(len(answers)), wanted), users, answers)
        self._recommend(asked, wanted, users, answers)
        return answers

    @staticmethod
    def _who(asked: Requests, row: int) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "user": asked.users[row],
            "user_is": "known" if asked.user_rows[row] >= 0 else "unknown",
        }
        if row in asked.ignored:
            answer["ignored"] = asked.ignored[row]
        return answer

    def _predict(self, asked: Requests, rows: _Array, users: Side, answers: list[dict[str, Any]]) -> None:
        f = self.model.factors
        columns = asked.item_columns[rows]
        ratings = predict_rows(users.at(rows), taken(f.items, columns, f.average_item), f, np)
        for row, column, rating in zip(rows.tolist(), columns.tolist(), ratings.tolist(), strict=True):
            answers[row] |= {
                "item": asked.items[row],
                "item_is": "known" if column >= 0 else "unknown",
                "rating": rating,
            }

    def _recommend(self, asked: Requests, rows: _Array, users: Side, answers: list[dict[str, Any]]) -> None:
        model = self.model
        new = np.full(len(answers), -1)
        new[asked.new] = np.arange(len(asked.new))
        # Those who are not known have nothing in common with the matrix of ratings, and the other way around.
        for part, source, at in (
            (rows[asked.user_rows[rows] >= 0], model.rated, asked.user_rows),
            (rows[new[rows] >= 0], asked.ratings, new),
            (rows[(asked.user_rows[rows] < 0) & (new[rows] < 0)], None, new),
        ):
            if not len(part):
                continue
            hidden = [source[at[part]]] if asked.filter_seen and source is not None else []
            # All unknown users are the average one.
            who = users.at(part if source is not None else part[:1])
            best = model.best_of(who, asked.k, hidden=hidden, backend=self._backend)
            shown = [self._shown(*found) for found in zip(best.items, best.scores, strict=True)]
            for place, row in enumerate(part.tolist()):
                answers[row]["items"] = shown[place if source is not None else 0]

    def _shown(self, columns: _Array, scores: _Array) -> list[dict[str, Any]]:
        real = columns >= 0
        columns, model = columns[real], self.model
        found = {"item": model.items.ids[columns].tolist(), "score": scores[real].tolist()}
        if model.titles is not None:
            found["title"] = model.titles[columns].tolist()
        return [dict(zip(found, values, strict=True)) for values in zip(*found.values(), strict=True)]
