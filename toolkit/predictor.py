"""The numbers that predict a rating: factors and biases of users and items, and the global mean."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np

from toolkit.arrays import DeviceArray


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
