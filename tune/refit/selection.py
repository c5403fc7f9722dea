"""Select which predictions to average, and how often each: greedy selection on held-out ratings."""

from __future__ import annotations

import math
from collections import Counter
from typing import NamedTuple

import numpy as np

from toolkit.arrays import FloatArray

# A difference of rounding is no improvement.
_LEAST = 1e-9


class Selection(NamedTuple):
    """Rows that were chosen, and how good their mean is.

    Attributes
    ----------
    members : list of (int, float)
        Row of the predictions and weight, in the order they were first chosen; weights add up to 1.
    path : list of float
        RMSE of the mean after each choice, in rating units: the first is that of the best row alone.
    """

    members: list[tuple[int, float]]
    path: list[float]


def greedy(
    predictions: FloatArray, ratings: FloatArray, n: int, *, scale: tuple[float, float] | None = None
) -> Selection:
    """Choose rows whose mean predicts the ratings best, one after the other, the same one again if need be.

    The selection begins with the best row, goes on with the row that lowers the error most, and ends when no
    row does. A row that is chosen twice weighs double, so that good rows outweigh those that complete them.

    The path is optimistic, and more so the more rows there are to choose from: the choice is made on the same
    ratings that it is measured on, and a search has ranked its trials by them before. Only ratings that
    neither has seen tell how good the mean is.

    Parameters
    ----------
    predictions : array of float, shape (m, n_ratings)
        Unclipped predictions of each candidate.
    ratings : array of float, shape (n_ratings,)
        The held-out ratings.
    n : int
        How often to choose, and so the most members there can be; at least 1.
    scale : tuple of float, optional
        Smallest and largest rating, to which the mean is clipped.

    Returns
    -------
    Selection
        The same for the same arguments: the first of equally good rows is chosen.

    References
    ----------
    R. Caruana, A. Niculescu-Mizil, G. Crew and A. Ksikes, "Ensemble selection from libraries of models",
    ICML 2004.
    """
    total = np.zeros(len(ratings), np.float64)
    chosen: list[int] = []
    path: list[float] = []
    for size in range(1, n + 1):
        errors = [_rmse((total + row) / size, ratings, scale) for row in predictions]
        best = int(np.argmin(errors))
        if path and not errors[best] < path[-1] - _LEAST:
            break
        total += predictions[best]
        chosen.append(best)
        path.append(errors[best])
    members = [(row, times / len(chosen)) for row, times in Counter(chosen).items()]
    return Selection(members, path)


def _rmse(predicted: FloatArray, ratings: FloatArray, scale: tuple[float, float] | None) -> float:
    if scale:
        np.clip(predicted, *scale, out=predicted)
    predicted -= ratings
    return math.sqrt(float(predicted @ predicted) / len(ratings))
