"""The ratings of some users: their items, scores, levels and times."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.arrays import Array
from toolkit.synth.plan import RATINGS, Plan

# The first and the last second of MovieLens 20M.
_BEGIN, _END = 789_652_009, 1_427_784_002
_SECONDS_A_RATING = 12
_SECONDS_BETWEEN_SESSIONS = 200 * 86_400


@dataclass(frozen=True)
class Chunk:
    """Ratings sorted by user and item; arrays of shape (n,).

    Attributes
    ----------
    user, item : ndarray of int64
        Row numbers in the tables of the plan.
    level : ndarray of int16
        Which of the levels of the recipe's scale the rating is, from 0.
    time : ndarray of int64
        Unix seconds.
    squared_error : float
        Sum over the ratings of (rating - expected rating)², with the expectation of `Plan.expected`, before
        they are brought to the unit of the file.
    """

    user: Array
    item: Array
    level: Array
    time: Array
    squared_error: float


def make_chunk(plan: Plan, number: int) -> Chunk:
    """Make up the ratings of chunk `number` of the plan."""
    rng = plan.stream(RATINGS, number)
    first, last = int(plan.edges[number]), int(plan.edges[number + 1])
    degrees = plan.degrees(first, last)
    user, item = _pairs(plan, rng, first, degrees)
    level, squared_error = _levels(plan, rng, degrees, item)
    return Chunk(user + first, item, level, _times(rng, degrees, user), squared_error)


def _pairs(plan: Plan, rng: np.random.Generator, first: int, degrees: Array) -> tuple[Array, Array]:
    """Return users, numbered from 0, and for each as many different items as `degrees` says; sorted."""
    shift = plan.items.bit_length() + 1
    low, high = np.searchsorted(plan.owner, [first, first + len(degrees)])
    owner, owned = plan.owner[low:high] - first, plan.owned[low:high]
    needs = degrees - np.bincount(owner, minlength=len(degrees))
    draws = plan.draws(needs)
    # For a user who needs many draws, a race of all items is cheaper.
    heavy = draws > plan.items / 3
    user = np.repeat(np.arange(len(degrees)), np.where(heavy, 0, draws).astype(np.int64))
    drawn = (user << shift) | (plan.draw(rng, len(user)) << 1) | 1
    light = ~heavy[owner]
    # The last bit sorts a pair that is certain before the same pair drawn, which is dropped as a repetition.
    keys = np.sort(np.concatenate([drawn, (owner[light] << shift) | (owned[light] << 1)]))
    keys = keys[np.append(True, keys[1:] >> 1 != keys[:-1] >> 1)[: len(keys)]]
    keys, lacking = _thinned(rng, keys, shift, needs, heavy)
    heavy |= lacking
    if heavy.any():
        raced = [
            (u << shift) | (_race(plan, rng, degrees[u], owned[owner == u]) << 1)
            for u in np.flatnonzero(heavy)
        ]
        keys = np.sort(np.concatenate([keys[~lacking[keys >> shift]], *raced]))
    return keys >> shift, (keys & ((1 << shift) - 1)) >> 1


def _thinned(
    rng: np.random.Generator, keys: Array, shift: int, needs: Array, heavy: Array
) -> tuple[Array, Array]:
    """Drop surplus pairs by systematic sampling; return the other pairs, and which users have too few."""
    drawn = (keys & 1).astype(bool)
    user = keys[drawn] >> shift
    counts = np.bincount(user, minlength=len(needs))
    position = np.arange(len(user)) - np.repeat(np.cumsum(counts) - counts, counts)
    need, of = needs[user], counts[user]
    offset = rng.integers(0, np.maximum(counts, 1))[user]
    keep = np.ones(len(keys), dtype=bool)
    # Of any `of` consecutive multiples of need/of, exactly `need` pass an integer.
    keep[drawn] = (position * need + offset) % of >= of - need
    return keys[keep], (counts < needs) & ~heavy


def _race(plan: Plan, rng: np.random.Generator, degree: int, owned: Array) -> Array:
    """Return `degree` items drawn without replacement: the winners of a race whose speeds are the weights."""
    arrival = rng.standard_exponential(plan.items) / plan.weights
    arrival[owned] = -1
    return np.argpartition(arrival, degree - 1)[:degree]


def _levels(plan: Plan, rng: np.random.Generator, degrees: Array, item: Array) -> tuple[Array, float]:
    like, scale = plan.recipe, plan.scale
    bias = rng.normal(like.mean, like.user_bias, len(degrees)).astype(np.float32)
    factors = rng.standard_normal((like.rank, len(degrees)), dtype=np.float32)
    factors *= np.float32(like.product / np.sqrt(max(like.rank, 1)))
    score = np.repeat(bias, degrees) + plan.item_bias[item]
    # One factor after the other: memory does not grow with the rank.
    for of_users, of_items in zip(factors, plan.item_factors, strict=True):
        score += np.repeat(of_users, degrees) * of_items[item]
    noise = rng.standard_normal(len(item), dtype=np.float32) * np.float32(like.noise)
    least = round(like.lowest * like.steps)
    level = np.clip(np.rint(like.steps * (score + noise)) - least, 0, len(scale) - 1).astype(np.int16)
    error = scale[level] - plan.expected(score)
    return level, float(error @ error)


def _times(rng: np.random.Generator, degrees: Array, user: Array) -> Array:
    """Return a second for each rating, in one or a few sessions of its user."""
    n = len(degrees)
    sessions = np.minimum(rng.geometric(0.6, n) + degrees // 300, degrees)
    length = np.minimum(_SECONDS_A_RATING * -(-degrees // sessions), (_END - _BEGIN) // 10)
    begin = _BEGIN + rng.random(n) * (_END - _BEGIN - length)
    between = rng.exponential(_SECONDS_BETWEEN_SESSIONS, n) * (sessions - 1)
    between = np.minimum(between, _END - length - begin)
    before = np.cumsum(sessions) - sessions
    start = np.repeat(begin, sessions) + np.repeat(between, sessions) * rng.random(int(sessions.sum()))
    # A user begins with the first session.
    start[before] = begin
    session = before[user] + (rng.random(len(user), dtype=np.float32) * sessions[user]).astype(np.int64)
    within = rng.random(len(user), dtype=np.float32) * length[user]
    seconds: Array = np.minimum(start[session] + within, _END).astype(np.int64)
    return seconds
