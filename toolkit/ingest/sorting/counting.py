"""Counting sorts: small integers in linear time; equal ones keep their order."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import IntArray


def stable_order(keys: IntArray, n_keys: int) -> IntArray:
    """Return the order that sorts small integers.

    Parameters
    ----------
    keys : array of int32, shape (n,)
        Values ``0 <= key < n_keys``.
    n_keys : int
        Bound of the keys.

    Returns
    -------
    array of int32, shape (n,)
    """
    order: IntArray = _coordinates(keys, np.zeros(len(keys), np.int32), (n_keys, 1)).tocsr().data
    return order


def order_pairs(
    rows: IntArray, columns: IntArray, n_rows: int, n_columns: int
) -> tuple[IntArray | None, IntArray, IntArray]:
    """Sort pairs of small integers.

    Parameters
    ----------
    rows, columns : array of int32, shape (n,)
        The pairs; some may be the same.
    n_rows, n_columns : int
        Bounds of both.

    Returns
    -------
    order : array of int32, shape (n,), or None
        Sorts by row, then by column, and keeps the order of equal pairs; None where the pairs are sorted
        already, as in most files.
    columns : array of int32, shape (n,)
        The columns in this order.
    indptr : array of int, shape (n_rows + 1,)
        Where each row begins in it.
    """
    same = rows[1:] == rows[:-1]
    if ((rows[1:] > rows[:-1]) | (same & (columns[1:] >= columns[:-1]))).all():
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
        return None, columns, indptr
    # Sorted by column, then by row; the second sort keeps the order of columns within a row.
    matrix = _coordinates(rows, columns, (n_rows, n_columns)).tocsc().tocsr()
    return matrix.data, matrix.indices, matrix.indptr


def _coordinates(rows: IntArray, columns: IntArray, shape: tuple[int, int]) -> sp.coo_matrix:
    # SciPy's conversions between sparse formats are counting sorts: compiled, stable, and without the
    # interpreter lock. The numbers that they carry along are positions in the input.
    matrix = sp.coo_matrix((np.arange(len(rows), dtype=np.int32), (rows, columns)), shape=shape)
    # Otherwise SciPy would look, and add up the entries of a pair.
    matrix.has_canonical_format = True
    return matrix
