"""Whether the files of an input have their ratings on one scale, and no rating is far from all others."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from toolkit.arrays import FloatArray

# Means of two files are this many standard deviations apart, of the file that has the smaller one.
_APART = 3.0
# The least or greatest rating is this many standard deviations from the mean.
_FAR = 12.0


def moments(ratings: FloatArray) -> list[float]:
    """Return number, sum and sum of squares of ratings, of which those of a file are a sum."""
    squares = np.einsum("n,n->", ratings, ratings, dtype=np.float64)
    return [float(len(ratings)), float(ratings.sum(dtype=np.float64)), float(squares)]


def note_scales(files: Sequence[dict[str, Any]], parts: Iterable[tuple[int, Sequence[float]]]) -> None:
    """Write mean and standard deviation of its ratings into the facts of each file that has any.

    Parameters
    ----------
    files : sequence of dict
        The facts, to which ``mean`` and ``deviation`` are added.
    parts : iterable of (int, sequence of float)
        The number of a file, and the `moments` of a part of it.
    """
    sums = [[0.0, 0.0, 0.0] for _ in files]
    for at, part in parts:
        sums[at] = [old + new for old, new in zip(sums[at], part, strict=True)]
    for facts, (n, total, squares) in zip(files, sums, strict=True):
        if n:
            mean = total / n
            facts["mean"], facts["deviation"] = mean, math.sqrt(max(squares / n - mean**2, 0.0))


def different_scales(files: Iterable[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """Return two files whose ratings are on different scales, as 1 to 5 and 0 to 100 are, or none.

    Files in which all ratings are alike, such as likes and dislikes, are not compared.
    """
    varied = [facts for facts in files if facts.get("deviation")]
    for one, other in itertools.pairwise(sorted(varied, key=lambda facts: float(facts["mean"]))):
        if other["mean"] - one["mean"] > _APART * min(one["deviation"], other["deviation"]):
            return one, other
    return ()


def far_ratings(files: Iterable[Mapping[str, Any]], low: float, high: float) -> list[float]:
    """Return which of the least and greatest rating is far from the others, such as a total in the last line.

    Parameters
    ----------
    files : iterable of dict
        The facts, with what `note_scales` adds.
    low, high : float
        The least and the greatest rating of all files.
    """
    varied = [facts for facts in files if facts.get("deviation")]
    return [
        rating
        for rating in (low, high)
        if varied and all(abs(rating - facts["mean"]) > _FAR * facts["deviation"] for facts in varied)
    ]
