"""Ratings that seem to stand for something else: for no rating, as -1 or 99 do among one to five stars."""

from __future__ import annotations

import numpy as np

from toolkit.errors import WalslabError
from toolkit.ingest.reading.examples import first_columns
from toolkit.ingest.reading.source import RatingsSource

_LINES = 1000
# Fewer ratings tell nothing, and people give ratings of few values.
_SEVERAL, _VALUES = 12, 50


def rating_apart(source: RatingsSource) -> tuple[float, int, int, float, float] | None:
    """Return a value of the first ratings that is far from all others, or None.

    It is the least or the greatest, and further from the next than the others are from each other; or it is
    -1, and no other is negative.

    Parameters
    ----------
    source : RatingsSource
        The files and how to read them. A wide table says what stands for no rating.

    Returns
    -------
    tuple of float, int, int, float and float, or None
        The value, how many ratings have it, of how many, and the least and greatest of the others.
    """
    if source.wide:
        return None
    try:
        ratings = first_columns(source.of_file(0), _LINES).ratings
    except (WalslabError, ValueError, LookupError, OSError):
        return None
    values, counts = np.unique(ratings, return_counts=True)
    if len(ratings) < _SEVERAL or not 3 <= len(values) <= _VALUES:
        return None
    for at, others in ((0, values[1:]), (-1, values[:-1])):
        low, high = float(others[0]), float(others[-1])
        value = float(values[at])
        gap = min(abs(value - low), abs(value - high))
        if gap > high - low or (value == -1 and low >= 0 and len(others) > 2):
            return value, int(counts[at]), len(ratings), low, high
    return None
