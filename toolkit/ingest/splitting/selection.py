"""The k-th smallest of numbers that lie in many parts, of which no two are in memory at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

_Array = np.ndarray[Any, Any]
_LAST = 2**64 - 1
_BINS = 1 << 10
# Numbers that a part hands over instead of counting them.
_FEW = 1 << 12


@dataclass(frozen=True)
class Probe:
    """What one part holds in and below a range.

    Attributes
    ----------
    below : int
        Numbers below the range.
    bins : array of int64, shape (n_bins,)
        Numbers in the range, by bins of equal width.
    values : array of uint64 or None
        All numbers in the range, where they are few.
    """

    below: int
    bins: _Array
    values: _Array | None


@dataclass(frozen=True)
class Selected:
    """The number that was asked for.

    Attributes
    ----------
    value : int
        The number.
    below, equal : int
        How many are smaller, and how many are the same.
    """

    value: int
    below: int
    equal: int


def probe(numbers: _Array, low: int, high: int) -> Probe:
    """Count the numbers, uint64, of one part in ``low <= number <= high``."""
    below = int(np.count_nonzero(numbers < np.uint64(low))) if low else 0
    inside = numbers[(numbers >= np.uint64(low)) & (numbers <= np.uint64(high))]
    bins = np.bincount(
        ((inside - np.uint64(low)) // np.uint64(_width(low, high))).astype(np.int64), minlength=_BINS
    )
    return Probe(below, bins, inside if len(inside) <= _FEW else None)


def select(
    k: int, ask: Callable[[int, int], Sequence[Probe]], guess: tuple[int, int] = (0, _LAST)
) -> Selected:
    """Return the k-th smallest number of all parts, from 1.

    Parameters
    ----------
    k : int
        Which.
    ask : callable
        Given a range, returns what each part says of it (`probe`).
    guess : tuple of int
        A range to look into first.
    """
    low, high = guess
    while True:
        probes = ask(low, high)
        below = sum(part.below for part in probes)
        bins = np.sum([part.bins for part in probes], axis=0)
        inside = int(bins.sum())
        if k <= below:
            low, high = 0, low - 1
        elif k > below + inside:
            low, high = high + 1, _LAST
        elif low == high:
            return Selected(low, below, inside)
        elif all(part.values is not None for part in probes):
            values = np.sort(np.concatenate([part.values for part in probes if part.values is not None]))
            value = values[k - below - 1]
            less = int(np.searchsorted(values, value))
            equal = int(np.searchsorted(values, value, side="right")) - less
            return Selected(int(value), below + less, equal)
        else:
            at = int(np.searchsorted(np.cumsum(bins), k - below))
            width = _width(low, high)
            low, high = low + at * width, min(high, low + (at + 1) * width - 1)


def _width(low: int, high: int) -> int:
    return -(-(high - low + 1) // _BINS)
