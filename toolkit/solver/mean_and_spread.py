"""Mean, spread and scale of ratings that come in pieces; the pieces do not change a bit of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.errors import RatingsError

# Ratings whose squares are in memory at once.
_CHUNK = 1 << 18
# Of these, squares and a thousand times as much still are float32.
_LEAST_SPREAD, _MOST_SPREAD = 1e-17, 1e17


class RatingFacts(NamedTuple):
    """What a training knows of all ratings together.

    Attributes
    ----------
    mean : float
    spread : float
        Standard deviation, without Bessel's correction; 1 where all ratings are the same.
    scale : tuple of float
        Smallest and largest rating.
    """

    mean: float
    spread: float
    scale: tuple[float, float]


def rating_facts(pieces: Iterable[FloatArray]) -> RatingFacts:
    """Return what a training knows of all ratings together, in one pass over them.

    Parameters
    ----------
    pieces : iterable of array of float
        All ratings in their order, at least one.

    Raises
    ------
    RatingsError
        When their spread does not fit the precision of the solver.
    """
    low, high = math.inf, -math.inf
    n = [0]
    sums, squares = [], []
    for chunk in _chunks(pieces):
        low, high = min(low, float(chunk.min())), max(high, float(chunk.max()))
        numbers = chunk.astype(np.float64)
        n.append(len(numbers))
        sums.append(float(numbers.sum()))
        # Around the mean of the chunk, so that nothing is cancelled.
        numbers -= sums[-1] / len(numbers)
        np.square(numbers, out=numbers)
        squares.append(float(numbers.sum()))
    total = sum(n)
    mean = sum(sums) / total
    between = sum(count * (part / count - mean) ** 2 for count, part in zip(n[1:], sums, strict=True))
    spread = math.sqrt((sum(squares) + between) / total) if low < high else 1.0
    if not _LEAST_SPREAD <= spread <= _MOST_SPREAD:
        raise RatingsError(
            f"the ratings have a standard deviation of {spread:.3g}, whose square does not fit "
            "float32: write them in another unit, such as divided by it"
        )
    return RatingFacts(mean, spread, (low, high))


def _chunks(pieces: Iterable[FloatArray]) -> Iterator[FloatArray]:
    """Yield the ratings in chunks of one size, wherever the pieces are cut; the last may be smaller."""
    held: list[FloatArray] = []
    n = 0
    for piece in pieces:
        at = 0
        while len(piece) - at >= _CHUNK - n:
            part = piece[at : at + _CHUNK - n]
            at += len(part)
            yield np.concatenate([*held, part]) if held else part
            held, n = [], 0
        if at < len(piece):
            held.append(np.array(piece[at:]))
            n += len(held[-1])
    if n:
        yield np.concatenate(held)
