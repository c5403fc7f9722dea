"""Errors that are measured where users are solved, as soon as they are: neither is sent or read again."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.predictor import Predictor, Side
from toolkit.sharded.work import Measure


class ErrorsOnTheWay:
    """The errors of the users that were solved last, measured as those of the users before were asked for.

    Parameters
    ----------
    fits : callable
        Tells whether a kind of shard can be measured on the way: its users are cut as those are that are
        solved.
    """

    def __init__(self, fits: Callable[[str], bool]) -> None:
        self._fits = fits
        self._users: Side | None = None
        self._items: Side | None = None
        self._asked: dict[str, Measure] = {}
        self._measures: dict[str, Measure] = {}
        self._found: dict[str, dict[int, FloatArray]] = {}

    def begin(self, users: Side, items: Side) -> dict[str, Measure]:
        """Return what is to be measured of users as soon as they are solved, by kind of shard.

        Parameters
        ----------
        users : Side
            It is filled later.
        items : Side
            What they are solved for.
        """
        self._users, self._items = users, items
        self._measures, self._asked = self._asked, {}
        self._found = {kind: {} for kind in self._measures}
        return self._measures

    def add(self, number: int, errors: dict[str, FloatArray]) -> None:
        """Take what was measured of the users of one part."""
        for kind, found in errors.items():
            self._found[kind][number] = found

    def of(self, kind: str, predictor: Predictor, measure: Measure) -> FloatArray | None:
        """Return the errors of a predictor on a kind of shard, or None where they were not measured so."""
        if not (_same(predictor.users, self._users) and _same(predictor.items, self._items)):
            return None
        if self._fits(kind):
            self._asked[kind] = measure
        if kind not in self._measures or not self._measures[kind].is_like(measure):
            return None
        return in_order(self._found[kind])


def in_order(found: dict[int, FloatArray]) -> FloatArray:
    """Return the errors of all parts, given those of each by its number."""
    return np.concatenate([found[number] for number in sorted(found)])


def _same(side: Side, other: Side | None) -> bool:
    """Tell whether two sides are the same arrays."""
    return other is not None and side.factors is other.factors and side.bias is other.bias
