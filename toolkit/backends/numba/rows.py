"""The normal equations of a half-step, row after row: gathered, multiplied and solved in the cache.

The ratings of a row are gathered a few at a time, with their weighted residual as one more column. So one
product of the gathered columns with themselves brings both the matrix and the right-hand side. Only the upper
half is computed, as the matrix is symmetric. The Cholesky factorization of both does the forward substitution
on its way.
"""

from __future__ import annotations

import numpy as np

from toolkit.backends.numba.compiling import Kernel, compiled
from toolkit.backends.numba.gathering import gather
from toolkit.backends.numba.tiles import (
    ROWS,
    VECTOR_BYTES,
    add_1,
    add_2,
    add_3,
    dot_rows,
    eliminate,
    subtract_1,
    subtract_2,
    subtract_3,
)

# Ratings gathered at once: they stay in the first cache up to a rank of 64, in the second beyond.
_CHUNK = 128


@compiled
def _add_products(matrix, factor, n, unknowns, ld, width):  # type: ignore[no-untyped-def]
    """Add factor[:n]ᵀ factor[:n] to the upper triangle of the matrix, for n > 0."""
    for i in range(0, unknowns, ROWS):
        j = i // width * width
        while j < ld:
            left = (ld - j) // width
            if left >= 3:
                add_3(matrix, factor, n, i, j, ld)
                j += 3 * width
            elif left == 2:
                add_2(matrix, factor, n, i, j, ld)
                j += 2 * width
            else:
                add_1(matrix, factor, n, i, j, ld)
                j += width


@compiled
def _subtract_products(matrix, i, ld, width):  # type: ignore[no-untyped-def]
    """Subtract from the rows from i on what the factored rows before i explain."""
    j = i // width * width
    while j < ld:
        left = (ld - j) // width
        if left >= 3:
            subtract_3(matrix, matrix, i, i, j, ld)
            j += 3 * width
        elif left == 2:
            subtract_2(matrix, matrix, i, i, j, ld)
            j += 2 * width
        else:
            subtract_1(matrix, matrix, i, i, j, ld)
            j += width


