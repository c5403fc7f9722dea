"""The array backend: NumPy on threads, with or without compiled loops, or CuPy on a GPU, behind one object.

The only place that imports CuPy. *Installed* (the package is there) and *usable* (a device answers) are told
apart, because CuPy imports well on a machine without a GPU and fails at the first allocation.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from toolkit.errors import BackendError

if TYPE_CHECKING:
    from toolkit.backends.cuda.space import KernelSpace

BackendName = Literal["auto", "numpy", "numba", "cupy", "cuda"]
GPU_BACKENDS = ("cupy", "cuda")
# Batches that fill a card: padded ratings, bytes, and scores of a ranking.
_ENTRIES_ON_GPU, _BATCH_ON_GPU, _SCORES_ON_GPU = 1 << 22, 1 << 31, 1 << 26


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


def numba_problem() -> str | None:
    """Return why Numba cannot compile here, or None when it can."""
    try:
        importlib.import_module("toolkit.backends.numba.rows")
    except Exception as error:  # noqa: BLE001 - without its LLVM, or beside a NumPy that is too new, it raises anything
        return f"numba is not usable: {error}; pip install numba"
    return None


def usable_processors() -> int:
    """Return how many processors this process may use."""
    # Linux alone says which processors a process is confined to.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class Backend:
    """An array module `xp` and what the solver needs beside it.

    Parameters
    ----------
    name : {"numpy", "numba", "cupy", "cuda"}
        NumPy alone, NumPy with loops compiled by Numba, CuPy, or CuPy with kernels of our own. Use `require`
        to fail when it is not usable, `prefer` to fall back to NumPy.
    threads : int, default 0
        CPU threads that solve rows side by side (not on a GPU); 0 means all that this process may use.

    Attributes
    ----------
    xp : module
        ``numpy`` or ``cupy``.
    compiled : bool
        Whether rows are solved by compiled loops.
    on_gpu : bool
        Whether arrays are on a GPU.
    kernels : KernelSpace or None
        Where kernels of our own run, and their scratch memory; None where rows are solved without.
    batch_entries : int
        Padded ratings that one batch of rows holds at most (but one row is never cut).
    batch_rows : int
        Rows that one batch holds at most.
    batch_bytes : int
        Bytes that one batch's gathered factors and systems take at most (but one row is never cut).
    batch_scores : int
        Users × items whose scores are in memory at once when items are ranked.
    """

    def __init__(self, name: Literal["numpy", "numba", "cupy", "cuda"], threads: int = 0) -> None:
        self.name = name
        self.compiled = name == "numba"
        self.on_gpu = on_gpu = name in GPU_BACKENDS
        self.xp: Any = importlib.import_module("cupy" if on_gpu else "numpy")
        self.threads = 1 if on_gpu else threads or usable_processors()
        # On the CPU a batch should stay in the cache; on a GPU it should fill the card.
        self.batch_entries, self.batch_rows = (_ENTRIES_ON_GPU, 1 << 14) if on_gpu else (1 << 15, 1 << 9)
        self.batch_bytes = _BATCH_ON_GPU if on_gpu else 1 << 26
        self.batch_scores = _SCORES_ON_GPU if on_gpu else 1 << 21
        self.kernels: KernelSpace | None = None
        if name == "cuda":
            from toolkit.backends.cuda.space import KernelSpace

            self.kernels = KernelSpace()

    @classmethod
    def require(cls, name: BackendName, threads: int = 0) -> Backend:
        """Return the named backend, or raise `BackendError` with the reason it cannot be used."""
        if name in _PROBLEMS and (problem := _PROBLEMS[name]()):
            raise BackendError(problem)
        return cls.prefer("cupy", threads) if name == "auto" else cls(name, threads)

    @classmethod
    def prefer(cls, name: BackendName, threads: int = 0) -> Backend:
        """Return the named backend where it is usable, and otherwise the next of CuPy, Numba and NumPy."""
        choices: dict[str, tuple[Literal["numba", "cupy", "cuda"], ...]] = {
            "numpy": (),
            "numba": ("numba",),
            "cuda": ("cuda", "numba"),
        }
        for choice in choices.get(name, ("cupy", "numba")):
            if _PROBLEMS[choice]() is None:
                return cls(choice, threads)
        return cls("numpy", threads)

    def fit_in(self, limit: int, spare: int | None = None) -> None:
        """Keep batches on a GPU small enough for the memory that there is for them.

        Parameters
        ----------
        limit : int
            Bytes that the process may take of the device.
        spare : int, optional
            How many of them nothing else takes; by default half.
        """
        # While a batch is built, CuPy copies the gathered factors to transpose them, and a batch that must be
        # built in double precision is there in both: up to four times what is counted.
        spare = limit // 2 if spare is None else spare
        self.batch_bytes = max(1 << 20, min(_BATCH_ON_GPU, spare // 4))
        # Some 40 bytes of numbers and places for each padded rating, which then take a twentieth at most, and
        # some 24 for each score.
        self.batch_entries = max(1 << 12, min(_ENTRIES_ON_GPU, limit // 1024))
        self.batch_scores = max(1 << 12, min(_SCORES_ON_GPU, spare // 64))

    def __repr__(self) -> str:
        return f"Backend({self.name!r}, threads={self.threads})"

    def asarray(self, array: Any, dtype: Any = None) -> Any:
        """Return `array` on this backend's device, without a copy where none is needed."""
        return self.xp.asarray(array, dtype=dtype)

    def to_numpy(self, array: Any) -> np.ndarray[Any, Any]:
        """Return `array` in host memory."""
        return self.xp.asnumpy(array) if self.on_gpu else np.asarray(array)

    def solve_spd(self, matrices: Any, vectors: Any) -> Any:
        """Solve a stack of symmetric positive definite systems.

        Parameters
        ----------
        matrices : array, shape (n, m, m)
        vectors : array, shape (n, m)

        Returns
        -------
        array, shape (n, m)
            Rows of a singular system are not finite.
        """
        try:
            if self.on_gpu:
                # linalg.solve of CuPy is a batched LU and only up to 256 unknowns; posv is a batched
                # Cholesky. Unless told to raise, it returns finite garbage for a matrix that is not positive
                # definite.
                cupyx = importlib.import_module("cupyx")
                with cupyx.errstate(linalg="raise"):
                    return importlib.import_module("cupyx.lapack").posv(matrices, vectors)
            return np.linalg.solve(matrices, vectors[..., None])[..., 0]
        except np.linalg.LinAlgError:
            if len(matrices) == 1:
                return self.xp.full_like(vectors, np.nan)
        # One bad row fails the whole stack: find it by halves.
        half = len(matrices) // 2
        parts = (slice(None, half), slice(half, None))
        return self.xp.concatenate([self.solve_spd(matrices[part], vectors[part]) for part in parts])

    def each(self, work: Callable[[Any], None], batches: Sequence[Any], *, blas: bool | None = None) -> None:
        """Call `work` on every batch, on `threads` threads where there are several.

        Parameters
        ----------
        work : callable
            Called with a batch.
        batches : sequence
            What to call it with.
        blas : bool, optional
            Whether it calls BLAS, which is then kept to one thread; by default where loops are not compiled.
        """
        # To look for BLAS takes a millisecond.
        calls_blas = not self.compiled if blas is None else blas
        with self._one_blas_thread() if calls_blas else contextlib.nullcontext():
            if self.threads == 1 or len(batches) == 1:
                for batch in batches:
                    work(batch)
                return
            with ThreadPoolExecutor(self.threads) as pool:
                for _ in pool.map(work, batches):
                    pass

    @contextlib.contextmanager
    def _one_blas_thread(self) -> Iterator[None]:
        """Keep BLAS from starting threads of its own under ours; small matrices gain nothing from them."""
        if self.on_gpu:
            yield
            return
        try:
            threadpoolctl = importlib.import_module("threadpoolctl")
        except ImportError:
            yield
            return
        with threadpoolctl.threadpool_limits(limits=1, user_api="blas"):
            yield


_PROBLEMS: dict[str, Callable[[], str | None]] = {
    "cupy": cupy_problem,
    "cuda": cupy_problem,
    "numba": numba_problem,
}
