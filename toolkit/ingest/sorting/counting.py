"""Sorts of small integers in which equal ones keep their order.

NumPy's `sort` takes many numbers at a time, and its `argsort` takes one. So a key and its position are
sorted as one number.
"""

from __future__ import annotations

import numpy as np

from toolkit.arrays import IntArray


def stable_order(keys: IntArray, n_keys: int) -> IntArray:
    """Return the order that sorts small integers.

    Parameters
    ----------
    keys : array of int, shape (n,)
        Values ``0 <= key < n_keys``.
    n_keys : int
        Bound of the keys.

    Returns
    -------
    array of int64, shape (n,)
    """
    shift = max(len(keys) - 1, 0).bit_length()
    bits = max(n_keys - 1, 0).bit_length() + shift
    if bits > 64:
        return np.argsort(keys, kind="stable")
    dtype = np.dtype(np.uint32 if bits <= 32 else np.uint64)
    packed = keys.astype(dtype)
    packed <<= dtype.type(shift)
    packed |= np.arange(len(keys), dtype=dtype)
    packed.sort()
    packed &= dtype.type((1 << shift) - 1)
    # Indices of another type would be converted each time.
    return packed.view(np.int64) if dtype.itemsize == 8 else packed.astype(np.int64)


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
    order : array of int64, shape (n,), or None
        Sorts by row, then by column, and keeps the order of equal pairs; None where the pairs are sorted
        already, as in most files.
    columns : array of int32, shape (n,)
        The columns in this order.
    indptr : array of int, shape (n_rows + 1,)
        Where each row begins in it.
    """
    indptr = np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=n_rows))])
    same = rows[1:] == rows[:-1]
    if ((rows[1:] > rows[:-1]) | (same & (columns[1:] >= columns[:-1]))).all():
        return None, columns, indptr
    pairs = rows.astype(np.uint64)
    pairs *= np.uint64(n_columns)
    pairs += columns.astype(np.uint64)
    order = stable_order(pairs, n_rows * n_columns)
    return order, columns[order], indptr
