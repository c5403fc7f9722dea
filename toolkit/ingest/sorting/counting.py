"""Counting sorts: small integers in linear time, equal ones in the order they come."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

_Array = np.ndarray[Any, Any]


def stable_order(keys: _Array, n_keys: int) -> _Array:
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
    order: _Array = _coordinates(keys, np.zeros(len(keys), np.int32), (n_keys, 1)).tocsr().data
    return order


def order_pairs(
    rows: _Array, columns: _Array, n_rows: int, n_columns: int
) -> tuple[_Array | None, _Array, _Array]:
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
        By row, then by column, then as they came; None where that is how they came, as in most files.
    columns : array of int32, shape (n,)
        The columns in this order.
    indptr : array of int, shape (n_rows + 1,)
        Where each row begins in it.
    """
    same = rows[1:] == rows[:-1]
    if ((rows[1:] > rows[:-1]) | (same & (columns[1:] >= columns[:-1]))).all():
        indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
        return None, columns, indptr
    # By column, and then by row, which keeps the order of columns within a row.
    matrix = _coordinates(rows, columns, (n_rows, n_columns)).tocsc().tocsr()
    return matrix.data, matrix.indices, matrix.indptr


def _coordinates(rows: _Array, columns: _Array, shape: tuple[int, int]) -> sp.coo_matrix:
    # SciPy's conversions between sparse formats are counting sorts: compiled, stable, and without the
    # interpreter lock. The numbers they carry along are places in the input.
    matrix = sp.coo_matrix((np.arange(len(rows), dtype=np.int32), (rows, columns)), shape=shape)
    # Not for SciPy to find out: it would add up the entries of a pair.
    matrix.has_canonical_format = True
    return matrix
