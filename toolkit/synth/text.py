"""Lines of text for whole arrays of ratings at a time."""

from __future__ import annotations

from typing import cast

import numpy as np

from toolkit.arrays import Array
from toolkit.synth.plan import Plan

HEADER = b"userId,movieId,rating,timestamp\n"
# This many lines at a time fit into the processor's cache.
_LINES = 1 << 15
_LAST_FIVE = np.array([f"{n:05d}\n".encode() for n in range(100_000)])


class Lines:
    """The lines of a plan's ratings: ``user,item,rating,seconds``.

    Tables of padded text give the fields; these are put side by side, and the padding is removed.

    Parameters
    ----------
    plan : Plan
        The plan whose ids are written.
    """

    def __init__(self, plan: Plan) -> None:
        self._users, self._items = _field(plan.user_ids), _field(plan.item_ids)
        self._ratings = _numbers(plan.scale * plan.recipe.times + plan.recipe.plus)
        self._line = np.dtype(
            [
                ("user", self._users.dtype),
                ("item", self._items.dtype),
                ("rating", self._ratings.dtype),
                ("time", "S5"),
                ("last", _LAST_FIVE.dtype),
            ]
        )

    def text(self, user: Array, item: Array, level: Array, time: Array) -> Array:
        """Return the lines of ratings, arrays of shape (n,), as bytes: uint8 of shape (length,)."""
        parts = [
            self._few(user[at], item[at], level[at], time[at])
            for at in (slice(start, start + _LINES) for start in range(0, len(user), _LINES))
        ]
        return np.concatenate(parts) if parts else np.empty(0, np.uint8)

    def _few(self, user: Array, item: Array, level: Array, time: Array) -> Array:
        lines = np.empty(len(user), dtype=self._line)
        lines["user"] = self._users[user]
        lines["item"] = self._items[item]
        lines["rating"] = self._ratings[level]
        high = time // 100_000
        least = int(high.min())
        lines["time"] = np.arange(least, int(high.max()) + 1).astype("S5")[high - least]
        lines["last"] = _LAST_FIVE[time - high * 100_000]
        padded = lines.view(np.uint8)
        return cast("Array", padded[padded != 0])


def _field(ids: Array) -> Array:
    return cast("Array", np.strings.add(ids.astype("S"), b","))


def _numbers(values: Array) -> Array:
    """Return numbers with a comma, all with as many decimals as the longest of them needs."""
    decimals = next((d for d in range(6) if np.allclose(values, np.round(values, d), 0, 1e-9)), 6)
    return np.array([f"{value:.{decimals}f},".encode() for value in values])
