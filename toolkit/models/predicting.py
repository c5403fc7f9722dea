"""Predictions of pairs of rows, where a row that the model lacks is the average row."""

from __future__ import annotations

import numpy as np

from toolkit.arrays import FloatArray, IntArray
from toolkit.predictor import Predictor, Side, predict_pairs, predict_rows


def rows_or_average(side: Side, rows: IntArray, average: Side) -> Side:
    """Return the rows of a side, and the average row for each row number below 0.

    Parameters
    ----------
    side : Side
        Factors, shape (n, k), and biases, shape (n,).
    rows : array of int, shape (m,)
        Row numbers.
    average : Side
        One row, of shape (1, k) and (1,).

    Returns
    -------
    Side
        Copies, of shape (m, k) and (m,).
    """
    own, unknown = side.at(rows), rows < 0
    return Side(
        np.where(unknown[:, None], average.factors, own.factors), np.where(unknown, average.bias, own.bias)
    )


def predictions(factors: Predictor, users: IntArray, items: IntArray, *, clip: bool) -> FloatArray:
    """Return the predicted ratings of pairs.

    Parameters
    ----------
    factors : Predictor
        In host memory.
    users, items : array of int, shape (n,)
        Row numbers; below 0 for the average user or item.
    clip : bool
        Whether predictions are clipped to the rating scale, where the factors have one.

    Returns
    -------
    array of float, shape (n,)
    """
    predicted: FloatArray = predict_pairs(factors, users, items, np, clip=clip)
    unknown = np.flatnonzero((users < 0) | (items < 0))
    if len(unknown):
        own = rows_or_average(factors.users, users[unknown], factors.average_user)
        other = rows_or_average(factors.items, items[unknown], factors.average_item)
        predicted[unknown] = predict_rows(own, other, factors, np, clip=clip)
    return predicted
