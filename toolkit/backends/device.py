"""What the operations of a backend run on: an array module, threads, and batches of a certain size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from toolkit.arrays import Array, ArrayModule, DeviceArray, DType
from toolkit.backends.blas import one_blas_thread
from toolkit.backends.side_by_side import side_by_side
from toolkit.config import RunOptions
from toolkit.predictor import Side
from toolkit.processors import usable_processors

_T = TypeVar("_T")
# Rows of a table whose products with themselves are summed at once, at least, and parts at most.
_GRAM_ROWS, _GRAM_PARTS = 1 << 13, 64


class Device:
    """The processors of this machine, with NumPy; a subclass may stand for a GPU.

    Parameters
    ----------
    threads : int, default 0
        CPU threads that work side by side; 0 means all that this process may use.

    Attributes
    ----------
    xp : module
        The array module: ``numpy`` or ``cupy``.
    threads : int
        CPU threads that work side by side.
    batch_entries, batch_rows : int
        Padded ratings, and rows, that one batch of rows holds at most; a single row is never cut.
    batch_bytes : int
        Bytes that the gathered factors and the systems of one batch take at most.
    batch_scores : int
        Users × items whose scores are in memory at once when items are ranked.

    Raises
    ------
    ConfigError
        When `threads` is not a whole number from 0 to 4096.
    """

    def __init__(self, threads: int = 0) -> None:
        threads = RunOptions(threads=threads).threads
        self.xp: ArrayModule = np
        self.threads = threads or usable_processors()
        # A batch should stay in the cache.
        self.batch_entries, self.batch_rows = 1 << 15, 1 << 9
        self.batch_bytes, self.batch_scores = 1 << 26, 1 << 21

    def __repr__(self) -> str:
        return f"{type(self).__name__}(threads={self.threads})"

    def asarray(self, array: npt.ArrayLike, dtype: DType | None = None) -> DeviceArray:
        """Return `array` on the device of this backend, without a copy where none is needed."""
        return self.xp.asarray(array, dtype=dtype)  # type: ignore[no-any-return]

    def to_numpy(self, array: DeviceArray) -> Array:
        """Return `array` in host memory."""
        return np.asarray(array)

    def side(self, side: Side, dtype: DType | None = None) -> Side:
        """Return factors and biases on the device of this backend."""
        return Side(self.asarray(side.factors, dtype), self.asarray(side.bias, dtype))

    def each(self, work: Callable[[_T], None], batches: Sequence[_T], *, blas_threads: bool = False) -> None:
        """Call `work` with every batch, on `threads` threads where there are several batches.

        Parameters
        ----------
        work : callable
            Is called with a batch.
        batches : sequence
            What it is called with.
        blas_threads : bool, default False
            Whether BLAS may use threads of its own beside these.
        """
        with nullcontext() if blas_threads else self.one_blas_thread():
            side_by_side(work, batches, self.threads)

    def multiply(self, table: DeviceArray, matrix: DeviceArray) -> DeviceArray:
        """Return the product of a table and a small matrix, in parts on the threads of this backend.

        Parameters
        ----------
        table : array of float, shape (n, k)
        matrix : array of float, shape (k, m)

        Returns
        -------
        array of float, shape (n, m)
        """
        out: DeviceArray = self.xp.empty((len(table), matrix.shape[1]), table.dtype)

        def multiply(begin: int) -> None:
            part = slice(begin, begin + self.batch_rows)
            out[part] = table[part] @ matrix

        self.each(multiply, range(0, len(table), self.batch_rows))
        return out

    def gram(self, table: DeviceArray, dtype: DType | None = None) -> DeviceArray:
        """Return tableᵀ table, summed in parts on the threads of this backend.

        The parts depend on the table alone, so that any number of threads gives the same bits.

        Parameters
        ----------
        table : array of float, shape (n, k)
        dtype : dtype, optional
            Precision of the sums; by default that of the table.

        Returns
        -------
        array of float, shape (k, k)
        """
        size = max(_GRAM_ROWS, -(-len(table) // _GRAM_PARTS))
        parts: list[DeviceArray] = [table[begin : begin + size] for begin in range(0, len(table), size)]
        grams: list[DeviceArray] = [self.xp.zeros((table.shape[1],) * 2, dtype or table.dtype)] * len(parts)

        def multiply(at: int) -> None:
            part = parts[at] if dtype is None else parts[at].astype(dtype, copy=False)
            grams[at] = part.T @ part

        self.each(multiply, range(len(parts)))
        total = grams[0] if grams else self.xp.zeros((table.shape[1],) * 2, dtype or table.dtype)
        for gram in grams[1:]:
            total += gram
        return total

    def one_blas_thread(self) -> AbstractContextManager[None]:
        """Return a context in which BLAS does not start threads of its own."""
        return one_blas_thread()
