"""Which ratings are held out: exact counts, each user's share, the latest; in whatever order they come."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import ConfigError
from toolkit.ingest import SplitRule
from toolkit.ingest.splitting.assignment import (
    Cut,
    assign,
    assign_by_user,
    hash_pairs,
    keys_of,
    time_of_key,
)
from toolkit.ingest.splitting.selection import probe, select


def pairs(n, n_items=97, seed=0):
    key = np.random.default_rng(seed).choice(n * 5, n, replace=False)
    return (key // n_items).astype(np.int32), (key % n_items).astype(np.int32)


def split(users, items, n_items=97, *, times=None, parts=3, **options):
    """Split ratings that lie in several parts, as an ingest does."""
    rule = SplitRule(**options)
    rule.check()
    hashes = hash_pairs(users, items, n_items, rule.seed)
    keys = keys_of(rule, hashes, times)
    n_valid, n_test = rule.totals(len(users))

    def cut(k):
        found = select(k, lambda a, b: [probe(part, a, b) for part in np.array_split(keys, parts)])
        tied = hashes[keys == np.uint64(found.value)]
        tie = select(k - found.below, lambda a, b: [probe(tied, a, b)])
        return Cut(found.value, tie.value if rule.needs_times else 2**64 - 1)

    test = cut(n_test) if n_test else None
    return assign(rule, keys, hashes, cut(n_test + n_valid) if n_valid else None, test)


@given(
    n=st.integers(1, 300), valid=st.floats(0, 0.6), test=st.floats(0, 0.39), seed=st.integers(0, 2**64 - 1)
)
def test_counts_are_exact_and_order_does_not_matter(n, valid, test, seed):
    users, items = pairs(n)
    wanted = [round(valid * n), round(test * n)]
    if sum(wanted) >= n:
        with pytest.raises(ConfigError, match="must leave ratings to train on"):
            split(users, items, valid=valid, test=test, seed=seed)
        return
    assigned = split(users, items, valid=valid, test=test, seed=seed)
    assert np.bincount(assigned, minlength=3).tolist() == [n - sum(wanted), *wanted]
    order = np.random.default_rng(n).permutation(n)
    again = split(users[order], items[order], valid=valid, test=test, seed=seed, parts=1)
    assert (again == assigned[order]).all()


@given(
    times=st.lists(st.integers(-3, 3) | st.integers(-(2**63), 2**63 - 1), min_size=2, max_size=60),
    n_test=st.integers(0, 20),
    n_valid=st.integers(0, 20),
)
def test_the_latest_are_held_out(times, n_test, n_valid):
    n = len(times)
    n_test, n_valid = n_test % n, n_valid % (n - n_test % n)
    users, items = pairs(n)
    if n_test + n_valid >= n:
        return
    times = np.array(times, np.int64)
    share = {"test": n_test / n if n_test == 1 else n_test, "valid": n_valid / n if n_valid == 1 else n_valid}
    assigned = split(users, items, times=times, kind="temporal", **share)
    assert np.bincount(assigned, minlength=3).tolist() == [n - n_test - n_valid, n_valid, n_test]
    for earlier, later in ((0, 1), (1, 2), (0, 2)):
        if (assigned == earlier).any() and (assigned == later).any():
            assert times[assigned == earlier].max() <= times[assigned == later].min()
    assert [
        time_of_key(int(key)) for key in keys_of(SplitRule(kind="temporal"), None, times)
    ] == times.tolist()


@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=20), test=st.sampled_from([0, 0.1, 0.5, 1, 3])
)
def test_each_user_gives_its_share_and_keeps_one(counts, test):
    counts = np.array(counts)
    users = np.repeat(np.arange(len(counts)), counts).astype(np.int32)
    items = np.arange(len(users), dtype=np.int32)
    times = np.random.default_rng(0).integers(0, 5, len(users))
    for kind in ("per-user", "per-user-last"):
        rule = SplitRule(kind=kind, valid=0.2, test=test, seed=9)
        hashes = hash_pairs(users, items, len(items), rule.seed)
        assigned = assign_by_user(rule, keys_of(rule, hashes, times), hashes, counts, 0)
        held = np.bincount(users, assigned == 2)
        share = test if test >= 1 else test * counts
        assert (abs(held - np.minimum(share, counts - 1)) <= 1).all()
        assert (np.bincount(users, assigned == 0) >= 1).all()
        if kind == "per-user-last":
            for user in range(len(counts)):
                mine, of = times[users == user], assigned[users == user]
                if (of == 2).any():
                    assert mine[of != 2].max(initial=-1) <= mine[of == 2].min()


def test_light_users_give_a_tenth_on_average():
    counts = np.full(30_000, 3)
    users = np.repeat(np.arange(30_000), 3).astype(np.int32)
    rule = SplitRule(kind="per-user", valid=0.1, test=0.1)
    hashes = hash_pairs(users, np.tile(np.arange(3), 30_000), 3, 0)
    assigned = assign_by_user(rule, hashes, hashes, counts, 0)
    assert abs(np.bincount(assigned) / len(users) - [0.8, 0.1, 0.1]).max() < 0.005


def test_the_test_set_does_not_depend_on_the_validation_share():
    users, items = pairs(1000)
    one, two = (split(users, items, valid=v, test=0.2, seed=3) for v in (0, 0.5))
    assert ((one == 2) == (two == 2)).all()


def test_seeds_give_independent_splits():
    users, items = pairs(20_000)
    held = [split(users, items, valid=0, test=0.1, seed=seed) == 2 for seed in range(6)]
    # Two independent tenths share a hundredth, 200 of 20,000, give or take 13.
    shared = [int((a & b).sum()) for k, a in enumerate(held) for b in held[k + 1 :]]
    assert min(shared) > 130
    assert max(shared) < 270


def test_every_user_and_item_gives_its_share():
    users, items = np.divmod(np.arange(200 * 200), 200)
    held = split(users, items, 200, valid=0, test=0.1, seed=1) == 2
    for rows in (users, items):
        share = np.bincount(rows, held) / 200
        # Five standard deviations of a share of 200 draws.
        assert abs(share - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 200)


@given(
    numbers=st.lists(st.integers(0, 5) | st.integers(0, 2**64 - 1), min_size=1, max_size=200),
    k=st.integers(0, 199),
    guess=st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)),
)
def test_the_kth_smallest_of_parts(numbers, k, guess):
    k = k % len(numbers) + 1
    parts = np.array_split(np.array(numbers, np.uint64), 3)
    found = select(k, lambda a, b: [probe(part, a, b) for part in parts], (min(guess), max(guess)))
    value = sorted(numbers)[k - 1]
    assert (found.value, found.equal) == (value, numbers.count(value))
    assert found.below == sum(number < value for number in numbers)


def test_many_equal_numbers_are_not_handed_over():
    numbers = np.repeat(np.array([3, 2**63, 2**63 + 5], np.uint64), 20_000)
    found = select(30_000, lambda a, b: [probe(numbers, a, b)])
    assert (found.value, found.below, found.equal) == (2**63, 20_000, 20_000)


@pytest.mark.parametrize(
    "options",
    [
        {"valid": -0.1, "test": 0.1},
        {"valid": 0.5, "test": 0.5},
        {"valid": float("nan")},
        {"test": 2.5},
        {"kind": "by-mood"},
        {"seed": -1},
        {"seed": 2**64},
    ],
)
def test_what_cannot_be_done_is_refused(options):
    with pytest.raises(ConfigError, match="but got"):
        SplitRule(**options).check()
