"""The check of sparse ratings: no compiled loop reads a matrix before its structure is known to be whole."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.arrays import Array, IntArray, Ratings
from toolkit.errors import ConfigError, RatingsError

_SPARSE = "scipy.sparse.coo_matrix((ratings, (rows, columns)), shape=(n_users, n_items))"


def checked_ratings(matrix: object, dtype: str = "float64", *, name: str = "ratings") -> Ratings:
    """Return a sparse matrix of ratings as CSR, with the columns of each row in ascending order.

    A damaged matrix is refused before any compiled loop reads it. The matrix that came in does not change.

    Parameters
    ----------
    matrix : scipy.sparse matrix or array of any format, shape (n_rows, n_columns)
        Stored entries are the observed ratings; a stored zero is a rating of zero.
    dtype : {"float32", "float64"}
        The precision that the ratings will be used in.
    name : str
        What the caller calls the matrix, for the text of errors.

    Returns
    -------
    scipy.sparse.csr_matrix, shape (n_rows, n_columns)
        Of the type of the values that came in. It shares memory with `matrix` where the format allows it.

    Raises
    ------
    RatingsError
        When `matrix` is not a sparse matrix of real numbers, its structure is damaged, a rating is not finite
        in `dtype`, or a pair is stored twice. The text names row and column.
    """
    import scipy.sparse as sp

    if not sp.issparse(matrix):
        raise RatingsError(_not_sparse(matrix, name))
    csr = _as_csr(matrix, name)
    with np.errstate(over="ignore"):
        finite = np.isfinite(csr.data.astype(dtype, copy=False))
    if not finite.all():
        entry = int(np.argmin(finite))
        row, column = _position(csr, entry)
        raise RatingsError(
            f"{name} must be finite in {dtype}, but row {row}, column {column} has "
            f"{float(csr.data[entry])!r}: mend it"
        )
    if not csr.has_sorted_indices:
        csr = csr.sorted_indices()
    if not csr.has_canonical_format:
        same = np.diff(csr.indices) == 0
        last = csr.indptr[1:-1] - 1
        # The end of one row may equal the beginning of the next.
        same[last[(last >= 0) & (last < len(same))]] = False
        raise _stored_twice(*_position(csr, int(np.argmax(same))), name)
    return csr


def require_columns(ratings: Ratings, n_columns: int, meaning: str) -> None:
    """Refuse ratings with another number of columns than the model needs.

    Parameters
    ----------
    ratings : scipy.sparse CSR, shape (n_rows, n)
    n_columns : int
        How many columns there must be.
    meaning : {"item", "user"}
        What a column stands for.

    Raises
    ------
    ConfigError
        When the number of columns differs.
    """
    if ratings.shape[1] != n_columns:
        raise ConfigError(
            f"ratings must have {n_columns} columns, one per {meaning}, but have {ratings.shape[1]}"
        )


def structure_problem(
    indptr: IntArray, indices: IntArray, data: Array, n_rows: int, n_columns: int
) -> str | None:
    """Return what is wrong with the three arrays of a CSR matrix, or None.

    Parameters
    ----------
    indptr : array, shape (n_rows + 1,)
    indices, data : array, shape (nnz,) or longer
    n_rows, n_columns : int
        The shape of the matrix.
    """
    if {array.dtype.kind for array in (indptr, indices)} - {"i", "u"}:
        return f"must have whole numbers as positions, but has {indptr.dtype} and {indices.dtype}"
    if indptr.shape != (n_rows + 1,) or indices.ndim != 1 or indices.shape != data.shape:
        return (
            f"must have {n_rows + 1} row limits and as many columns as values, but has {indptr.shape}, "
            f"{indices.shape} and {data.shape}"
        )
    if indptr[0] != 0 or (indptr[1:] < indptr[:-1]).any() or indptr[-1] > len(indices):
        return f"must have row limits that rise from 0 to at most {len(indices)}"
    columns = indices[: indptr[-1]]
    if len(columns) and (columns.min() < 0 or columns.max() >= n_columns):
        return f"must have columns from 0 to {n_columns - 1}, but has {columns.min()} to {columns.max()}"
    return None


def _not_sparse(matrix: object, name: str) -> str:
    shape = getattr(matrix, "shape", None)
    form = f"{type(matrix).__name__}{'' if shape is None else f' of the shape {tuple(shape)}'}"
    library = type(matrix).__module__.partition(".")[0]
    if library == "dask":
        way = "WALS.fit takes what its compute() returns, where that fits in memory"
    elif library in ("pandas", "polars", "pyarrow"):
        way = "number its users and items from 0 (pandas.factorize), and make one with " + _SPARSE
    else:
        way = (
            f"make one with {_SPARSE}; scipy.sparse.csr_matrix(array) does it where each 0 means not rated, "
            "and not a rating of 0"
        )
    return f"{name} must be a scipy.sparse matrix, but got {form}: {way}"


# Any: SciPy's classes of sparse matrices have no common type that says which arrays they hold.
def _as_csr(matrix: Any, name: str) -> Ratings:
    """Return any format as CSR, with each array checked before compiled loops read it; duplicates stay."""
    shape, kind = matrix.shape, matrix.format
    if len(shape) != 2:
        raise RatingsError(f"{name} must have rows and columns, but have the shape {shape}: reshape them")
    if matrix.dtype.kind not in "iuf":
        raise RatingsError(
            f"{name} must be real numbers, but are of the type {matrix.dtype}: convert them, as with "
            ".astype(float)"
        )
    if kind == "bsr" and matrix.blocksize != (1, 1):
        raise RatingsError(
            f"{name} in BSR format store zeros in their blocks of {matrix.blocksize}, which are not ratings: "
            "give the format they were made from"
        )
    if kind == "lil":
        if any(len(c) != len(v) for c, v in zip(matrix.rows, matrix.data, strict=True)):
            raise RatingsError(f"{name} are damaged: LIL must have a value for each column; make them again")
        matrix, kind = matrix.tocsr(), "csr"
    if kind in ("csr", "csc", "bsr"):
        return _from_compressed(matrix, kind, name)
    return _from_coordinates(matrix.tocoo(copy=False), name)


def _from_compressed(matrix: Any, kind: str, name: str) -> Ratings:
    import scipy.sparse as sp

    data = matrix.data.reshape(-1)
    sizes = matrix.shape[::-1] if kind == "csc" else matrix.shape
    if problem := structure_problem(matrix.indptr, matrix.indices, data, *sizes):
        raise RatingsError(f"{name} are damaged: {kind.upper()} {problem}; make them again")
    made = sp.csc_matrix if kind == "csc" else sp.csr_matrix
    # A new matrix: the flags of the one that came in may not fit its arrays any more.
    return made((data, matrix.indices, matrix.indptr), shape=matrix.shape, copy=False).tocsr()


def _from_coordinates(coo: Any, name: str) -> Ratings:
    import scipy.sparse as sp

    if not len(coo.row) == len(coo.col) == len(coo.data):
        raise RatingsError(f"{name} are damaged: COO must have a value for each pair; make them again")
    for axis, positions, length in zip(("rows", "columns"), (coo.row, coo.col), coo.shape, strict=True):
        if len(positions) and (positions.min() < 0 or positions.max() >= length):
            raise RatingsError(
                f"{name} are damaged: {axis} must be from 0 to {length - 1}, but are {positions.min()} to "
                f"{positions.max()}; make them again"
            )
    csr = sp.coo_matrix((coo.data, (coo.row, coo.col)), shape=coo.shape).tocsr()
    if csr.nnz < len(coo.data):
        order = np.lexsort((coo.col, coo.row))
        row, column = coo.row[order], coo.col[order]
        at = int(np.argmax((np.diff(row) == 0) & (np.diff(column) == 0)))
        raise _stored_twice(int(row[at]), int(column[at]), name)
    return csr


def _position(csr: Ratings, entry: int) -> tuple[int, int]:
    return int(np.searchsorted(csr.indptr, entry, side="right")) - 1, int(csr.indices[entry])


def _stored_twice(row: int, column: int, name: str) -> RatingsError:
    return RatingsError(
        f"each pair of {name} must be rated once, but row {row}, column {column} occurs twice: keep one"
    )
