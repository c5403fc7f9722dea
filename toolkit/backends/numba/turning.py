"""Rows of factors in another basis: each row by itself, so that its bits do not depend on its neighbours.

A matrix product of BLAS may give a row other last bits where it is at the edge of a block.
"""

from __future__ import annotations

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.backends.numba.compiling import Kernel
from toolkit.backends.numba.tiles import ROWS, VECTOR_BYTES, add_rows


def padded(matrix: FloatArray) -> FloatArray:
    """Return a matrix with zeros up to whole tiles, as `turn_rows` wants it."""
    width = VECTOR_BYTES // matrix.itemsize
    table = np.zeros((-(-matrix.shape[0] // ROWS) * ROWS, -(-matrix.shape[1] // width) * width), matrix.dtype)
    table[: matrix.shape[0], : matrix.shape[1]] = matrix
    return table


@Kernel
def turn_rows(table, rows, k, matrix):  # type: ignore[no-untyped-def]
    """Replace the first k numbers of some rows of a table by their product with a matrix.

    Parameters
    ----------
    table : array, shape (n, ≥ k)
    rows : array of int64
        Which of its rows.
    k : int
    matrix : array, shape (≥ k, ≥ k)
        A matrix of k rows and columns that `padded` has seen.
    """
    row, turned = np.zeros(matrix.shape[0], table.dtype), np.empty(matrix.shape[1], table.dtype)
    for at in range(len(rows)):
        for j in range(k):
            row[j] = table[rows[at], j]
        turned[:] = 0
        for p in range(0, matrix.shape[0], ROWS):
            add_rows(turned, matrix, row[p:], p, matrix.shape[1])
        for j in range(k):
            table[rows[at], j] = turned[j]
