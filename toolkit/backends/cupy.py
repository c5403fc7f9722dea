"""The backend of CuPy: the reference operations on the arrays of a GPU.

This room alone imports CuPy. It tells apart *installed* (the package is there) and *usable* (a device
answers), because CuPy imports well on a machine without a GPU, and fails at the first allocation.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import ClassVar

import numpy as np

from toolkit.arrays import Array, DeviceArray
from toolkit.backends.base import Backend

# Batches that fill a card: padded ratings, bytes, and scores of a ranking.
_ENTRIES, _BATCH_BYTES, _SCORES = 1 << 22, 1 << 31, 1 << 26


def cupy_problem() -> str | None:
    """Return why CuPy cannot be used here, or None when a device answers."""
    if importlib.util.find_spec("cupy") is None:
        return "cupy is not installed: pip install 'walslab[gpu]'"
    try:
        cupy = importlib.import_module("cupy")
        if not cupy.cuda.is_available():
            return (
                "cupy is installed, but no CUDA device is visible: check nvidia-smi and CUDA_VISIBLE_DEVICES"
            )
        cupy.zeros(1)
    except Exception as error:  # noqa: BLE001 - a broken driver raises anything; all of it means "not usable"
        return f"cupy is installed, but its device is not usable: {error}"
    return None


class CupyBackend(Backend):
    """CuPy on the current GPU.

    Parameters
    ----------
    threads : int, default 0
        Without effect: the GPU solves rows side by side, and threads would only queue for it.
    """

    name: ClassVar[str] = "cupy"

    def __init__(self, threads: int = 0) -> None:
        super().__init__(threads)
        self.xp = importlib.import_module("cupy")
        self.threads = 1
        self.batch_entries, self.batch_rows = _ENTRIES, 1 << 14
        self.batch_bytes, self.batch_scores = _BATCH_BYTES, _SCORES

    @classmethod
    def problem(cls) -> str | None:
        """Return why CuPy cannot be used here, or None when a device answers."""
        return cupy_problem()

    def to_numpy(self, array: DeviceArray) -> Array:
        """Return `array` in host memory."""
        return self.xp.asnumpy(array)  # type: ignore[no-any-return]

    def with_threads(self, threads: int) -> Backend:
        """Return this backend: a GPU has no threads to choose."""
        return self

    def fit_in(self, limit: int, spare: int | None = None) -> None:
        """Keep batches small enough for the memory that there is for them.

        Parameters
        ----------
        limit : int
            Bytes of the device that the process may take.
        spare : int, optional
            How many of them nothing else takes; by default half.
        """
        # While a batch is built, CuPy copies the gathered factors to transpose them, and a batch that must be
        # built in double precision is there in both: up to four times what is counted.
        spare = limit // 2 if spare is None else spare
        self.batch_bytes = max(1 << 20, min(_BATCH_BYTES, spare // 4))
        # A padded rating takes some 40 bytes of numbers and places, so a twentieth at most; a score some 24.
        self.batch_entries = max(1 << 12, min(_ENTRIES, limit // 1024))
        self.batch_scores = max(1 << 12, min(_SCORES, spare // 64))

    def normals(self, key: Sequence[int], shape: tuple[int, ...], dtype: str) -> DeviceArray:
        """Return independent standard normal numbers, drawn on the device; see `Backend.normals`."""
        random = self.xp.random
        seed = int(np.random.SeedSequence([*key]).generate_state(1, np.uint64)[0])
        return random.Generator(random.Philox4x3210(seed)).standard_normal(shape, dtype)  # type: ignore[no-any-return]

    def _solve_stack(self, matrices: DeviceArray, vectors: DeviceArray) -> DeviceArray:
        # linalg.solve of CuPy is a batched LU and only up to 256 unknowns; posv is a batched Cholesky. Unless
        # told to raise, it returns finite garbage for a matrix that is not positive definite.
        cupyx = importlib.import_module("cupyx")
        with cupyx.errstate(linalg="raise"):
            return importlib.import_module("cupyx.lapack").posv(matrices, vectors)  # type: ignore[no-any-return]

    def one_blas_thread(self) -> AbstractContextManager[None]:
        """Return a context that changes nothing: the BLAS of the GPU has no threads."""
        return nullcontext()
