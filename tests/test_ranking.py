"""Recall, NDCG and coverage against their definitions, written out user by user."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
from memory_peaks import peak_of

from toolkit.backends import Backend
from toolkit.config import WALSConfig
from toolkit.errors import ConfigError
from toolkit.evaluation import rank
from toolkit.predictor import Side
from toolkit.solver import Factors


def factors_of(scores):
    """Return factors that give these scores: the items are unit vectors."""
    scores = np.asarray(scores, np.float64)
    n_users, n_items = scores.shape
    users, items = Side(scores, np.zeros(n_users)), Side(np.eye(n_items), np.zeros(n_items))
    return Factors(users, items, 0.0, WALSConfig(factors=n_items), 1)


def slow(scores, held_out, seen, k, relevant=None):
    recalls, capped, ndcgs, recommended = [], [], [], set()
    hides = sum(matrix.toarray() != 0 for matrix in seen)
    for user, row in enumerate(held_out.toarray()):
        wanted = {i for i in np.flatnonzero(row) if relevant is None or row[i] >= relevant}
        if not wanted:
            continue
        hidden = set(np.flatnonzero(hides[user]))
        left = [i for i in range(len(row)) if i not in hidden]
        best = sorted(left, key=lambda i, user=user: (-scores[user, i], i))[:k]
        recommended |= set(best)
        possible = min(k, len(wanted))
        recalls.append(sum(i in wanted for i in best) / len(wanted))
        capped.append(sum(i in wanted for i in best) / possible)
        gain = sum(1 / math.log2(2 + place) for place, i in enumerate(best) if i in wanted)
        ndcgs.append(gain / sum(1 / math.log2(2 + place) for place in range(possible)))
    means = (np.mean(recalls), np.mean(capped), np.mean(ndcgs))
    return *means, len(recommended) / held_out.shape[1], len(recalls)


# With few levels many scores are equal.
@pytest.mark.parametrize(
    ("k", "relevant", "levels"),
    [(1, None, 3), (3, 4, 1000), (10, None, 1000), (10, 4, 3), (40, 4, 3), (100, None, 3)],
)
def test_it_is_the_mean_over_users(k, relevant, levels):
    rng = np.random.default_rng(k)
    scores = rng.integers(0, levels, (12, 40)).astype(np.float64)
    kinds = rng.choice(4, (12, 40), p=[0.6, 0.2, 0.1, 0.1])
    kinds[:3] = 0  # nothing is known of these
    kinds[5] = 1  # and all of this one is seen or held out
    kinds[5, 7] = 2
    stars = rng.integers(1, 6, (12, 40)).astype(np.float32)
    train, held_out, valid = (sp.csr_matrix(np.where(kinds == kind, stars, 0)) for kind in (1, 2, 3))
    wanted = slow(scores, held_out, [train, valid], k, relevant)
    backend = Backend(1)
    for backend.batch_scores in (1, 60, 1 << 21):
        found = rank(
            factors_of(scores), held_out, seen=[train, valid], n=k, relevant=relevant, backend=backend
        )
        np.testing.assert_allclose(found, wanted, rtol=1e-12)


def test_the_perfect_model_has_ones_and_the_worst_zeros():
    held_out = sp.csr_matrix(np.eye(6, 9) + np.eye(6, 9, 2))
    assert rank(factors_of(held_out.toarray()), held_out, n=3)[:3] == (1.0, 1.0, 1.0)
    assert rank(factors_of(-held_out.toarray()), held_out, n=3)[:3] == (0.0, 0.0, 0.0)


def test_recall_counts_all_relevant_items_and_capped_recall_as_many_as_a_list_holds():
    held_out = sp.csr_matrix(np.ones((1, 4)))
    found = rank(factors_of([[4.0, 3.0, 2.0, 1.0]]), held_out, n=2)
    assert (found.recall, found.capped_recall) == (0.5, 1.0)


def test_nobody_has_anything_held_out():
    found = rank(factors_of(np.ones((2, 3))), sp.csr_matrix((2, 3)))
    assert np.isnan(found.recall)
    assert np.isnan(found.ndcg)
    assert found.users == 0


def test_k_below_one_is_refused():
    with pytest.raises(ConfigError):
        rank(factors_of(np.ones((2, 3))), sp.csr_matrix((2, 3)), n=0)


def test_memory_is_not_that_of_all_scores():
    rng = np.random.default_rng(0)
    n_users, n_items = 6_000, 5_000
    side = lambda n: Side(rng.standard_normal((n, 4), dtype=np.float32), np.zeros(n, np.float32))  # noqa: E731
    factors = Factors(side(n_users), side(n_items), 0.0, WALSConfig(factors=4), 1)
    held_out = sp.csr_matrix(
        (np.ones(n_users), (np.arange(n_users), rng.integers(0, n_items, n_users))), shape=(n_users, n_items)
    )

    def ranked():
        assert rank(factors, held_out, n=10, backend=Backend(1)).users == n_users

    assert peak_of(ranked, tries=1) < 0.2 * 4 * n_users * n_items
