"""Conjugate gradients on the rows of a half-step, each gathered once and then multiplied in the cache.

A step costs two products with the gathered ratings of a row, where an exact solution costs as many as there
are unknowns. Rows begin where the last iteration left them, so that a few steps are enough (I. Pilászy,
D. Zibriczky and D. Tikk, "Fast ALS-based matrix factorization for explicit and implicit feedback datasets",
RecSys 2010). A row whose residual stays too large is left to the exact solution.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.backends.numba.compiling import Kernel, compiled
from toolkit.backends.numba.gathering import gather
from toolkit.backends.numba.tiles import ROWS, VECTOR_BYTES, add_rows, dot_rows


def new_scratch(longest: int, columns: int, dtype: np.dtype[Any]) -> FloatArray:
    """Return memory for the ratings of one row after the other.

    Parameters
    ----------
    longest : int
        The most ratings that a row has.
    columns : int
        What is gathered of a rating: the unknowns, its residual, and a border where the tables have one.
    dtype : dtype
        Of the tables.

    Returns
    -------
    array of float, shape (≥ longest, ≥ columns)
        Of whole tiles.
    """
    step = max(VECTOR_BYTES // dtype.itemsize, ROWS)
    wide = -(-columns // step) * step
    return np.zeros((-(-longest // ROWS) * ROWS, wide), dtype)


@compiled
def _sum_edge(gathered, n, unknowns, w0, by_column, weights, edge):  # type: ignore[no-untyped-def]
    """Put the sum of w0 z, which unobserved pairs add to the row and column of the bias, into `edge`."""
    edge[:] = 0
    for p in range(0, n, ROWS):
        for q in range(ROWS):
            weights[q] = gathered[p + q, unknowns + 1] if by_column else w0
        add_rows(edge, gathered, weights, p, len(edge))


@compiled
def _add_rest(diagonal, edge, k, sign, vector, out):  # type: ignore[no-untyped-def]
    """Add to `out` what is not a sum over ratings of the matrix times a vector, with a sign."""
    for j in range(len(diagonal)):
        out[j] += sign * diagonal[j] * vector[j]
    if len(edge):
        for j in range(k):
            out[j] += sign * edge[j] * vector[k]
            out[k] += sign * edge[j] * vector[j]
        out[k] += sign * edge[k] * vector[k]


@compiled
def _residual(gathered, n, unknowns, c, both, x, dots, r):  # type: ignore[no-untyped-def]
    """Put the sums over ratings of the right-hand side less the matrix times x into `r`.

    Return the sum of their weighted squares.
    """
    r[:] = 0
    energy = both - both
    for p in range(0, n, ROWS):
        dot_rows(gathered, x, dots, p, 0, len(x))
        for q in range(ROWS):
            rating = gathered[p + q, unknowns]
            energy += rating * rating
            dots[q] = both * rating - c * dots[q]
        add_rows(r, gathered, dots, p, len(x))
    return both * energy


@compiled
def _descend(  # type: ignore[no-untyped-def]
    gathered, n, c, diagonal, edge, k, inverse, x, r, d, z, dots, limit, least, most
):
    """Take steps from x, whose residual is r, and return whether they came as near as the limit."""
    unknowns = len(diagonal)
    size = limit - limit
    for j in range(unknowns):
        d[j] = inverse[j] * r[j]
        size += r[j] * d[j]
    done = 0
    while size > 0 and done < most and (done < least or size > limit):
        z[:] = 0
        for p in range(0, n, ROWS):
            dot_rows(gathered, d, dots, p, 0, len(d))
            for q in range(ROWS):
                dots[q] *= c
            add_rows(z, gathered, dots, p, len(d))
        _add_rest(diagonal, edge, k, z.dtype.type(1), d, z)
        curve = size - size
        for j in range(unknowns):
            curve += d[j] * z[j]
        length, last = size / curve, size
        size = last - last
        for j in range(unknowns):
            x[j] += length * d[j]
            r[j] -= length * z[j]
            z[j] = inverse[j] * r[j]
            size += r[j] * z[j]
        for j in range(unknowns):
            d[j] = z[j] + size / last * d[j]
        done += 1
    return size <= limit


@Kernel
def descend_batch(  # type: ignore[no-untyped-def]
    rows,
    starts,
    counts,
    columns,
    values,
    table,
    marks,
    bordered,
    row_weight,
    shared,
    pull,
    pattern,
    penalty,
    bias_penalty,
    unobserved,
    pattern_weight,
    biased,
    mean_square,
    tolerance,
    least,
    most,
    most_data,
    gathered,
    sums,
    out,
    failed,
):
    """Solve some rows by steps; the parameters that are not named here are those of `solve_batch`.

    Parameters
    ----------
    shared : array, shape (unknowns,)
        Is added to the diagonal of the matrix of every row.
    mean_square : array, shape (unknowns,)
        The mean of c z² over all ratings, without c where it is a property of the row.
    tolerance : float
        The share of a row's ratings, both in the norm of the matrix, that its residual may keep.
    least, most : int
        Steps of a row.
    most_data : float
        A row whose data weigh more, by the sum over factors of data by penalty, fails without a step.
    gathered : array, shape (≥ ratings of any row up to whole tiles, ld)
        Scratch memory, zeros when it is first used, as `new_scratch` makes it.
    out : array, shape (n, unknowns)
        Holds where each row begins, and receives where it ends.
    failed : array of bool, shape (n,)
        Receives which rows the steps do not solve.
    """
    unknowns = out.shape[1]
    k = unknowns - biased
    ld = gathered.shape[1]
    x, r = np.zeros(ld, table.dtype), np.zeros(ld, table.dtype)
    d, z = np.zeros(ld, table.dtype), np.zeros(ld, table.dtype)
    dots = np.empty(ROWS, table.dtype)
    diagonal, inverse = np.empty(unknowns, table.dtype), np.empty(unknowns, table.dtype)
    summed, pulled = np.empty(ld * (len(sums) > 0), table.dtype), np.empty(pattern.shape[1], table.dtype)
    real = table.dtype.type
    w0, wp = real(unobserved), real(pattern_weight)
    edge = np.empty(ld * (biased and w0 > 0), table.dtype)
    for at in range(len(rows)):
        row, start, count = rows[at], starts[at], counts[at]
        by_row = len(row_weight) > 0
        c, both = (row_weight[row], w0 + row_weight[row]) if by_row else (real(1), real(1))
        weight = c - c
        for j in range(k):
            own_penalty = shared[j] + penalty[row]
            weight += c * count * mean_square[j] / own_penalty if own_penalty > 0 else real(np.inf)
        failed[at] = weight > most_data
        if failed[at]:
            continue
        summed[:] = 0
        pulled[:] = 0
        own, rated = columns[start : start + count], values[start:]
        gather(
            *(own, rated, table, marks, bordered, biased, pattern, count, unknowns, gathered, summed, pulled)
        )
        n = -(-count // ROWS) * ROWS
        for p in range(count, n):
            for j in range(ld):
                gathered[p, j] = 0
        if len(edge):
            _sum_edge(gathered, n, unknowns, w0, not by_row, dots, edge)
        for j in range(unknowns):
            diagonal[j] = shared[j] + (penalty[row] if j < k else bias_penalty[row])
            inverse[j] = c * count * mean_square[j] + diagonal[j]
            x[j] = out[at, j]
        if len(edge):
            inverse[k] += edge[k]
        for j in range(unknowns):
            inverse[j] = real(1) / inverse[j]
        energy = _residual(gathered, n, unknowns, c, both, x, dots, r)
        _add_rest(diagonal, edge, k, real(-1), x, r)
        for j in range(pull.shape[1]):
            r[j] += pull[row, j]
        if len(pulled):
            for j in range(k):
                r[j] += wp * pulled[j]
        for j in range(sums.shape[1]):
            sums[row, j] = summed[j]
        limit = real(tolerance * tolerance) * energy
        failed[at] = not _descend(
            gathered, n, c, diagonal, edge, k, inverse, x, r, d, z, dots, limit, least, most
        )
        for j in range(unknowns):
            out[at, j] = x[j]
