"""Transforms of ratings once each pair has one: none, or a logarithm for amounts such as seconds."""

from __future__ import annotations

from typing import Literal

import numpy as np

from toolkit.arrays import FloatArray

Transform = Literal["none", "log1p"]
TRANSFORMS: tuple[Transform, ...] = ("none", "log1p")


def transformed(ratings: FloatArray, transform: Transform) -> tuple[FloatArray, int | None]:
    """Return the ratings as the dataset holds them, and the position of the first that has no logarithm.

    Parameters
    ----------
    ratings : array of float32, shape (n,)
        One rating of each pair.
    transform : {"none", "log1p"}
        log1p: log(1 + rating), the natural logarithm, of ratings that are 0 or more.

    Returns
    -------
    ratings : array of float32, shape (n,)
        The ratings unchanged where one cannot be transformed.
    position : int or None
        Position of the first that is negative.
    """
    if transform == "none":
        return ratings, None
    negative = np.flatnonzero(ratings < 0)
    if len(negative):
        return ratings, int(negative[0])
    # Processors compute it in different ways, and come to the same float32 by way of float64.
    return np.log1p(ratings, dtype=np.float64).astype(np.float32), None
