"""A trial's share of a GPU: a limit of its memory that the process keeps by itself.

A scheduler counts fractions of a GPU and does no more. Processes on one card take memory from each other
unless each limits itself. CuPy takes device memory through a pool, which can be limited. A reserve is for
memory outside the pool: the context, the handles of cuBLAS and cuSOLVER, compiled kernels.
"""

from __future__ import annotations

import math
import os

from toolkit.backends.base import Backend
from toolkit.backends.cupy import CupyBackend
from toolkit.backends.memory_estimate import device_bytes
from toolkit.config import WALSConfig
from toolkit.errors import BackendError, WalslabError
from toolkit.files import size_text

# A context takes 0.2 to 0.4 GB, and the handles some 0.1 GB, in every process.
RESERVE = 512 << 20
_LIMIT = "CUPY_GPU_MEMORY_LIMIT"
# CuPy's pool, the driver, and cuBLAS or cuSOLVER report with these words that memory runs out.
_OUT_OF_MEMORY = ("OutOfMemoryError", "cudaErrorMemoryAllocation", "STATUS_ALLOC_FAILED")


class DeviceMemoryError(WalslabError, MemoryError):
    """A training needs more device memory than its process may take."""

    exit_code = 1


def device_share(backend: Backend, gpu: float) -> DeviceShare | None:
    """Limit this process to its share of the GPU, and return the share; None if the backend has no GPU.

    Parameters
    ----------
    backend : Backend
        The backend; its batches are made to fit the share.
    gpu : float
        The share of one GPU, from 0 to 1; 0 means all of a GPU that nobody shares out.
    """
    return DeviceShare(backend, gpu) if isinstance(backend, CupyBackend) else None


class DeviceShare:
    """The part of its GPU's memory that this process may take, and has taken.

    Parameters
    ----------
    backend : CupyBackend
        The backend. The memory pool of its process is limited to the share, and its batches are made to fit.
    gpu : float
        The share of one GPU. A share above 1 counts as 1, because CuPy computes on one GPU; 0 means all of a
        GPU that nobody shares out.

    Attributes
    ----------
    device : str
        Name of the GPU, with the share if it is a part.
    limit : int
        Bytes that the pool may hold: the share of the card's memory less `RESERVE`, or the value of
        ``CUPY_GPU_MEMORY_LIMIT``.
    peak_bytes : int
        The most bytes that the pool has held at any call of `measure`.

    Raises
    ------
    BackendError
        When the share is no larger than the reserve.
    """

    def __init__(self, backend: CupyBackend, gpu: float) -> None:
        self._backend = backend
        self._runtime = backend.xp.cuda.runtime
        self._pool = backend.xp.get_default_memory_pool()
        self.peak_bytes = 0
        name = self._runtime.getDeviceProperties(backend.xp.cuda.Device().id)["name"].decode()
        self.device = f"{name}, {gpu:g} of it" if 0 < gpu < 1 else str(name)
        # If the card is cut into slices (MIG), this is the memory of the slice.
        total = int(self._runtime.memGetInfo()[1])
        share = min(gpu, 1.0) or 1.0
        if os.environ.get(_LIMIT):
            # The pool reads this variable by itself; 0 is no limit.
            self.limit = int(self._pool.get_limit()) or total
            self._source = f"by {_LIMIT}"
        else:
            self.limit = int(share * total) - RESERVE
            if self.limit <= 0:
                least = math.floor(100 * RESERVE / total + 1) / 100
                raise BackendError(
                    f"resources.gpu must leave room beside the {size_text(RESERVE)} that CUDA itself takes "
                    f"in each process, but {gpu:g} of this GPU's {size_text(total)} is "
                    f"{size_text(int(share * total))}: set it to {least:g} or more"
                )
            self._pool.set_limit(size=self.limit)
            self._source = f"resources.gpu {gpu:g} of {size_text(total)}, less {size_text(RESERVE)} for CUDA"
        backend.fit_in(self.limit)

    def __str__(self) -> str:
        return f"{size_text(self.limit)} ({self._source})"

    def require(self, config: WALSConfig, n_users: int, n_items: int, *, patience: int = 0) -> None:
        """Make sure that a training may fit beside what the device holds, and fit its batches into the rest.

        Raises
        ------
        DeviceMemoryError
            When it cannot fit. `device_bytes` is a lower bound: a training that fits is never refused.
        """
        # The scratch memory of kernels serves this training, too.
        held = int(self._pool.used_bytes()) - self._backend.scratch_bytes
        need, room = device_bytes(config, n_users, n_items, patience=patience), self.limit - held
        if need > room:
            raise DeviceMemoryError(
                f"a training of {config.factors} factors needs at least {size_text(need)} of GPU memory, but "
                f"{size_text(max(room, 0))} are left of {self} beside the ratings: search fewer factors "
                "(space.factors), or give each trial a larger share (resources.gpu), so that fewer run at "
                "once (concurrency)"
            )
        self._backend.fit_in(self.limit, room - need)

    def measure(self) -> int:
        """Return the most bytes that the pool has held so far.

        The pool keeps freed memory until `release`: what it holds now is the most it has held since then.
        """
        self.peak_bytes = max(self.peak_bytes, int(self._pool.total_bytes()))
        return self.peak_bytes

    def release(self) -> None:
        """Give the freed memory that the pool keeps back to the card."""
        self.measure()
        self._pool.free_all_blocks()

    def require_alive(self) -> None:
        """Make sure that the device still computes for this process.

        When a kernel has touched memory that is not its own, CUDA answers all later calls with that error.

        Raises
        ------
        BackendError
            When the device does not answer.
        """
        try:
            self._runtime.deviceSynchronize()
        except Exception as error:
            raise BackendError(
                f"the GPU computes nothing more for this process: {error}; start it again, and look into "
                "dmesg and nvidia-smi where that does not help"
            ) from error


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an error reports that memory of the device or of the host ran out."""
    text = f"{type(error).__name__}: {error}"
    return isinstance(error, MemoryError) or any(sign in text for sign in _OUT_OF_MEMORY)
