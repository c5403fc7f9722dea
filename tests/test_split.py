"""The random split: exact counts, and the same ratings held out whatever their order."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.errors import ConfigError
from toolkit.split import check_seed, check_shares, random_split


def pairs(n, n_items=97, seed=0):
    key = np.random.default_rng(seed).choice(n * 5, n, replace=False)
    return (key // n_items).astype(np.int32), (key % n_items).astype(np.int32)


@given(
    n=st.integers(1, 300), valid=st.floats(0, 0.6), test=st.floats(0, 0.39), seed=st.integers(0, 2**64 - 1)
)
def test_counts_are_exact_and_order_does_not_matter(n, valid, test, seed):
    users, items = pairs(n)
    wanted = [round(valid * n), round(test * n)]
    if sum(wanted) >= n:
        with pytest.raises(ConfigError, match="must leave ratings to train on"):
            random_split(users, items, 97, valid=valid, test=test, seed=seed)
        return
    assigned = random_split(users, items, 97, valid=valid, test=test, seed=seed)
    assert np.bincount(assigned, minlength=3).tolist() == [n - sum(wanted), *wanted]
    order = np.random.default_rng(n).permutation(n)
    again = random_split(users[order], items[order], 97, valid=valid, test=test, seed=seed)
    assert (again == assigned[order]).all()


def test_the_test_set_does_not_depend_on_the_validation_share():
    users, items = pairs(1000)
    one, two = (random_split(users, items, 97, valid=v, test=0.2, seed=3) for v in (0, 0.5))
    assert ((one == 2) == (two == 2)).all()


def test_seeds_give_independent_splits():
    users, items = pairs(20_000)
    held = [random_split(users, items, 97, valid=0, test=0.1, seed=seed) == 2 for seed in range(6)]
    # Two independent tenths share a hundredth, 200 of 20,000, give or take 13.
    shared = [int((a & b).sum()) for k, a in enumerate(held) for b in held[k + 1 :]]
    assert min(shared) > 130
    assert max(shared) < 270


def test_every_user_and_item_gives_its_share():
    users, items = np.divmod(np.arange(200 * 200), 200)
    held = random_split(users, items, 200, valid=0, test=0.1, seed=1) == 2
    for rows in (users, items):
        share = np.bincount(rows, held) / 200
        # Five standard deviations of a share of 200 draws.
        assert abs(share - 0.1).max() < 5 * np.sqrt(0.1 * 0.9 / 200)


@pytest.mark.parametrize(("valid", "test"), [(-0.1, 0.1), (0.1, 1), (0.5, 0.5), (float("nan"), 0)])
def test_shares_that_make_no_sense(valid, test):
    with pytest.raises(ConfigError, match="--valid"):
        check_shares(valid, test) if valid != 0.1 else check_shares(test, 0)


@pytest.mark.parametrize("seed", [-1, 2**64])
def test_seeds_out_of_range(seed):
    with pytest.raises(ConfigError, match=f"--seed .* but got {seed}"):
        check_seed(seed)
