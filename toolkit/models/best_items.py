"""The items that are best for a user, and the items that are most like an item, by row number."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray, Ratings
from toolkit.backends import Backend, Best, at_most, largest
from toolkit.errors import ConfigError
from toolkit.inputs import checked_number
from toolkit.predictor import Predictor, Side


def best_items(
    factors: Predictor, users: Side, n: int, *, hidden: Sequence[Ratings], backend: Backend
) -> Best:
    """Return the n best items of users by their factors.

    Parameters
    ----------
    factors : Predictor
        Gives the items and the mean, in host memory.
    users : Side
        Factors, shape (n_users, k), and biases, shape (n_users,), in host memory.
    n : int
        How many items for each user.
    hidden : sequence of scipy.sparse CSR, shape (n_users, n_items)
        Items that are stored in a user's row are left out for this user.
    backend : Backend
        Where it is computed.

    Returns
    -------
    Best
        Row numbers of items, and predicted ratings, shape (n_users, n).

    Raises
    ------
    ConfigError
        When `n` is not a whole number from 1, or `hidden` has another shape.
    """
    n = checked_number("n", n, 1)
    shape = (len(users.bias), len(factors.items.bias))
    for matrix in hidden:
        if matrix.shape != shape:
            raise ConfigError(f"hidden items must have the shape {shape}, but have {matrix.shape}")
    own, items = backend.side(users), backend.side(factors.items)
    return backend.top_n(own, items, n, mean=factors.mean, hidden=hidden)


def most_similar(item_factors: Array, row: int, n: int) -> tuple[IntArray, FloatArray]:
    """Return the items whose factors point the same way as those of one item, most similar first.

    Parameters
    ----------
    item_factors : array of float, shape (n_items, k)
    row : int
        The row number of the item, which is left out of the answer.
    n : int
        How many items.

    Returns
    -------
    rows : array of int64, shape (≤ n,)
    cosines : array of float, shape (≤ n,)

    Raises
    ------
    ConfigError
        When `n` is not a whole number from 1, or there are no factors to compare.
    """
    if not item_factors.shape[1]:
        raise ConfigError(
            "a model of rank 0 has no factors, so that no item is more like another than the rest: train one "
            "with factors"
        )
    n = at_most(checked_number("n", n, 1), len(item_factors) - 1)
    length = np.linalg.norm(item_factors, axis=1)
    cosines = (
        item_factors @ item_factors[row] / np.maximum(length * length[row], np.finfo(item_factors.dtype).tiny)
    )
    # The item itself comes last.
    cosines[row] = -np.inf
    rows = largest(cosines[None], n, np)[0][0] if n else np.empty(0, np.int64)
    return rows, cosines[rows]
