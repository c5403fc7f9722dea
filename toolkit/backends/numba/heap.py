"""The n best columns of each row in one pass over the scores, kept in a heap."""

from __future__ import annotations

import numpy as np

from toolkit.arrays import DType, FloatArray, IntArray
from toolkit.backends.numba.compiling import Kernel, compiled

# Scores looked at together: few of them hold one of the n best, and the others are passed over by vectors.
_BLOCK = 64


class Heap:
    """The n largest of each row while the columns come in pieces; a `toolkit.backends.best.BestColumns`.

    Parameters
    ----------
    rows, n : int
        Number of rows, and of the columns to keep of each.
    dtype : dtype
        Type of the scores.
    """

    def __init__(self, rows: int, n: int, dtype: DType) -> None:
        self._columns: IntArray = np.full((rows, n), -1, np.int64)
        self._values: FloatArray = np.full((rows, n), -np.inf, dtype)

    def push(self, scores: FloatArray, bias: FloatArray, begin: int) -> None:
        """Take the next columns into account; `scores` is C-contiguous, and is not overwritten."""
        _push(scores, bias, begin, self._columns, self._values)

    def result(self) -> tuple[IntArray, FloatArray]:
        """Return columns and values, the largest first, equal ones by column; -1 for a value of -inf."""
        _sort(self._columns, self._values)
        return self._columns, self._values


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
def _above(line, bias, worst):  # type: ignore[no-untyped-def]
    # Counted, because a loop that is left early is not made of vectors.
    count = 0
    for j in range(len(line)):
        count += line[j] + bias[j] > worst
    return count


@Kernel
def _push(scores, bias, first, columns, values):  # type: ignore[no-untyped-def]
    n = columns.shape[1]
    for row in range(scores.shape[0]):
        line, best, at = scores[row], values[row], columns[row]
        worst = best[0]
        for begin in range(0, len(line), _BLOCK):
            block, its_bias = line[begin : begin + _BLOCK], bias[begin : begin + _BLOCK]
            if _above(block, its_bias, worst) == 0:
                continue
            for j in range(len(block)):
                value = block[j] + its_bias[j]
                # Of equal ones the earlier column is there already.
                if value > worst:
                    best[0], at[0] = value, first + begin + j
                    _sift(best, at, 0, n)
                    worst = best[0]


@Kernel
def _sort(columns, values):  # type: ignore[no-untyped-def]
    for row in range(len(columns)):
        best, at = values[row], columns[row]
        # The worst goes last, again and again.
        for size in range(len(best) - 1, 0, -1):
            best[0], best[size] = best[size], best[0]
            at[0], at[size] = at[size], at[0]
            _sift(best, at, 0, size)
