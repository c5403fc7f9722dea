"""How ranks are cut into tiles, rows into launches, and memory into arrays; nothing here needs a GPU."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from toolkit.backends.cuda.arena import Arena, layout_bytes
from toolkit.backends.cuda.plan import plan_rows
from toolkit.backends.cuda.shape import SHARED_LIMIT, Shape

COUNTS = st.lists(st.integers(0, 60), max_size=40)


def indptr_of(counts):
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@given(COUNTS, st.integers(1, 50), st.integers(0, 50))
def test_every_rating_is_in_one_launch_once(counts, part, short):
    indptr = indptr_of(counts)
    plan = plan_rows(indptr, part=part, short=short)
    seen = np.zeros(indptr[-1], np.int64)
    for rows in (plan.short, plan.whole):
        for row, start, count in zip(rows.rows, rows.starts, rows.counts, strict=True):
            assert (start, start + count) == (indptr[row], indptr[row + 1])
            seen[start : start + count] += 1
    for start, count in zip(plan.long.starts, plan.long.counts, strict=True):
        assert 0 < count <= part
        seen[start : start + count] += 1
    assert (seen == 1).all()


@given(COUNTS, st.integers(1, 50), st.integers(0, 50))
def test_tiers_are_by_length_and_the_longest_first(counts, part, short):
    plan = plan_rows(indptr_of(counts), part=part, short=short)
    assert (plan.long.rows.counts > part).all()
    assert ((plan.whole.counts <= part) & (plan.whole.counts > short)).all()
    assert ((plan.short.counts <= min(short, part)) & (plan.short.counts > 0)).all()
    for rows in (plan.long.rows, plan.whole, plan.short):
        assert (np.diff(rows.counts) <= 0).all()


@given(COUNTS, st.integers(1, 20))
def test_parts_of_a_row_follow_each_other(counts, part):
    indptr = indptr_of(counts)
    long = plan_rows(indptr, part=part).long
    for at, row in enumerate(long.rows.rows):
        parts = slice(long.firsts[at], long.firsts[at + 1])
        ends = long.starts[parts] + long.counts[parts]
        assert long.starts[parts][0] == indptr[row]
        assert ends[-1] == indptr[row + 1]
        np.testing.assert_array_equal(ends[:-1], long.starts[parts][1:])
        # Of like length: no block is left with a crumb.
        assert np.ptp(long.counts[parts]) <= 1


@given(COUNTS, st.integers(1, 10), st.integers(1, 100))
def test_waves_hold_all_long_rows_and_keep_to_their_bytes(counts, part, limit):
    long = plan_rows(indptr_of(counts), part=part).long
    waves = long.waves(8, limit)
    assert [row for begin, end in waves for row in range(begin, end)] == list(range(len(long.rows)))
    for begin, end in waves:
        parts = int(long.firsts[end] - long.firsts[begin])
        assert 8 * parts <= limit or end - begin == 1
        assert parts <= long.most_parts(waves)


def test_places_beyond_32_bits():
    # No array of ratings is needed to plan them.
    indptr = np.array([0, 2_000_000_000, 4_000_000_000, 4_000_000_007, 4_000_002_000])
    plan = plan_rows(indptr, part=1 << 30)
    assert plan.long.starts.tolist() == [0, 1_000_000_000, 2_000_000_000, 3_000_000_000]
    assert plan.long.counts.tolist() == [1_000_000_000] * 4
    assert plan.whole.starts.tolist() == [4_000_000_007]
    assert plan.short.starts.tolist() == [4_000_000_000]


@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("exact", [True, False])
def test_every_rank_up_to_262_fits_a_block(biased, exact):
    for k in range(1, 263):
        shape = Shape.of(k, biased=biased, exact=exact)
        assert shape.tiles <= shape.group <= 1024
        assert shape.group % 32 == 0
        assert shape.shared_bytes * shape.groups <= SHARED_LIMIT
        assert shape.group * shape.groups <= max(128, shape.group)
        assert shape.width % shape.tile == 0
        # The right-hand side is a column, too.
        assert shape.unknowns < shape.width
        assert shape.stride >= shape.unknowns + 2
        # What a block may have without asking, beside marks of four bytes for each thread.
        assert not exact or shape.shared_bytes + 4 * shape.group <= 48 << 10


def test_the_factor_stays_in_shared_memory_up_to_rank_128():
    assert all(Shape.of(k, biased=True).in_shared for k in range(1, 129))


def test_ranks_that_no_block_can_hold():
    assert Shape.of(263, biased=False) is not None
    assert Shape.of(263, biased=True) is None
    assert Shape.of(1024, biased=False) is None


def test_the_arena_grows_and_is_kept():
    arena = Arena(np)
    layout = {"a": ((3, 5), np.float32), "b": ((7,), np.float64), "none": ((0, 4), np.float32)}
    assert layout_bytes(layout) == 512
    views = arena.views(layout)
    assert {name: (a.shape, a.dtype) for name, a in views.items()} == {
        "a": ((3, 5), np.float32),
        "b": ((7,), np.float64),
        "none": ((0, 4), np.float32),
    }
    views["a"][:], views["b"][:] = 1, 2
    assert (views["a"] == 1).all()
    assert arena.allocations == 1
    arena.reserve(100)
    arena.views({"a": ((2,), np.float32)})
    assert (arena.allocations, arena.nbytes) == (1, 512)
    arena.reserve(513)
    assert (arena.allocations, arena.nbytes) == (2, 513)
