"""An array module, and the operations on ratings that the solver and the ranking ask of it.

`Backend` is NumPy and the reference; each subclass overrides what it does better. No other room asks which
backend it has.
"""

from __future__ import annotations

from toolkit.backends.base import Backend, BackendName
from toolkit.backends.best import Best, at_most, largest
from toolkit.backends.blas import keep_one_blas_thread
from toolkit.backends.cuda import CudaBackend
from toolkit.backends.cupy import CupyBackend, cupy_problem
from toolkit.backends.equations import EquationBuilder, Equations
from toolkit.backends.gpu_share import DeviceMemoryError, DeviceShare, device_share, is_out_of_memory
from toolkit.backends.half_step import HalfStep, SharedStep, unsolved
from toolkit.backends.kernel_cache import keep_kernels_locally
from toolkit.backends.numba import NumbaBackend
from toolkit.backends.rows import Batch, RatingRows, RowCounts

__all__ = [
    "Backend",
    "BackendName",
    "Batch",
    "Best",
    "CudaBackend",
    "CupyBackend",
    "DeviceMemoryError",
    "DeviceShare",
    "EquationBuilder",
    "Equations",
    "HalfStep",
    "NumbaBackend",
    "RatingRows",
    "RowCounts",
    "SharedStep",
    "at_most",
    "cupy_problem",
    "device_share",
    "is_out_of_memory",
    "keep_kernels_locally",
    "keep_one_blas_thread",
    "largest",
    "unsolved",
]
