"""The front door: what comes in from Python is checked here, and nowhere else."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.errors import RatingsError


def checked_ratings(matrix: Any, dtype: str) -> sp.csr_matrix:
    """Return ratings as CSR, after a look for what no solver can use.

    Raises
    ------
    RatingsError
        When a rating is not finite in `dtype`, or a pair occurs twice; the text names row and column.
    """
    csr: sp.csr_matrix = sp.csr_matrix(matrix)
    with np.errstate(over="ignore"):
        finite = np.isfinite(csr.data.astype(dtype, copy=False))
    if not finite.all():
        row, column, value = _entry(csr, int(np.flatnonzero(~finite)[0]))
        raise RatingsError(
            f"ratings must be finite in {dtype}, but row {row}, column {column} has {value!r}: mend it"
        )
    if not csr.has_sorted_indices:
        csr = csr.sorted_indices()
    if not csr.has_canonical_format:
        same = np.flatnonzero(np.diff(csr.indices) == 0)
        row_ends = set((csr.indptr[1:-1] - 1).tolist())
        row, column, _ = _entry(csr, next(int(e) for e in same if int(e) not in row_ends))
        raise RatingsError(
            f"each pair must be rated once, but row {row}, column {column} occurs twice: keep one"
        )
    return csr


def _entry(matrix: sp.csr_matrix, entry: int) -> tuple[int, int, float]:
    row = int(np.searchsorted(matrix.indptr, entry, side="right")) - 1
    return row, int(matrix.indices[entry]), float(matrix.data[entry])
