"""Which ratings are held out: by hash, by time or as given, whatever the order of the input."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np

from toolkit.errors import ConfigError
from toolkit.ingest.sorting.counting import stable_order

SPLITS = ("train", "valid", "test")
TRAIN, VALID, TEST = range(3)
Kind = Literal["random", "per-user", "temporal", "per-user-last", "given"]
KINDS: tuple[Kind, ...] = ("random", "per-user", "temporal", "per-user-last", "given")
_Array = np.ndarray[Any, Any]
_LAST = 2**64 - 1
# Numbers that are hashed together: they stay in the processor's cache.
_AT_ONCE = 1 << 14


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Which ratings are held out.

    Attributes
    ----------
    kind : str
        ``random``: drawn from all ratings. ``per-user``: drawn from the ratings of each user. ``temporal``:
        the latest of all ratings for the test, the latest of the others for validation. ``per-user-last``:
        the same within each user. ``given``: the input says it; where it names no validation ratings, they
        are drawn from those for training.
    valid, test : float
        Below 1 a share of the ratings (per-user kinds: of each user's), otherwise a whole number of them.
    seed : int
        Another seed gives another split; with times it decides among ratings at the same time.
    """

    kind: Kind = "random"
    valid: float = 0.1
    test: float = 0.1
    seed: int = 0

    def check(self) -> None:
        """Refuse what cannot be done.

        Raises
        ------
        ConfigError
            Naming the option.
        """
        if self.kind not in KINDS:
            raise ConfigError(f"--split must be one of {', '.join(KINDS)}, but got {self.kind!r}")
        for name, amount in (("valid", self.valid), ("test", self.test)):
            if not 0 <= amount < math.inf or (amount >= 1 and amount != int(amount)):
                raise ConfigError(
                    f"--{name} must be a share, at least 0 and below 1, or a whole number of ratings, but "
                    f"got {amount!r}"
                )
        if self.valid < 1 and self.test < 1 and self.valid + self.test >= 1:
            raise ConfigError(
                f"--valid and --test must leave ratings to train on, but got {self.valid} + {self.test}"
            )
        if not 0 <= self.seed < 2**64:
            raise ConfigError(f"--seed must be at least 0 and below 2**64, but got {self.seed!r}")

    @property
    def needs_times(self) -> bool:
        """Whether the times of the ratings decide."""
        return self.kind in {"temporal", "per-user-last"}

    @property
    def by_user(self) -> bool:
        """Whether each user's ratings are split by themselves."""
        return self.kind.startswith("per-user")

    def totals(self, n: int) -> tuple[int, int]:
        """Return how many of `n` ratings are for validation and for the test.

        Raises
        ------
        ConfigError
            When no rating is left to train on.
        """
        n_valid, n_test = _amount(self.valid, n), 0 if self.kind == "given" else _amount(self.test, n)
        if n_valid + n_test >= max(n, 1):
            raise ConfigError(
                f"--valid and --test must leave ratings to train on, but {self.valid:.15g} and "
                f"{self.test:.15g} of {n} ratings are {n_valid} and {n_test}"
            )
        return n_valid, n_test

    def record(self) -> dict[str, Any]:
        """Return the rule for the manifest."""
        return asdict(self)


@dataclass(frozen=True)
class Cut:
    """Ratings up to this one, in the order of their keys and ties, are held out.

    Attributes
    ----------
    key, tie : int
        As `keys_of` gives them.
    """

    key: int
    tie: int = _LAST


def hash_pairs(users: _Array, items: _Array, n_items: int, seed: int) -> _Array:
    """Return a number for each pair, as good as random, and different for different pairs.

    Parameters
    ----------
    users, items : array of int, shape (n,)
        Row and column numbers.
    n_items : int
        Number of columns.
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
        # A bijection of the pair's number, so that no two tie.
        key ^= salt
        hashes[part] = _mix(key)
    return hashes


def keys_of(rule: SplitRule, hashes: _Array, times: _Array | None) -> _Array:
    """Return the keys, uint64, the smallest of which are held out; equal ones go by their hashes."""
    if not rule.needs_times or times is None:
        return hashes
    # Signed to unsigned in the same order, and turned round: the latest is the smallest.
    turned: _Array = ~(times.view(np.uint64) ^ np.uint64(1 << 63))
    return turned


def time_of_key(key: int) -> int:
    """Return the time that a key of `keys_of` stands for."""
    return (_LAST - key) - (1 << 63)


def assign(rule: SplitRule, keys: _Array, hashes: _Array, valid: Cut | None, test: Cut | None) -> _Array:
    """Return the split of each rating, uint8, where two cuts through all ratings decide."""
    assigned = np.zeros(len(keys), np.uint8)
    for number, cut in ((VALID, valid), (TEST, test)):
        if cut is None:
            continue
        held = keys <= np.uint64(cut.key)
        if rule.needs_times and cut.tie != _LAST:
            held &= (keys != np.uint64(cut.key)) | (hashes <= np.uint64(cut.tie))
        assigned[held] = number
    return assigned


def assign_by_user(rule: SplitRule, keys: _Array, hashes: _Array, counts: _Array, start: int) -> _Array:
    """Return the split of each rating, uint8, where each user's ratings are split by themselves.

    Parameters
    ----------
    rule : SplitRule
        With shares, a user gives a whole number of ratings that is his share on average: of 3 ratings a tenth
        is one rating of three users in ten. At least one rating of each user is for training.
    keys, hashes : array of uint64, shape (n,)
        Of the ratings, by user.
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
    assigned: _Array = np.where(rank < test, TEST, np.where(rank < held, VALID, TRAIN)).astype(np.uint8)
    return assigned


def _amount(amount: float, n: int) -> int:
    return int(amount) if amount >= 1 else round(amount * n)


def _mix(x: _Array) -> _Array:
    """Return splitmix64 of 64-bit integers (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x ^= x >> np.uint64(30)
        x *= np.uint64(0xBF58476D1CE4E5B9)
        x ^= x >> np.uint64(27)
        x *= np.uint64(0x94D049BB133111EB)
        x ^= x >> np.uint64(31)
        return x
