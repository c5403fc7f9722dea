"""The split of each rating: by hash or by time, whatever the order of the input."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.arrays import IntArray
from toolkit.datasets import TEST, TRAIN, VALID
from toolkit.ingest.sorting.counting import stable_order
from toolkit.ingest.splitting.rule import SplitRule

_LAST = 2**64 - 1
# So many numbers are hashed together: they stay in the processor's cache.
_AT_ONCE = 1 << 14


@dataclass(frozen=True)
class Cut:
    """The last rating that is held out, in the order of keys and ties.

    Attributes
    ----------
    key, tie : int
        Its key, as `keys_of` returns it, and its hash, which decides among equal keys.
    """

    key: int
    tie: int = _LAST


def hash_pairs(users: IntArray, items: IntArray, n_items: int, seed: int) -> IntArray:
    """Return a hash of each pair: random as far as can be seen, and different for different pairs.

    Parameters
    ----------
    users, items : array of int, shape (n,)
        Rows and columns.
    n_items : int
        How many items there are.
    seed : int
        Another seed gives other numbers.

    Returns
    -------
    array of uint64, shape (n,)
    """
    salt = _mix(np.array([seed], np.uint64))
    hashes = np.empty(len(users), np.uint64)
    for begin in range(0, len(users), _AT_ONCE):
        part = slice(begin, begin + _AT_ONCE)
        key = users[part].astype(np.uint64)
        key *= np.uint64(n_items)
        key += items[part].astype(np.uint64)
        # What follows maps different numbers of pairs to different hashes.
        key ^= salt
        hashes[part] = _mix(key)
    return hashes


def keys_of(rule: SplitRule, hashes: IntArray, times: IntArray | None) -> IntArray:
    """Return a key for each rating, uint64: the ratings with the smallest keys are held out.

    Parameters
    ----------
    rule : SplitRule
        The rule.
    hashes : array of uint64, shape (n,)
        As `hash_pairs` returns them; they decide among equal keys.
    times : array of int64, shape (n,), or None
        Times of the ratings, where the rule needs them.
    """
    if not rule.needs_times or times is None:
        return hashes
    # The first operation maps signed to unsigned in the same order; the second makes the latest the smallest.
    return ~(times.view(np.uint64) ^ np.uint64(1 << 63))


def time_of_key(key: int) -> int:
    """Return the time from which `keys_of` made a key."""
    return (_LAST - key) - (1 << 63)


def assign(
    rule: SplitRule, keys: IntArray, hashes: IntArray, valid: Cut | None, test: Cut | None
) -> IntArray:
    """Return the split of each rating, uint8, where two cuts through all ratings decide.

    The parameters are those of `keys_of`, and the cut of each split that is held out.
    """
    assigned = np.zeros(len(keys), np.uint8)
    # The test, which has the greater number, takes from what is for validation.
    for number, cut in ((VALID, valid), (TEST, test)):
        if cut is None:
            continue
        held = keys <= np.uint64(cut.key)
        if rule.needs_times and cut.tie != _LAST:
            held &= (keys != np.uint64(cut.key)) | (hashes <= np.uint64(cut.tie))
        np.maximum(assigned, held * np.uint8(number), out=assigned)
    return assigned


def assign_by_user(
    rule: SplitRule, keys: IntArray, hashes: IntArray, counts: IntArray, start: int
) -> IntArray:
    """Return the split of each rating, uint8, where the ratings of each user are split apart.

    Parameters
    ----------
    rule : SplitRule
        Of shares, each user gives a whole number of ratings, which is his share on average: with a tenth,
        three of ten users who have 3 ratings give one. At least one rating of each user is for training.
    keys, hashes : array of uint64, shape (n,)
        Keys and hashes of the ratings, by user.
    counts : array of int, shape (n_users,)
        Ratings of each user.
    start : int
        Row of the first user.
    """
    rows = np.arange(start, start + len(counts), dtype=np.uint64)
    amounts = {}
    for name, amount in (("test", rule.test), ("valid", rule.valid)):
        if amount >= 1:
            # No user has more than 2**31 ratings.
            amounts[name] = np.full(len(counts), min(int(amount), 2**31), np.int64)
        else:
            salt = _mix(np.array([rule.seed ^ (1 if name == "test" else 2)], np.uint64))
            chance = (_mix(_mix(rows) ^ salt) >> np.uint64(11)) * 2.0**-53
            amounts[name] = np.floor(amount * counts + chance).astype(np.int64)
    n_test = np.minimum(amounts["test"], counts - 1)
    n_valid = np.minimum(amounts["valid"], counts - 1 - n_test)
    users = np.repeat(np.arange(len(counts), dtype=np.int32), counts)
    order = np.lexsort((hashes, keys)) if rule.needs_times else np.argsort(keys, kind="stable")
    order = order[stable_order(users[order], len(counts))]
    rank = np.empty(len(keys), np.int64)
    begins = np.cumsum(counts) - counts
    rank[order] = np.arange(len(keys)) - np.repeat(begins, counts)
    test, held = np.repeat(n_test, counts), np.repeat(n_test + n_valid, counts)
    assigned: IntArray = np.where(rank < test, TEST, np.where(rank < held, VALID, TRAIN)).astype(np.uint8)
    return assigned


def _mix(x: IntArray) -> IntArray:
    """Return splitmix64 of 64-bit integers (Steele, Lea and Flood, OOPSLA 2014)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x
