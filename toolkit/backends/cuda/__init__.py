"""The backend of CUDA kernels of our own: tiles of a rank, launches of the rows, and the kernels' sources.

It is taken only where it is asked for by name, until it has been measured on a GPU.
"""

from __future__ import annotations

from toolkit.backends.cuda.backend import CudaBackend

__all__ = ["CudaBackend"]
