"""Probabilities of drawing items, with which users and items get about their planned counts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.arrays import Array

_CELLS = 300
_ROUNDS = 400
# Bounds of a search that may have no solution: a user of nearly all items, while hardly anyone has each.
_LEAST, _MOST = 1e-8, 1e10


@dataclass(frozen=True)
class Popularity:
    """Probabilities of items by rank, most popular first, and numbers of draws for users.

    Attributes
    ----------
    weights : ndarray of float64, shape (items,)
        Relative probability of each rank, positive.
    needs, draws : ndarray of float64, shape (c,)
        `draws` draws with replacement give `needs` different items on average; both ascending.
    """

    weights: Array
    needs: Array
    draws: Array


def fit(degrees: Array, targets: Array) -> Popularity:
    """Return the weights that give each rank its target.

    An item of weight w is among t·Σw draws with replacement with probability 1 - exp(-t w). User u therefore
    needs the t at which these probabilities sum to the degree of u over the items. Rank i needs the w at
    which they sum to its target over the users. Both are solved in turn, on cells of similar users and ranks.

    Parameters
    ----------
    degrees : ndarray, shape (users,)
        Ratings of each user.
    targets : ndarray, shape (items,)
        Ratings of each rank, descending.
    """
    degree, users = _cells(np.sort(degrees)[::-1].astype(np.float64))
    target, items = _cells(targets)
    # One rating of each item is certain; only the others are drawn.
    degree = np.maximum(degree * (1 - len(targets) / degrees.sum()), 1e-3)
    target = np.maximum(target - 1, 1e-3)
    t, w = degree / len(targets), target / target.mean()
    for _ in range(_ROUNDS):
        t = np.clip(t * degree / _drawn(t, w, items), _LEAST, _MOST)
        w = w * target / _drawn(w, t, users)
        w = np.clip(w / w.mean(), _LEAST, _MOST)
    needs = _drawn(t, w, items)
    middle = np.cumsum(items) - items / 2
    weights = np.exp(np.interp(np.arange(len(targets)) + 0.5, middle, np.log(w)))
    order = np.argsort(needs)
    draws = t[order] * weights.sum()
    return Popularity(weights, np.concatenate([[0.0], needs[order]]), np.concatenate([[0.0], draws]))


def alias_table(weights: Array) -> tuple[Array, Array]:
    """Return Walker's alias table of `weights`, by Vose's method.

    Parameters
    ----------
    weights : ndarray of float64, shape (n,)

    Returns
    -------
    threshold : ndarray of uint64, shape (n,)
        The column itself is drawn if a random number below 2**32 is below its threshold.
    alias : ndarray of uint32, shape (n,)
        The column that is drawn otherwise.

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
    for left in (*small, *large):  # a column is left over only by rounding errors
        share[left] = 1.0
    return (np.array(share) * 2.0**32).astype(np.uint64), np.array(alias, dtype=np.uint32)


def _drawn(mine: Array, theirs: Array, sizes: Array) -> Array:
    """Return the expected numbers of different partners: the sums of 1 - exp(-mine·theirs)."""
    return np.asarray(-(np.expm1(-np.outer(mine, theirs)) * sizes).sum(axis=1))


def _cells(descending: Array) -> tuple[Array, Array]:
    """Return the means and sizes of cells; a cell at the top holds one value, lower cells hold ever more."""
    n = len(descending)
    edges = np.unique(np.geomspace(1, n + 1, _CELLS).astype(np.int64)) - 1
    sizes = np.diff(edges)
    return np.add.reduceat(descending, edges[:-1]) / sizes, sizes
