"""The plan of made-up ratings: tables of users and items, and random streams."""

from __future__ import annotations

import numpy as np

from toolkit.arrays import Array
from toolkit.synth.counts import ML20M_ITEMS, item_counts, user_counts
from toolkit.synth.popularity import alias_table, fit
from toolkit.synth.recipes import Recipe

# A constant, because it decides which random number goes where: not the machine, and not the threads.
CHUNK = 1 << 19
_LARGEST_ITEM_ID = 131_262
# Purposes of random streams. The order of the ratings has a stream of its own and does not change them.
_TABLES, RATINGS, SCATTER, SHUFFLE = range(4)


class Plan:
    """Tables of users and items, from which ratings are made up; their size does not grow with the ratings.

    Parameters
    ----------
    recipe : Recipe
        What the ratings are like.
    seed : int
        Seed of all random streams.

    Attributes
    ----------
    scale : ndarray of float64, shape (levels,)
        All ratings that there are, ascending, before they are brought to the unit of the file.
    edges : ndarray of int, shape (chunks + 1,)
        The first user of each chunk, and at the end the number of users.
    owner, owned : ndarray of int, shape (pairs,)
        Pairs of user and item that are certain to be rated: one for each item, and all of an item that has a
        given share of the ratings. Users ascend.
    weights : ndarray of float64, shape (items,)
        Relative probability that each item is drawn.
    item_bias : ndarray of float32, shape (items,)
    item_factors : ndarray of float32, shape (rank, items)
    user_ids, item_ids : ndarray of int64
        Ids for the file, ascending.
    """

    def __init__(self, recipe: Recipe, *, seed: int) -> None:
        self.recipe, self.seed, self.scale = recipe, seed, recipe.levels()
        ratings, users, self.items = recipe.ratings, recipe.users, recipe.items
        items = self.items
        rng = self.stream(_TABLES)
        counts = user_counts(ratings, users, items, sigma=recipe.user_sigma, heavy=recipe.heavy_user)
        degrees = rng.permutation(counts)
        self._ends = np.cumsum(degrees)
        # Spread evenly over the ratings: no user owns more items than their number of ratings.
        slots = ((np.arange(items) + rng.random()) * (ratings / items)).astype(np.int64)
        self.owner = np.searchsorted(self._ends, np.minimum(slots, ratings - 1), side="right")
        self.owned = rng.permutation(items)
        curve = {"top": recipe.top_item, "tail": recipe.item_tail, "heavy": recipe.heavy_item}
        ranks = rng.permutation(items)
        drawn = degrees
        if recipe.heavy_item:
            fans = self._fans(int(ranks.argmax()), degrees, rng)
            drawn = degrees - np.bincount(fans, minlength=users)
        popularity = fit(drawn, item_counts(ratings, users, items, **curve))
        self._needs, self._draws = popularity.needs, popularity.draws
        self.weights = popularity.weights[ranks]
        self._threshold, self._alias = alias_table(self.weights)
        self.item_bias = rng.normal(0, recipe.item_bias, items).astype(np.float32)
        self.item_factors = rng.standard_normal((recipe.rank, items), dtype=np.float32)
        self.user_ids = np.arange(1, users + 1)
        largest = round(items * _LARGEST_ITEM_ID / ML20M_ITEMS)
        self.item_ids = np.sort(rng.choice(largest, items, replace=False)) + 1
        self.item_ids[-1] = largest
        self._scores, self._expected = _expectations(recipe)
        firsts = np.searchsorted(self._ends - degrees, np.arange(0, ratings, CHUNK))
        self.edges = np.append(np.unique(firsts[firsts < users]), users)

    def _fans(self, item: int, degrees: Array, rng: np.random.Generator) -> Array:
        """Make the heavy item's users certain to rate it; return those who were not before."""
        free = np.bincount(self.owner, minlength=len(degrees)) < degrees
        free[self.owner[self.owned == item]] = False
        n = round(self.recipe.heavy_item * self.recipe.ratings) - 1
        fans = rng.choice(np.flatnonzero(free), n, replace=False)
        owner, owned = np.append(self.owner, fans), np.append(self.owned, np.full(n, item))
        order = np.argsort(owner, kind="stable")
        self.owner, self.owned = owner[order], owned[order]
        return fans

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
        """Return the mean rating of each planted score, float64 of the same shape.

        It differs from the score, because the scale has ends; rounding does not move the mean.
        """
        return np.interp(score, self._scores, self._expected)


def _expectations(recipe: Recipe) -> tuple[Array, Array]:
    """Return a table for interpolation: planted scores, and the mean rating of each."""
    from scipy.special import ndtr

    noise, levels = recipe.noise, recipe.levels()
    # Little noise leaves steps in the mean, which the table must resolve.
    step = min(max(noise / 10, 1e-4), max(0.01, (levels[-1] - levels[0]) / 500))
    # A rating is the lowest one and a step for each edge below the noisy score.
    edges = (levels[:-1] + levels[1:]) / 2
    reach = 0.75 + 6 * noise
    scores = np.arange(edges[0] - reach, edges[-1] + reach, step)
    over = ndtr((scores[:, None] - edges) / max(noise, 1e-9))
    return scores, levels[0] + over.sum(axis=1) / recipe.steps
