"""The front door: what comes in from Python is checked here, and nowhere else."""

from __future__ import annotations

import os
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.errors import ConfigError, RatingsError, did_you_mean


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


def whole_number(name: str, value: Any, *, least: int = 1) -> int:
    """Return a whole number as Python's int.

    Raises
    ------
    ConfigError
        When it is of another type, or less than `least`.
    """
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or value < least:
        raise ConfigError(f"{name} must be a whole number of at least {least}, but got {reprlib.repr(value)}")
    return int(value)


def one_of(name: str, value: Any, words: Sequence[str]) -> None:
    """Refuse anything but one of some words.

    Raises
    ------
    ConfigError
        Naming the valid words, and the nearest of them.
    """
    if not isinstance(value, str) or value not in words:
        raise ConfigError(
            f"{name} must be one of {', '.join(words)}, but got {reprlib.repr(value)}"
            f"{did_you_mean(str(value), words)}"
        )


def some_of(name: str, values: Any, kinds: tuple[type, ...], example: str) -> list[Any]:
    """Return the elements of a list.

    A text is refused, although its characters could be iterated over: so is a path.

    Raises
    ------
    ConfigError
        When it is no list, or an element is of another type than `kinds`.
    """
    if isinstance(values, str | bytes | os.PathLike | Mapping) or not isinstance(values, Iterable):
        raise ConfigError(f"{name} must be a list such as {example}, but got {reprlib.repr(values)}")
    elements = list(values)
    odd = [one for one in elements if isinstance(one, bool) or not isinstance(one, kinds)]
    if odd:
        raise ConfigError(f"{name} must be a list such as {example}, but holds {reprlib.repr(odd[0])}")
    return elements
