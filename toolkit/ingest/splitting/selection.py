"""The k-th smallest number of many parts, of which one is in memory at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.arrays import IntArray

LAST = 2**64 - 1
_BINS = 1 << 10
# A part hands over its numbers, instead of counting them, where they are no more than this.
_FEW = 1 << 12


@dataclass(frozen=True)
class Probe:
    """The numbers of one part in and below a range.

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
    bins: IntArray
    values: IntArray | None


@dataclass(frozen=True)
class Selected:
    """The k-th smallest number.

    Attributes
    ----------
    value : int
        The number.
    below, equal : int
        How many numbers are smaller, and how many are the same.
    """

    value: int
    below: int
    equal: int


def probe(numbers: IntArray, low: int, high: int) -> Probe:
    """Count the numbers, uint64, of one part in ``low <= number <= high``."""
    below = int(np.count_nonzero(numbers < np.uint64(low))) if low else 0
    inside = numbers[(numbers >= np.uint64(low)) & (numbers <= np.uint64(high))]
    bins = np.bincount(
        ((inside - np.uint64(low)) // np.uint64(_width(low, high))).astype(np.int64), minlength=_BINS
    )
    return Probe(below, bins, inside if len(inside) <= _FEW else None)


def select(
    k: int, ask: Callable[[int, int], Sequence[Probe]], guess: tuple[int, int] = (0, LAST)
) -> Selected:
    """Return the k-th smallest number of all parts, from 1.

    Parameters
    ----------
    k : int
        Its position among all numbers in ascending order.
    ask : callable
        Takes a range, and returns the `probe` of each part.
    guess : tuple of int
        The range to look into first.
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
            low, high = high + 1, LAST
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
