"""What is done to ratings once each pair has one: nothing, or a logarithm for amounts such as seconds."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

Transform = Literal["none", "log1p"]
TRANSFORMS: tuple[Transform, ...] = ("none", "log1p")
_Array = np.ndarray[Any, Any]


def transformed(ratings: _Array, transform: Transform) -> tuple[_Array, int | None]:
    """Return the ratings as the dataset holds them, and the place of the first that cannot be.

    Parameters
    ----------
    ratings : array of float32, shape (n,)
        One of each pair.
    transform : {"none", "log1p"}
        log1p: log(1 + rating), the natural logarithm, of ratings that are 0 or more.

    Returns
    -------
    ratings : array of float32, shape (n,)
        As they were where one cannot be transformed.
    place : int or None
        Position of the first that is negative.
    """
    if transform == "none":
        return ratings, None
    negative = np.flatnonzero(ratings < 0)
    if len(negative):
        return ratings, int(negative[0])
    # In float64, where processors that compute it in different ways all come to the same float32.
    return np.log1p(ratings, dtype=np.float64).astype(np.float32), None
