"""Which trials to average, and with what weights: greedy forward selection on held-out ratings."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any, NamedTuple

import numpy as np

# A difference of rounding is no improvement.
_LEAST = 1e-9
_Array = np.ndarray[Any, Any]


class Selection(NamedTuple):
    """What was chosen.

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
    predictions: _Array, ratings: _Array, n: int, *, scale: tuple[float, float] | None = None
) -> Selection:
    """Choose rows whose mean predicts the ratings best, one after the other, the same one again if need be.

    It begins with the best row, goes on with the one that lowers the error most, and ends when none does. A
    row that is chosen twice weighs double, so that good ones outweigh those that only complete them.

    The path is optimistic, and more so the more rows there are to choose from: the choice is made on the very
    ratings that it is measured on, and by which a search has already ranked its trials. How good the mean is
    takes ratings that neither has seen.

    Parameters
    ----------
    predictions : array of float, shape (m, n_ratings)
        Unclipped predictions of each candidate.
    ratings : array of float, shape (n_ratings,)
        What was rated.
    n : int
        How often to choose, and so the most members there can be; at least 1.
    scale : tuple of float, optional
        Smallest and largest rating, to which the mean is clipped.

    Returns
    -------
    Selection
        The same for the same arguments: of equally good rows the first is taken.

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


def _rmse(predicted: _Array, ratings: _Array, scale: tuple[float, float] | None) -> float:
    if scale:
        np.clip(predicted, *scale, out=predicted)
    predicted -= ratings
    return math.sqrt(float(predicted @ predicted) / len(ratings))
