"""How likely items are to be drawn, so that users and items get about the counts meant for them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_CELLS = 300
_ROUNDS = 400
# Ends a search for what does not exist, such as a user of nearly all items among items that hardly anyone
# has.
_LEAST, _MOST = 1e-8, 1e10


@dataclass(frozen=True)
class Popularity:
    """Items by rank, most popular first, and how often to draw for a user.

    Attributes
    ----------
    weights : ndarray of float64, shape (items,)
        Relative chance of each rank, positive.
    needs, draws : ndarray of float64, shape (c,)
        So many draws with replacement bring, on average, so many different items; both ascending.
    """

    weights: Array
    needs: Array
    draws: Array


def fit(degrees: Array, targets: Array) -> Popularity:
    """Return the weights that give ranks their targets.

    Of t·Σw draws with replacement, an item of weight w is among them with probability 1 - exp(-t w). So user
    u needs the t for which these sum up to the degree over the items, and rank i the w for which they sum up
    to the target over the users. Both are found in turn, on cells of users and of ranks that are much alike.

    Parameters
    ----------
    degrees : ndarray, shape (users,)
        Ratings of each user.
    targets : ndarray, shape (items,)
        Ratings of each rank, descending.
    """
    degree, users = _cells(np.sort(degrees)[::-1].astype(np.float64))
    target, items = _cells(targets)
    # One rating of each item is given away beforehand: what is drawn is the rest.
    degree = np.maximum(degree * (1 - len(targets) / degrees.sum()), 1e-3)
    target = np.maximum(target - 1, 1e-3)
    t, w = degree / len(targets), target / target.mean()
    for _ in range(_ROUNDS):
        t = np.clip(t * degree / _drawn(t, w, items), _LEAST, _MOST)
        w = w * target / _drawn(w, t, users)
        w = np.clip(w / w.mean(), _LEAST, _MOST)
    found = _drawn(t, w, items)
    middle = np.cumsum(items) - items / 2
    weights = np.exp(np.interp(np.arange(len(targets)) + 0.5, middle, np.log(w)))
    order = np.argsort(found)
    draws = t[order] * weights.sum()
    return Popularity(weights, np.concatenate([[0.0], found[order]]), np.concatenate([[0.0], draws]))


def alias_table(weights: Array) -> tuple[Array, Array]:
    """Return Walker's alias table of `weights`, by Vose's method.

    Parameters
    ----------
    weights : ndarray of float64, shape (n,)

    Returns
    -------
    threshold : ndarray of uint64, shape (n,)
        Below it, out of 2**32, the column itself is drawn.
    alias : ndarray of uint32, shape (n,)
        What is drawn otherwise.

    References
    ----------
    M. D. Vose, "A linear algorithm for generating random numbers with a given distribution", IEEE
    Transactions on Software Engineering 17(9), 1991.
    """
    n = len(weights)
    share = (weights * (n / weights.sum())).tolist()
    alias = list(range(n))
    small = [i for i, p in enumerate(share) if p < 1]
    large = [i for i, p in enumerate(share) if p >= 1]
    while small and large:
        poor, rich = small.pop(), large[-1]
        alias[poor] = rich
        share[rich] -= 1 - share[poor]
        if share[rich] < 1:
            small.append(large.pop())
    for left in (*small, *large):  # rounding errors: what is left over has a share of one
        share[left] = 1.0
    return (np.array(share) * 2.0**32).astype(np.uint64), np.array(alias, dtype=np.uint32)


def _drawn(mine: Array, theirs: Array, sizes: Array) -> Array:
    return np.asarray(-(np.expm1(-np.outer(mine, theirs)) * sizes).sum(axis=1))


def _cells(descending: Array) -> tuple[Array, Array]:
    """Return the means and sizes of cells that are one wide at the top and ever wider below."""
    n = len(descending)
    edges = np.unique(np.geomspace(1, n + 1, _CELLS).astype(np.int64)) - 1
    sizes = np.diff(edges)
    return np.add.reduceat(descending, edges[:-1]) / sizes, sizes