@compiled
def _solve(matrix, unknowns, ld, width, block, inverse, padded, dots, noise, out):  # type: ignore[no-untyped-def]
    """Solve a positive definite system, and return whether all pivots are positive.

    The right-hand side is the column behind the unknowns. The Cholesky factor U, with UᵀU the matrix,
    overwrites `matrix`, and U⁻ᵀ times the right-hand side overwrites the right-hand side. There, noise is
    added to it.
    """
    one = matrix.dtype.type(1)
    for i in range(0, unknowns, ROWS):
        if i:
            _subtract_products(matrix, i, ld, width)
        n = min(ROWS, unknowns - i)
        for r in range(n):
            for c in range(r, n):
                block[r, c] = matrix[i + r, i + c]
        # The columns behind the last unknown stay as they are.
        for r in range(n, ROWS):
            for q in range(r):
                block[q, r] = 0
            inverse[i + r] = one
        for r in range(n):
            pivot = block[r, r]
            if not pivot > 0:
                return False
            scale = one / np.sqrt(pivot)
            inverse[i + r] = scale
            for c in range(r, n):
                block[r, c] *= scale
            for q in range(r + 1, n):
                share = block[r, q]
                for c in range(q, n):
                    block[q, c] -= share * block[r, c]
        for j in range(i // width * width, ld, width):
            eliminate(matrix, block, inverse, i, j, ld)
    for i in range(len(noise)):
        matrix[i, unknowns] += noise[i]
    # Backward substitution; an unknown that is not solved yet counts as zero.
    padded[:] = 0
    for i in range((unknowns - 1) // ROWS * ROWS, -1, -ROWS):
        n = min(ROWS, unknowns - i)
        dot_rows(matrix, padded, dots, i, i // width * width, ld)
        for r in range(n - 1, -1, -1):
            value = matrix[i + r, unknowns] - dots[r]
            for q in range(r + 1, n):
                value -= matrix[i + r, i + q] * padded[i + q]
            value *= inverse[i + r]
            padded[i + r] = value
            out[i + r] = value
    return True


@compiled
def _weigh(matrix, unknowns, biased, c, w0):  # type: ignore[no-untyped-def]
    """Weigh the sums over a row whose ratings all have the weight c."""
    bias = unknowns - 1
    for i in range(unknowns):
        edge = w0 * matrix[i, bias]
        for j in range(i, unknowns):
            matrix[i, j] *= c
        if biased:
            matrix[i, bias] += edge
        matrix[i, unknowns] *= w0 + c


@Kernel
def solve_batch(  # type: ignore[no-untyped-def]
    rows,
    starts,
    counts,
    columns,
    values,
    table,
    marks,
    bordered,
    row_weight,
    gram,
    pull,
    pattern,
    penalty,
    bias_penalty,
    unobserved,
    pattern_weight,
    biased,
    floor,
    visible,
    noise,
    sums,
    out,
    failed,
):
    """Solve some rows; `toolkit.backends.numba.solving` makes the arrays.

    Parameters
    ----------
    rows, starts, counts : array of int64, shape (n,)
        The rows, where the ratings of each begin, and how many it has; at least one.
    columns, values : array, shape (nnz,)
        All ratings.
    table : array, shape (n_columns, ≥ k)
        The factors of each column, and zeros up to a whole vector. z is these and, with a bias, 1.
    marks : array, shape (n_columns, 4)
        Four numbers of each column. The first is √c, or one where the weight is a property of the row. The
        weighted residual of a rating is (value − offset) · scale, of the second and third. The fourth is a
        border: times √c z it is w0 z.
    bordered : bool
        Whether there is a border: biases are fitted, w0 is not 0, and the weight is a property of the column.
    row_weight : array, shape (n_rows,) or (0,)
        c, where it is a property of the row.
    gram : array, shape (k, k) or (0, 0)
        Is added to the matrix of every row.
    pull : array, shape (n_rows, k) or (0, 0)
        Is added to the right-hand side of each row.
    pattern : array, shape (n_columns, ≥ k) or (0, 0)
        Its sum over the columns of a row, times the pattern weight, is added to the row's right-hand side;
        zeros up to a whole vector.
    penalty, bias_penalty : array, shape (n_rows,)
        Of the factors and of the bias.
    unobserved : float
        w0.
    pattern_weight : float
        Of `pattern`.
    biased : bool
        Whether the last unknown is a bias.
    floor, visible : float
        A row with fewer ratings than unknowns fails when penalty + floor < visible · trace over the factors.
    noise : array, shape (n, unknowns) or (n, 0)
        Is added to each row as `toolkit.backends.HalfStep` says.
    sums : array, shape (n_rows, k) or (0, 0)
        Receives the sum of the factors of the columns of each row.
    out : array, shape (n, unknowns)
        Receives the solutions of the rows that do not fail.
    failed : array of bool, shape (n,)
        Receives which rows fail.
    """
    unknowns = out.shape[1]
    k = gram.shape[0]
    width = VECTOR_BYTES // table.itemsize
    step = max(width, ROWS)
    ld = -(-(unknowns + 1 + bordered) // step) * step
    matrix = np.empty((ld, ld), table.dtype)
    gathered = np.zeros((_CHUNK, ld), table.dtype)
    block = np.zeros((ROWS, ROWS), table.dtype)
    inverse, padded = np.empty(ld, table.dtype), np.empty(ld, table.dtype)
    dots = np.empty(ROWS, table.dtype)
    summed, pulled = np.empty(ld * (len(sums) > 0), table.dtype), np.empty(pattern.shape[1], table.dtype)
    real = table.dtype.type
    w0, wp = real(unobserved), real(pattern_weight)
    bias = unknowns - 1
    for at in range(len(rows)):
        row, start, count = rows[at], starts[at], counts[at]
        matrix[:] = 0
        summed[:] = 0
        pulled[:] = 0
        for begin in range(start, start + count, _CHUNK):
            n = min(_CHUNK, start + count - begin)
            own, rated = columns[begin : start + count], values[begin:]
            gather(
                *(own, rated, table, marks, bordered, biased, pattern, n, unknowns, gathered, summed, pulled)
            )
            _add_products(matrix, gathered, n, unknowns, ld, width)
        if len(row_weight):
            _weigh(matrix, unknowns, biased, row_weight[row], w0)
        elif bordered:
            for i in range(unknowns):
                matrix[i, bias] += matrix[i, unknowns + 1]
        for i in range(k):
            for j in range(i, k):
                matrix[i, j] += gram[i, j]
        for i in range(pull.shape[1]):
            matrix[i, unknowns] += pull[row, i]
        if len(pulled):
            for i in range(unknowns - biased):
                matrix[i, unknowns] += wp * pulled[i]
        for i in range(sums.shape[1]):
            sums[row, i] = summed[i]
        trace = real(0)
        for i in range(unknowns - biased):
            matrix[i, i] += penalty[row]
            trace += matrix[i, i]
        if biased:
            matrix[bias, bias] += bias_penalty[row]
        lost = count < unknowns and penalty[row] + floor < visible * trace
        failed[at] = lost or not _solve(
            matrix, unknowns, ld, width, block, inverse, padded, dots, noise[at], out[at]
        )
