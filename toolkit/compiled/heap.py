"""The n largest of each row in one pass, kept in a heap; as `toolkit.top_n` does with a partition."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.compiled.rows import compiled


def select_largest(scores: Any, n: int, xp: Any) -> tuple[Any, Any]:
    """Return the columns and values of each row's n largest, largest first, equal ones by column.

    Parameters
    ----------
    scores : array of float, shape (n_rows, n_columns)
        C-contiguous, no NaN.
    n : int
        At most n_columns.
    xp : module
        Not used: it is NumPy.

    Returns
    -------
    columns : array of int64, shape (n_rows, n)
    values : array of float, shape (n_rows, n)
    """
    columns = np.empty((len(scores), n), np.int64)
    values = np.empty((len(scores), n), scores.dtype)
    _select(scores, columns, values)
    return columns, values


@compiled
def _sift(values, columns, at, size):  # type: ignore[no-untyped-def]
    # The root is the worst: the smallest value, and of equal ones the last column.
    value, column = values[at], columns[at]
    while True:
        child = 2 * at + 1
        if child >= size:
            break
        right = child + 1
        if right < size and (
            values[right] < values[child]
            or (values[right] == values[child] and columns[right] > columns[child])
        ):
            child = right
        if values[child] > value or (values[child] == value and columns[child] < column):
            break
        values[at], columns[at] = values[child], columns[child]
        at = child
    values[at], columns[at] = value, column


@compiled
def _select(scores, columns, values):  # type: ignore[no-untyped-def]
    n = columns.shape[1]
    for row in range(scores.shape[0]):
        line, best, at = scores[row], values[row], columns[row]
        for j in range(n):
            best[j], at[j] = line[j], j
        for j in range(n // 2 - 1, -1, -1):
            _sift(best, at, j, n)
        worst = best[0]
        for j in range(n, len(line)):
            # Of equal ones the earlier column is there already.
            if line[j] > worst:
                best[0], at[0] = line[j], j
                _sift(best, at, 0, n)
                worst = best[0]
        # The worst goes last, again and again.
        for size in range(n - 1, 0, -1):
            best[0], best[size] = best[size], best[0]
            at[0], at[size] = at[size], at[0]
            _sift(best, at, 0, size)
