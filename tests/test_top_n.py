"""The best items of many users: what a full sort gives, on every backend and in any batches."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from toolkit.backends import Backend, largest
from toolkit.backends.best import Partition
from toolkit.backends.numba.heap import Heap
from toolkit.errors import ConfigError
from toolkit.predictor import Side


def sides(n_users, n_items, k=3, seed=0):
    rng = np.random.default_rng(seed)
    # Few different numbers, so that many scores are equal.
    draw = lambda *shape: rng.integers(-2, 3, shape).astype(np.float32)  # noqa: E731
    return Side(draw(n_users, k), draw(n_users)), Side(draw(n_items, k), draw(n_items))


def by_sorting(users, items, n, hidden):
    scores = users.factors @ items.factors.T + items.bias
    scores[hidden.nonzero()] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    values = np.take_along_axis(scores, order, axis=1) + users.bias[:, None]
    return np.where(np.isfinite(values), order, -1), np.where(np.isfinite(values), values, np.nan)


@pytest.mark.parametrize("n", [1, 2, 7, 30, 100])
def test_what_a_full_sort_gives(backend, n, monkeypatch):
    monkeypatch.setattr(backend, "batch_scores", 90)  # several batches
    users, items = sides(23, 30)
    hidden = sp.random_array((23, 30), density=0.3, rng=np.random.default_rng(1), format="csr")
    hidden = sp.csr_matrix(sp.vstack([hidden[:-1], np.ones((1, 30))]))  # the last has rated all
    own = Side(*map(backend.asarray, users)), Side(*map(backend.asarray, items))
    best = backend.top_n(*own, n, hidden=[hidden])
    wanted, scores = by_sorting(users, items, n, hidden)
    np.testing.assert_array_equal(best.items, wanted)
    np.testing.assert_array_equal(best.scores, scores)
    assert (best.items[-1] == -1).all()


def test_nothing_is_hidden_unless_asked(backend):
    users, items = sides(4, 9)
    own = Side(*map(backend.asarray, users)), Side(*map(backend.asarray, items))
    best = backend.top_n(*own, 3)
    np.testing.assert_array_equal(best.items, by_sorting(users, items, 3, sp.csr_matrix((4, 9)))[0])


def test_no_users_and_no_items():
    users, items = sides(0, 5)
    assert Backend().top_n(users, items, 3).items.shape == (0, 3)
    users, items = sides(2, 0)
    assert Backend().top_n(users, items, 3).items.shape == (2, 0)


def test_less_than_one_is_refused():
    with pytest.raises(ConfigError, match="n must be at least 1, but got 0"):
        Backend().top_n(*sides(2, 2), 0)


@given(
    arrays(np.float32, st.tuples(st.integers(1, 4), st.integers(1, 200)), elements=st.integers(-3, 3)),
    st.integers(1, 200),
    st.integers(1, 200),
)
def test_heap_and_partition_choose_alike_in_any_pieces(scores, n, width):
    n = min(n, scores.shape[1])
    bias = np.arange(scores.shape[1], dtype=np.float32) % 3
    wanted = largest(scores + bias, n, np)
    for kept in (Heap(len(scores), n, scores.dtype), Partition(len(scores), n, scores.dtype, np)):
        for begin in range(0, scores.shape[1], width):
            piece = np.ascontiguousarray(scores[:, begin : begin + width])
            kept.push(piece, bias[begin : begin + width], begin)
        for one, other in zip(kept.result(), wanted, strict=True):
            np.testing.assert_array_equal(one, other)
