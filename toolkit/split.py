"""Which ratings are held out: exact counts, chosen by a hash, whatever the order of the input."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.errors import ConfigError

SPLITS = ("train", "valid", "test")
_Array = np.ndarray[Any, Any]


def check_shares(valid: float, test: float) -> None:
    """Refuse shares that are negative or leave nothing to train on.

    Raises
    ------
    ConfigError
        Naming the share.
    """
    for name, share in (("valid", valid), ("test", test)):
        if not 0 <= share < 1:
            raise ConfigError(f"--{name} must be a share of at least 0 and below 1, but got {share!r}")
    if valid + test >= 1:
        raise ConfigError(f"--valid and --test must leave ratings to train on, but got {valid} + {test}")


def check_seed(seed: int) -> None:
    """Refuse a seed that is no unsigned 64-bit number.

    Raises
    ------
    ConfigError
        Naming the seed.
    """
    if not 0 <= seed < 2**64:
        raise ConfigError(f"--seed must be at least 0 and below 2**64, but got {seed!r}")


def random_split(
    users: _Array, items: _Array, n_items: int, *, valid: float, test: float, seed: int
) -> _Array:
    """Assign each rating to train, valid or test.

    Parameters
    ----------
    users, items : array of int, shape (n,)
        Row and column numbers; each pair once.
    n_items : int
        Number of columns.
    valid, test : float
        Shares of all ratings; the counts are these shares of n, rounded.
    seed : int
        Another seed gives another split.

    Returns
    -------
    array of uint8, shape (n,)
        0 for train, 1 for valid, 2 for test.

    Raises
    ------
    ConfigError
        When no rating is left to train on.
    """
    n = len(users)
    n_valid, n_test = round(valid * n), round(test * n)
    if n and n_valid + n_test >= n:
        raise ConfigError(
            f"--valid and --test must leave ratings to train on, but {valid} and {test} of {n} ratings are "
            f"{n_valid} and {n_test}"
        )
    key = users.astype(np.uint64) * np.uint64(n_items) + items.astype(np.uint64)
    # The hash is a bijection of the pair's number, so no two ratings tie and the counts are exact.
    drawn = _mix(key ^ _mix(np.array([seed], np.uint64)))
    assigned = np.zeros(n, np.uint8)
    if n_valid + n_test:
        cut = [k for k in (n_test, n_test + n_valid) if 0 < k < n]
        order = np.argpartition(drawn, cut) if cut else np.arange(n)
        assigned[order[:n_test]] = 2
        assigned[order[n_test : n_test + n_valid]] = 1
    return assigned


def _mix(x: _Array) -> _Array:
    """Return splitmix64 of 64-bit integers (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = x + np.uint64(0x9E3779B97F4A7C15)
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        mixed: _Array = x ^ (x >> np.uint64(31))
        return mixed
