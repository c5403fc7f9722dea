"""The root mean squared error of predictions."""

from __future__ import annotations

import math

from toolkit.arrays import AnySparse, DeviceArray
from toolkit.backends import Backend
from toolkit.predictor import Predictor

Pairs = tuple[DeviceArray, DeviceArray, DeviceArray]
"""User rows, item columns and ratings of some pairs, each of shape (n,), on a backend's device."""


def pairs_on(backend: Backend, ratings: AnySparse) -> Pairs:
    """Return the user rows, item columns and values of a sparse matrix as arrays on a backend's device."""
    coo = ratings.tocoo()
    return backend.asarray(coo.row), backend.asarray(coo.col), backend.asarray(coo.data)


def rmse(
    predictor: Predictor, users: DeviceArray, items: DeviceArray, ratings: DeviceArray, backend: Backend
) -> float | None:
    """Return the root mean squared error over pairs, accumulated in float64; None when there are no pairs.

    Parameters
    ----------
    predictor : Predictor
        Fitted numbers, on the device of `backend`; predictions are clipped where it has a rating scale.
    users, items : array of int, shape (n,)
        User rows and item columns.
    ratings : array of float, shape (n,)
        What they rated.
    backend : Backend
        Where it is computed.
    """
    if len(ratings) == 0:
        return None
    return math.sqrt(backend.squared_errors(predictor, users, items, ratings) / len(ratings))
