"""The best items of many users: a matrix product for a batch of them, and the best columns of each row."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.arrays import DType, Ratings
from toolkit.backends.best import Best, BestColumns, Partition, at_most, stored
from toolkit.backends.device import Device
from toolkit.predictor import Side

# Users of a batch, at least, where there are more items than a batch has scores for.
_RANKED_ROWS = 64


class RankingDevice(Device):
    """A device that ranks items; see `Device` for its parameters and attributes."""

    def top_n(
        self, users: Side, items: Side, n: int, *, mean: float = 0.0, hidden: Sequence[Ratings] = ()
    ) -> Best:
        """Return the n best items of each user.

        Memory is that of the factors, of the answer, and of `batch_scores` scores a thread.

        Parameters
        ----------
        users, items : Side
            Factors, shape (n_users, k) and (n_items, k), and biases, on the device of this backend.
        n : int
            How many items; more than there are counts as all.
        mean : float, default 0.0
            Is added to the scores.
        hidden : sequence of scipy.sparse CSR, shape (n_users, n_items)
            Items that are stored in the row of a user are left out.

        Returns
        -------
        Best
            In host memory.

        Raises
        ------
        ConfigError
            When `n` is below 1.
        """
        n_users, n_items = len(users.factors), len(items.factors)
        n = at_most(n, n_items)
        best = np.full((n_users, n), -1, np.int64)
        scores = np.full((n_users, n), np.nan, users.factors.dtype)
        # Enough users share a product that it is not as slow as reading the items' factors.
        width = min(n_items, max(1, self.batch_scores // max(1, min(_RANKED_ROWS, n_users))))
        step = max(1, self.batch_scores // max(width, 1))
        batches = [slice(begin, begin + step) for begin in range(0, n_users, step)] if n else []

        def rank(part: slice) -> None:
            own = users.factors[part]
            kept = self._best_columns(len(own), n, own.dtype)
            rows, columns = stored(hidden, part, by_column=width < n_items)
            for begin in range(0, n_items, width):
                end = min(begin + width, n_items)
                with np.errstate(invalid="ignore"):  # some BLAS say so of numbers that no score is made of
                    piece = own @ items.factors[begin:end].T
                here = slice(*np.searchsorted(columns, (begin, end))) if width < n_items else slice(None)
                piece[self.asarray(rows[here]), self.asarray(columns[here] - begin)] = -self.xp.inf
                kept.push(piece, items.bias[begin:end], begin)
            chosen, values = map(self.to_numpy, kept.result())
            real = np.isfinite(values)
            best[part] = np.where(real, chosen, -1)
            # The user's bias and the mean are the same for all items, so they are added last.
            values = values + self.to_numpy(users.bias[part])[:, None] + mean
            scores[part] = np.where(real, values, np.nan)

        # A single batch may use all threads of BLAS, unless this run was given but one.
        self.each(rank, batches, blas_threads=len(batches) <= 1 < self.threads)
        return Best(best, scores)

    def _best_columns(self, rows: int, n: int, dtype: DType) -> BestColumns:
        """Return what keeps the n best columns of some rows of scores."""
        return Partition(rows, n, dtype, self.xp)
