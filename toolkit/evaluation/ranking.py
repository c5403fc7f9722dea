"""Recall, NDCG and coverage of the best items, measured on ratings that were held out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import AnySparse
from toolkit.backends import Backend
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number, checked_ratings
from toolkit.predictor import Predictor


class Ranking(NamedTuple):
    """How well recommendations are ranked, averaged over the users with a relevant item held out.

    Attributes
    ----------
    recall : float
        Share of a user's relevant items that are among the n best. Where a user has more than n relevant
        items, no list of n reaches 1.
    capped_recall : float
        The same, where at most n relevant items of a user count, so that a perfect list has 1.
    ndcg : float
        Sum of 1 / log2(1 + position) over the relevant items among the n best, positions counted from 1,
        divided by the largest sum that is possible (Järvelin and Kekäläinen, ACM TOIS 20(4), 2002).
    coverage : float
        Share of all items that are among the n best of at least one user.
    users : int
        Users with a relevant item held out.
    """

    recall: float
    capped_recall: float
    ndcg: float
    coverage: float
    users: int


def rank(
    predictor: Predictor,
    held_out: AnySparse,
    *,
    seen: Sequence[AnySparse] = (),
    n: int = 10,
    relevant: float | None = None,
    backend: Backend | None = None,
) -> Ranking:
    """Return how well the n best items of each user agree with the ratings that were held out.

    Parameters
    ----------
    predictor : Predictor
        Fitted numbers, on the device of `backend`.
    held_out : scipy.sparse matrix, shape (n_users, n_items)
        Ratings that were not trained on.
    seen : sequence of scipy.sparse matrices, shape (n_users, n_items)
        Items that a user has rated here are not recommended to her: the training ratings, and for a test the
        validation ratings as well.
    n : int, default 10
        How many items are recommended.
    relevant : float, optional
        Smallest rating that makes an item relevant; by default every held-out item is relevant.
    backend : Backend, optional
        Where it is computed; by default NumPy.

    Returns
    -------
    Ranking
        NaN, and 0 users, where no user has a relevant item held out.

    Raises
    ------
    ConfigError
        When `n` is below 1, or a matrix has another shape than the predictor.
    RatingsError
        When a matrix is not one of finite ratings, each pair once.
    """
    n = checked_number("n", n, 1)
    backend = backend or Backend(threads=1)
    wanted = checked_ratings(held_out, name="held_out")
    if relevant is not None:
        wanted = _at_least(wanted, relevant)
    hidden = [checked_ratings(matrix, name="seen") for matrix in seen]
    shape = (len(predictor.users.bias), len(predictor.items.bias))
    for name, matrix in (("held_out", wanted), *(("seen", matrix) for matrix in hidden)):
        if matrix.shape != shape:
            raise ConfigError(
                f"{name} must be of {shape[0]} users and {shape[1]} items, but is {matrix.shape}"
            )
    users = np.flatnonzero(np.diff(wanted.indptr))
    if not len(users):
        return Ranking(np.nan, np.nan, np.nan, 0.0, 0)
    n_items = wanted.shape[1]
    n = min(n, n_items)
    # A batch for each thread.
    step = backend.threads * max(1, backend.batch_scores // n_items)
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = np.cumsum(discount)
    recall = capped = ndcg = 0.0
    recommended = np.zeros(n_items, np.bool_)
    for begin in range(0, len(users), step):
        part = users[begin : begin + step]
        own = predictor.users.at(backend.asarray(part))
        best = backend.top_n(own, predictor.items, n, hidden=[matrix[part] for matrix in hidden]).items
        real = best >= 0
        recommended[best[real]] = True
        truth = np.zeros((len(part), n_items), np.bool_)
        rows = wanted[part]
        counts = np.diff(rows.indptr)
        truth[np.repeat(np.arange(len(part)), counts), rows.indices] = True
        hits = np.take_along_axis(truth, best, axis=1) & real
        possible = np.minimum(counts, n)
        found = hits.sum(axis=1)
        recall += float((found / counts).sum())
        capped += float((found / possible).sum())
        ndcg += float((hits @ discount / ideal[possible - 1]).sum())
    n_users, coverage = len(users), float(recommended.mean())
    return Ranking(recall / n_users, capped / n_users, ndcg / n_users, coverage, n_users)


def _at_least(matrix: sp.csr_matrix, relevant: float) -> sp.csr_matrix:
    coo = matrix.tocoo()
    kept = coo.data >= relevant
    return sp.csr_matrix((coo.data[kept], (coo.row[kept], coo.col[kept])), shape=coo.shape)
