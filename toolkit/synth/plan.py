"""The plan of made-up ratings: tables of users and items, and random streams."""

from __future__ import annotations

import numpy as np

from toolkit.arrays import Array
from toolkit.synth.counts import ML20M_ITEMS, item_counts, user_counts
from toolkit.synth.popularity import alias_table, fit

# A constant, because it decides which random number goes where: not the machine, and not the threads.
CHUNK = 1 << 19
# Mean and standard deviations in stars. With noise of 0.8, ratings deviate by 1.05 as in MovieLens 20M.
MEAN, USER_BIAS, PRODUCT = 3.58, 0.43, 0.40
_ITEM_BIAS = 0.45
_LARGEST_ITEM_ID = 131_262
# Purposes of random streams. The order of the ratings has a stream of its own and does not change them.
_TABLES, RATINGS, SCATTER, SHUFFLE = range(4)


class Plan:
    """Tables of users and items, from which ratings are made up; their size does not grow with the ratings.

    Parameters
    ----------
    ratings, users, items : int
        Numbers of ratings, users and items.
    seed : int
        Seed of all random streams.
    rank : int
        Length of the planted factors.
    noise : float
        Standard deviation of the noise, in stars.

    Attributes
    ----------
    edges : ndarray of int, shape (chunks + 1,)
        The first user of each chunk, and at the end the number of users.
    owner, owned : ndarray of int, shape (items,)
        Pairs of user and item that are certain to be rated: one for each item. Users ascend.
    weights : ndarray of float64, shape (items,)
        Relative probability that each item is drawn.
    item_bias : ndarray of float32, shape (items,)
    item_factors : ndarray of float32, shape (rank, items)
    user_ids, item_ids : ndarray of int64
        Ids for the file, ascending.
    """

    def __init__(self, *, ratings: int, users: int, items: int, seed: int, rank: int, noise: float) -> None:
        self.ratings, self.users, self.items, self.seed = ratings, users, items, seed
        self.rank, self.noise = rank, noise
        rng = self.stream(_TABLES)
        degrees = rng.permutation(user_counts(ratings, users, items))
        self._ends = np.cumsum(degrees)
        # Spread evenly over the ratings: no user owns more items than their number of ratings.
        slots = ((np.arange(items) + rng.random()) * (ratings / items)).astype(np.int64)
        self.owner = np.searchsorted(self._ends, np.minimum(slots, ratings - 1), side="right")
        self.owned = rng.permutation(items)
        popularity = fit(degrees, item_counts(ratings, users, items))
        self._needs, self._draws = popularity.needs, popularity.draws
        self.weights = popularity.weights[rng.permutation(items)]
        self._threshold, self._alias = alias_table(self.weights)
        self.item_bias = rng.normal(0, _ITEM_BIAS, items).astype(np.float32)
        self.item_factors = rng.standard_normal((rank, items), dtype=np.float32)
        self.user_ids = np.arange(1, users + 1)
        largest = round(items * _LARGEST_ITEM_ID / ML20M_ITEMS)
        self.item_ids = np.sort(rng.choice(largest, items, replace=False)) + 1
        self.item_ids[-1] = largest
        self._scores, self._expected = _expectations(noise)
        firsts = np.searchsorted(self._ends - degrees, np.arange(0, ratings, CHUNK))
        self.edges = np.append(np.unique(firsts[firsts < users]), users)

    def stream(self, *key: int) -> np.random.Generator:
        """Return the random stream of a key, independent of the streams of other keys."""
        return np.random.default_rng(np.random.SeedSequence(self.seed, spawn_key=key))

    def degrees(self, first: int, last: int) -> Array:
        """Return the numbers of ratings of users `first` to `last` - 1, int64 of shape (last - first,)."""
        before = self._ends[first - 1] if first else 0
        return np.diff(self._ends[first:last], prepend=before)

    def draws(self, needs: Array) -> Array:
        """Return how many draws with replacement give, nearly always, `needs` different items."""
        mean = np.interp(needs, self._needs, self._draws)
        # The number of repetitions is nearly Poisson, which gives the spread.
        return np.ceil(mean + np.where(needs > 0, 3 * np.sqrt(np.maximum(mean - needs, 0)) + 3, 0))

    def draw(self, rng: np.random.Generator, n: int) -> Array:
        """Return `n` items drawn with replacement by their weights, int64 of shape (n,)."""
        bits = rng.integers(0, 1 << 64, n, dtype=np.uint64)
        column = (bits >> np.uint64(32)) * np.uint64(self.items) >> np.uint64(32)
        own = (bits & np.uint64(0xFFFFFFFF)) < self._threshold[column]
        return np.where(own, column, self._alias[column]).astype(np.int64)

    def expected(self, score: Array) -> Array:
        """Return the mean rating of each planted score, in stars: float64 of the same shape.

        It differs from the score, because ratings end at 0.5 and 5; rounding does not move the mean.
        """
        return np.interp(score, self._scores, self._expected)


def _expectations(noise: float) -> tuple[Array, Array]:
    """Return a table for interpolation: planted scores, and the mean rating of each."""
    from scipy.special import ndtr

    # Little noise leaves steps in the mean, which the table must resolve.
    step = min(max(noise / 10, 1e-4), 0.01)
    reach = 0.75 + 6 * noise
    scores = np.arange(0.75 - reach, 4.75 + reach, step)
    # A rating in half stars is 1 + the number of edges below the noisy score.
    edges = np.arange(1.5, 10) / 2
    over = ndtr((scores[:, None] - edges) / max(noise, 1e-9))
    return scores, (1 + over.sum(axis=1)) / 2
