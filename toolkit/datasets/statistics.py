"""Statistics of a dataset: how its ratings spread over values, users and items."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import TypedDict

import numpy as np

from toolkit.arrays import FloatArray, IntArray
from toolkit.datasets.dataset import RatingsDataset

# People give ratings of few values: half stars up to 10 stars are 20.
_VALUES = 20
_BINS = 12
_TOP_PERCENT = (1, 5, 10, 20, 50)
_QUANTILES = {"least": 0, "a tenth below": 0.1, "median": 0.5, "a tenth above": 0.9, "most": 1}


class Bar(TypedDict):
    """A value or a bin of ratings, and how many ratings have it."""

    label: str
    ratings: int


class Top(TypedDict):
    """The `n` items or users with the most ratings: their part of all, and their share of the ratings."""

    top: float
    n: int
    share: float


class LongTail(TypedDict):
    """How unevenly ratings spread over items or users; see `long_tail`."""

    gini: float
    median: float
    most: int
    curve: list[Top]


def histogram(data: RatingsDataset) -> list[Bar]:
    """Count the ratings of all three splits by value, or in bins when there are more than 20 values.

    One shard is in memory at a time. All shards are read twice when bins are needed.

    Parameters
    ----------
    data : RatingsDataset
        The dataset.

    Returns
    -------
    list of Bar
        Each value or bin, in ascending order. A bin includes its lower edge, and the last bin both edges.
    """
    low, high = math.inf, -math.inf
    counted: dict[float, int] = {}
    for values in _ratings(data):
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        if len(counted) <= _VALUES:
            for value, count in zip(*np.unique(values, return_counts=True), strict=True):
                counted[float(value)] = counted.get(float(value), 0) + int(count)
    if len(counted) <= _VALUES:
        return [{"label": f"{value:g}", "ratings": counted[value]} for value in sorted(counted)]
    edges = _round_edges(low, high)
    ratings = np.zeros(len(edges) - 1, np.int64)
    for values in _ratings(data):
        # In float32 like the ratings: the rating 0.7 must not be below the edge 0.7.
        bins = np.searchsorted(edges.astype(np.float32), values, side="right") - 1
        ratings += np.bincount(bins.clip(0, len(ratings) - 1), minlength=len(ratings))
    return [
        {"label": f"{a:.10g} to {b:.10g}", "ratings": int(count)}
        for (a, b), count in zip(itertools.pairwise(edges), ratings, strict=True)
    ]


def long_tail(counts: IntArray) -> LongTail:
    """Measure how unevenly training ratings spread over items, or over users.

    Parameters
    ----------
    counts : array of int, shape (n,)
        Training ratings of each item or user.

    Returns
    -------
    LongTail
        The Gini coefficient; the median and the largest of the counts; and for some parts of the items or
        users, those with the most ratings, their share of all ratings.
    """
    ascending = np.sort(counts).astype(np.float64)
    n, total = len(ascending), max(ascending.sum(), 1.0)
    held = np.cumsum(ascending[::-1]) / total
    sizes = {percent: -(-percent * n // 100) for percent in _TOP_PERCENT}
    return {
        "gini": gini(counts),
        "median": float(np.median(ascending)),
        "most": int(ascending[-1]),
        "curve": [
            {"top": percent / 100, "n": size, "share": float(held[size - 1])}
            for percent, size in sizes.items()
        ],
    }


def gini(counts: IntArray) -> float:
    """Return the Gini coefficient of `counts`, shape (n,): 0 when all are equal, near 1 when one has all."""
    ascending = np.sort(counts).astype(np.float64)
    n = len(ascending)
    # Twice the area between the diagonal and the Lorenz curve, computed from the sorted counts.
    return float((2 * np.arange(1, n + 1) - n - 1) @ ascending / (n * max(ascending.sum(), 1.0)))


def quantiles(counts: IntArray) -> dict[str, int]:
    """Return some quantiles of `counts`, shape (n,), by name and rounded down: from the least to the most."""
    return {label: int(np.quantile(counts, share)) for label, share in _QUANTILES.items()}


def _ratings(data: RatingsDataset) -> Iterator[FloatArray]:
    """Yield the ratings of each shard that is not empty."""
    for kind in ("train/rows", "valid/rows", "test/rows"):
        for _, _, values in data.read_shards(kind):
            if len(values):
                yield values


def _round_edges(low: float, high: float) -> FloatArray:
    """Return the edges of about `_BINS` bins over `low` to `high`: multiples of 1, 2, 2.5 or 5 × 10^k."""
    power = 10.0 ** math.floor(math.log10((high - low) / _BINS))
    step = next(power * factor for factor in (1, 2, 2.5, 5, 10, 20) if power * factor * _BINS >= high - low)
    return np.arange(math.floor(low / step), math.ceil(high / step) + 1) * step
