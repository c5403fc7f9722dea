"""Numbers of ratings of each user and each item, after those of MovieLens 20M."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from toolkit.arrays import Array

ML20M_RATINGS, ML20M_USERS, ML20M_ITEMS = 20_000_263, 138_493, 26_744
# This share of the users rates the most popular item, and nobody rates more than this share of the items.
TOP_ITEM, _TOP_USER = 67_310 / ML20M_USERS, 0.35
# Ratings of an item, by its rank as a share of all items; straight lines in logarithms join these points.
_RANK = (1 / ML20M_ITEMS, 0.001, 0.01, 0.04, 0.118, 0.25, 0.39, 0.5, 0.75, 1.0)
_COUNT = (67_310, 41_000, 15_200, 4_800, 920, 205, 50, 18, 3, 1)
# A user has at least this many ratings, and above them a lognormal number of this median and deviation.
_USER_LEAST, _USER_MEDIAN, USER_SIGMA = 20, 48, 1.38


def movielens_counts(ratings: int, users: int | None = None, items: int | None = None) -> tuple[int, int]:
    """Return numbers of users and items that suit a number of ratings, as in MovieLens 20M.

    The number of users grows in proportion to the ratings, and the number of items to their cube root. From
    a million ratings up, the Gini coefficient of the items then stays near 0.9.

    Parameters
    ----------
    ratings : int
        Number of ratings.
    users, items : int, optional
        A number that is given; the other one is made large enough for it.

    Returns
    -------
    users, items : int
    """
    scale, most = max(ratings, 1) / ML20M_RATINGS, max(ratings, 1)
    if users is None:
        fewest = math.ceil(most / max(items, 1)) if items else 1
        users = min(max(round(ML20M_USERS * scale), fewest), most)
    if items is None:
        items = min(max(round(ML20M_ITEMS * math.cbrt(scale)), math.ceil(most / max(users, 1))), most)
    return users, items


def user_counts(
    ratings: int, users: int, items: int, *, sigma: float = USER_SIGMA, heavy: float = 0.0
) -> Array:
    """Return each user's number of ratings, int64 of shape (users,): ascending, and `ratings` in sum.

    The last user has the share `heavy` of all ratings, if that is not 0.
    """
    from scipy.special import ndtri

    if heavy:
        most = round(heavy * ratings)
        return np.append(user_counts(ratings - most, users - 1, items, sigma=sigma), most)
    quantile = (np.arange(users) + 0.5) / users
    shape = _USER_LEAST + _USER_MEDIAN * np.exp(sigma * ndtri(quantile))
    # Twice the mean if that is more, so that a dense request fits.
    most = min(items, max(math.ceil(_TOP_USER * items), math.ceil(2 * ratings / users)))
    factor = _bisect(lambda c: bool(np.clip(c * shape, 1, most).sum() <= ratings), 0.0, float(items))
    exact = np.clip(factor * shape, 1, most)
    counts: Array = exact.astype(np.int64)
    while missing := ratings - int(counts.sum()):
        order = np.argsort(counts - exact, kind="stable")
        chosen = order[counts[order] < items][:missing]
        counts[chosen] += 1
    return counts


def item_counts(
    ratings: int, users: int, items: int, *, top: float = TOP_ITEM, tail: float = 1.0, heavy: float = 0.0
) -> Array:
    """Return each item's approximate number of ratings, float64 of shape (items,), most popular first.

    The share `top` of the users rates the first item, whatever the proportions. The curve of MovieLens, to
    the power of `tail`, is flattened when it holds too few ratings, and made steeper when it holds too many.
    An item with the share `heavy` of all ratings, if that is not 0, counts as the last, with 1.
    """
    if heavy:
        return np.append(item_counts(round((1 - heavy) * ratings), users, items - 1, top=top, tail=tail), 1.0)
    rank = (np.arange(items) + 0.5) / items
    shape = np.exp(np.interp(np.log(rank), np.log(_RANK), np.log(_COUNT))) / _COUNT[0]
    shape = shape**tail
    first = min(users, max(1.0, top * users, 2 * ratings / items))

    def saturated(strength: float) -> Array:
        c = math.exp(strength)
        return np.asarray(np.maximum(first * np.expm1(-c * shape) / math.expm1(-c), 1))

    def steeper(power: float) -> Array:
        curve: Array = np.maximum(first * shape**power, 1)
        return curve

    if first * shape.sum() < ratings:
        return saturated(_bisect(lambda s: bool(saturated(s).sum() <= ratings), -12.0, 12.0))
    return steeper(-_bisect(lambda p: bool(steeper(-p).sum() <= ratings), -50.0, -1.0))


def _bisect(fits: Callable[[float], bool], low: float, high: float) -> float:
    """Return the largest argument for which `fits` holds; it holds from `low` up to some point."""
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low
