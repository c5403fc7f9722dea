"""Recall, NDCG and coverage of the best items, measured on ratings that were held out."""

from __future__ import annotations

import math
import numbers
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import AnySparse, Array
from toolkit.backends import Backend
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number, checked_ratings
from toolkit.predictor import Predictor, Side


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


class RankingSums(NamedTuple):
    """What some users add to a `Ranking`.

    Attributes
    ----------
    recall, capped_recall, ndcg : float
        Sums over the users.
    recommended : array of bool, shape (n_items,)
        Items that are among the n best of one of them.
    users : int
        How many they are.
    """

    recall: float
    capped_recall: float
    ndcg: float
    recommended: Array
    users: int

    @classmethod
    def none(cls, n_items: int) -> RankingSums:
        """Return what nobody adds."""
        return cls(0.0, 0.0, 0.0, np.zeros(n_items, np.bool_), 0)

    def __add__(self, other: RankingSums) -> RankingSums:  # type: ignore[override]
        """Return what these and other users add together."""
        return RankingSums(
            self.recall + other.recall,
            self.capped_recall + other.capped_recall,
            self.ndcg + other.ndcg,
            self.recommended | other.recommended,
            self.users + other.users,
        )

    def ranking(self) -> Ranking:
        """Return the averages; NaN where there is nobody."""
        if not self.users:
            return Ranking(np.nan, np.nan, np.nan, 0.0, 0)
        n = self.users
        coverage = float(self.recommended.mean())
        return Ranking(self.recall / n, self.capped_recall / n, self.ndcg / n, coverage, n)


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
        When `n` is below 1, `relevant` is no finite number, or a matrix has another shape than the predictor.
    RatingsError
        When a matrix is not one of finite ratings, each pair once.
    """
    n, relevant = checked_number("n", n, 1), checked_relevant(relevant)
    backend = backend or Backend(threads=1)
    wanted = checked_ratings(held_out, name="held_out")
    if relevant is not None:
        wanted = at_least(wanted, relevant)
    hidden = [checked_ratings(matrix, name="seen") for matrix in seen]
    shape = (len(predictor.users.bias), len(predictor.items.bias))
    for name, matrix in (("held_out", wanted), *(("seen", matrix) for matrix in hidden)):
        if matrix.shape != shape:
            raise ConfigError(
                f"{name} must be of {shape[0]} users and {shape[1]} items, but is {matrix.shape}"
            )
    users = np.flatnonzero(np.diff(wanted.indptr))
    # A batch for each thread.
    step = backend.threads * max(1, backend.batch_scores // max(1, wanted.shape[1]))
    sums = RankingSums.none(wanted.shape[1])
    for begin in range(0, len(users), step):
        part = users[begin : begin + step]
        own = predictor.users.at(backend.asarray(part))
        sums += rank_rows(
            own,
            predictor.items,
            wanted[part],
            hidden=[matrix[part] for matrix in hidden],
            n=n,
            backend=backend,
        )
    return sums.ranking()


def rank_rows(
    users: Side,
    items: Side,
    wanted: sp.csr_matrix,
    *,
    hidden: Sequence[sp.csr_matrix] = (),
    n: int,
    backend: Backend,
) -> RankingSums:
    """Return what some users add to a `Ranking`; see `rank`.

    Parameters
    ----------
    users, items : Side
        Of these users and of all items, on the device of `backend`.
    wanted : scipy.sparse CSR, shape (n_users, n_items)
        The relevant items of these users, at least one of each.
    hidden : sequence of scipy.sparse CSR, shape (n_users, n_items)
        Items that are not recommended.
    n : int
        How many items are recommended.
    backend : Backend
        Where it is computed.
    """
    n_users, n_items = wanted.shape
    n = min(n, n_items)
    discount = 1 / np.log2(np.arange(2, n + 2))
    ideal = np.cumsum(discount)
    best = backend.top_n(users, items, n, hidden=hidden).items
    real = best >= 0
    recommended = np.zeros(n_items, np.bool_)
    recommended[best[real]] = True
    truth = np.zeros(wanted.shape, np.bool_)
    counts = np.diff(wanted.indptr)
    truth[np.repeat(np.arange(n_users), counts), wanted.indices] = True
    hits = np.take_along_axis(truth, best, axis=1) & real
    possible = np.minimum(counts, n)
    found = hits.sum(axis=1)
    return RankingSums(
        float((found / counts).sum()),
        float((found / possible).sum()),
        float((hits @ discount / ideal[possible - 1]).sum()),
        recommended,
        n_users,
    )


def checked_relevant(relevant: object) -> float | None:
    """Return the smallest rating of a relevant item, or None for every item.

    Raises
    ------
    ConfigError
        When it is no finite number.
    """
    if relevant is None:
        return None
    real = isinstance(relevant, numbers.Real) and not isinstance(relevant, bool | np.bool_)
    if not real or not math.isfinite(float(cast("float", relevant))):
        raise ConfigError(f"relevant must be a rating, such as 4, but got {relevant!r:.60}")
    return float(cast("float", relevant))


def at_least(matrix: sp.csr_matrix, relevant: float) -> sp.csr_matrix:
    """Return the ratings of a matrix that are not below `relevant`, which `checked_relevant` returned."""
    coo = matrix.tocoo()
    kept = coo.data >= relevant
    return sp.csr_matrix((coo.data[kept], (coo.row[kept], coo.col[kept])), shape=coo.shape)
