"""The numbers that predict a rating, and the prediction: factors and biases of both sides, and a mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from toolkit.arrays import ArrayModule, DeviceArray

# Pairs gathered at once, so that two factor rows for each of them are the only large temporaries.
_CHUNK = 1 << 16


class Side(NamedTuple):
    """Factors, shape (n, k), and biases, shape (n,), of the users or of the items."""

    factors: DeviceArray
    bias: DeviceArray

    def at(self, rows: DeviceArray | slice) -> Side:
        """Return some of the rows."""
        return Side(self.factors[rows], self.bias[rows])


@dataclass(frozen=True)
class Predictor:
    """What a rating is predicted by, as μ + b_u + b_i + x_u · y_i.

    Attributes
    ----------
    users, items : Side
        Arrays of float32 or float64, in host memory or on the device.
    mean : float
        Global mean μ; 0 with ``bias="none"``.
    scale : tuple of float, or None
        Smallest and largest rating, to which predictions are clipped; None where they are not.
    """

    users: Side
    items: Side
    mean: float
    scale: tuple[float, float] | None = field(default=None, kw_only=True)

    @cached_property
    def average_user(self) -> Side:
        """Mean factors, shape (1, k), and bias, shape (1,), of the users: whom nothing is known of."""
        return _average(self.users)

    @cached_property
    def average_item(self) -> Side:
        """Mean factors, shape (1, k), and bias, shape (1,), of the items."""
        return _average(self.items)


def _average(side: Side) -> Side:
    factors, bias = np.asarray(side.factors), np.asarray(side.bias)
    mean = factors.mean(axis=0, dtype=np.float64, keepdims=True)
    return Side(mean.astype(factors.dtype), bias.mean(dtype=np.float64, keepdims=True).astype(bias.dtype))


def predict_pairs(
    predictor: Predictor, users: DeviceArray, items: DeviceArray, xp: ArrayModule, *, clip: bool = True
) -> DeviceArray:
    """Return the predicted ratings of pairs.

    Parameters
    ----------
    predictor : Predictor
        Fitted numbers, on the device of `xp`.
    users, items : array of int, shape (n,)
        User rows and item columns.
    xp : module
        ``numpy`` or ``cupy``.
    clip : bool, default True
        Whether predictions are clipped to the rating scale, where the predictor has one.

    Returns
    -------
    array of float, shape (n,)
    """
    predicted: DeviceArray = xp.empty(len(users), predictor.users.factors.dtype)
    for begin in range(0, len(users), _CHUNK):
        part = slice(begin, begin + _CHUNK)
        own, other = predictor.users.at(users[part]), predictor.items.at(items[part])
        predicted[part] = predict_rows(own, other, predictor, xp, clip=clip)
    return predicted


def predict_rows(
    users: Side, items: Side, predictor: Predictor, xp: ArrayModule, *, clip: bool = True
) -> DeviceArray:
    """Return the predicted ratings of users and items that lie beside each other.

    Parameters
    ----------
    users, items : Side
        Factors, shape (n, k), and biases, shape (n,).
    predictor : Predictor
        Gives the mean and the rating scale.
    xp : module
        ``numpy`` or ``cupy``.
    clip : bool, default True
        Whether predictions are clipped to the rating scale, where the predictor has one.

    Returns
    -------
    array of float, shape (n,)
    """
    predicted: DeviceArray = (
        xp.einsum("nk,nk->n", users.factors, items.factors) + users.bias + items.bias + predictor.mean
    )
    return xp.clip(predicted, *predictor.scale) if clip and predictor.scale else predicted
