"""The training ratings of a model, mapped from files: a model knows them, and no process has to hold them."""

from __future__ import annotations

import contextlib
import tempfile
import weakref
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import Array, Ratings
from toolkit.files import append_array, atomic
from toolkit.sharded.parts import OpenSource

_INT32_MAX = 2**31 - 1
_ARRAYS = ("rated_indptr", "rated_items", "ratings")
# Folders whose files `map_ratings` made in this process, and nobody has changed since.
_made: set[Path] = set()


def map_ratings(source: OpenSource, beside: Path | None = None) -> Ratings:
    """Return the training ratings of a dataset as a matrix whose arrays are mapped from files.

    Parameters
    ----------
    source : OpenSource
        The dataset.
    beside : Path, optional
        The files are in a hidden folder beside this path, or else where temporary files go. They vanish with
        the matrix; those of a process that was killed vanish when the next one comes.

    Returns
    -------
    scipy.sparse CSR, shape (n_users, n_items)
    """
    data = source.dataset
    nnz, shape = data.counts["train"], (data.n_users, data.n_items)
    index = np.dtype(np.int32 if max(nnz, *shape) <= _INT32_MAX else np.int64)
    dtypes = (index, index, np.dtype(source.dtype))
    sizes = (shape[0] + 1, nnz, nnz)
    with contextlib.ExitStack() as stack:
        place = stack.enter_context(atomic.scratch(beside or Path(tempfile.gettempdir(), "walslab-ratings")))
        paths = [place / f"{name}.npy" for name in _ARRAYS]
        with contextlib.ExitStack() as opened:
            files = [opened.enter_context(path.open("wb")) for path in paths]
            for file, dtype, size in zip(files, dtypes, sizes, strict=True):
                head = {"descr": dtype.str, "fortran_order": False, "shape": (size,)}
                np.lib.format.write_array_header_1_0(file, head)
            append_array(files[0], np.zeros(1, index))
            for part in source.parts("train/rows"):
                indptr, items, values = source.read(part)
                append_array(files[0], indptr[1:].astype(index) + index.type(part.begin))
                append_array(files[1], items.astype(index, copy=False))
                append_array(files[2], values.astype(source.dtype, copy=False))
        indptr, items, values = (np.load(path, mmap_mode="r") for path in paths)
        rated = sp.csr_matrix((values, items, indptr), shape=shape, copy=False)
        _made.add(place)
        weakref.finalize(rated, _made.discard, place)
        weakref.finalize(rated, stack.pop_all().close)
        return rated


def mapped_file(array: Array) -> Path | None:
    """Return the file that holds an array as `map_ratings` wrote it, or None.

    To copy the file takes no memory for its pages.
    """
    mapped: object = array
    while isinstance(mapped, np.ndarray) and not isinstance(mapped, np.memmap):
        mapped = mapped.base
    if not isinstance(mapped, np.memmap) or mapped.filename is None:
        return None
    path = Path(mapped.filename)
    whole = (mapped.shape, mapped.dtype) == (array.shape, array.dtype) and array.flags.c_contiguous
    return path if whole and path.parent in _made and path.is_file() else None
