"""Type names that every room uses: arrays, sparse ratings, and the two sides of the ratings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    # A command that trains nothing, such as `ingest`, does not wait for SciPy.
    import scipy.sparse as sp

Array: TypeAlias = npt.NDArray[Any]
"""An array in host memory, of any type."""

FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
"""An array of float32 or float64 in host memory."""

IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
"""An array of whole numbers in host memory."""

ArrayModule: TypeAlias = Any
"""NumPy or CuPy: a module, whose functions a checker cannot know without knowing which of the two it is."""

DType: TypeAlias = npt.DTypeLike
"""What NumPy takes as the type of the elements of an array."""

DeviceArray: TypeAlias = npt.NDArray[Any]
"""An array of a backend's `xp`: NumPy's or CuPy's, which has no annotations and answers to the same calls."""

Ratings: TypeAlias = "sp.csr_matrix"
"""Sparse ratings in host memory, CSR: stored entries are the observed ratings, a stored zero is a rating."""

AnySparse: TypeAlias = (
    "sp.coo_matrix | sp.coo_array | sp.csr_matrix | sp.csr_array | sp.csc_matrix | sp.csc_array"
)
"""Sparse ratings by row and column number, in whichever of the common formats."""

Table: TypeAlias = Any
"""A table of ratings in memory: a pandas DataFrame, or what offers Arrow's C stream, such as tables of Polars
and Arrow. No common type says so: pandas' own annotations leave the method out."""

IdLike: TypeAlias = npt.ArrayLike
"""One id or several: whole numbers, or text."""

SideName: TypeAlias = Literal["user", "item"]
"""A side of the ratings: the rows are users, or items."""
