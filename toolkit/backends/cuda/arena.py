"""Scratch memory in one piece, which is sized before the first launch and then only used."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from toolkit.arrays import ArrayModule, DeviceArray, DType

# What CUDA aligns allocations to.
_ALIGNED = 256

Layout = Mapping[str, tuple[tuple[int, ...], DType]]


def layout_bytes(layout: Layout) -> int:
    """Return the bytes that the arrays of a layout take; each is given by its shape and type."""
    return sum(_padded(shape, dtype) for shape, dtype in layout.values())


class Arena:
    """One allocation, which is kept from trial to trial. Only a larger one replaces it.

    Parameters
    ----------
    xp : module
        ``cupy``, or ``numpy`` in tests.

    Attributes
    ----------
    allocations : int
        How often the arena asked for memory.
    """

    def __init__(self, xp: ArrayModule) -> None:
        self._xp = xp
        self._memory = xp.empty(0, np.uint8)
        self.allocations = 0

    @property
    def nbytes(self) -> int:
        """Bytes that the arena holds."""
        return int(self._memory.nbytes)

    def reserve(self, n_bytes: int) -> None:
        """Hold at least `n_bytes`. The contents are lost where the arena has to grow."""
        if n_bytes > self.nbytes:
            # The old memory is freed first: the device need not have room for both.
            self._memory = self._xp.empty(0, np.uint8)
            self._memory = self._xp.empty(n_bytes, np.uint8)
            self.allocations += 1

    def views(self, layout: Layout) -> dict[str, DeviceArray]:
        """Return the arrays of a layout; their numbers are arbitrary."""
        self.reserve(layout_bytes(layout))
        views = {}
        begin = 0
        for name, (shape, dtype) in layout.items():
            size = math.prod(shape) * np.dtype(dtype).itemsize
            views[name] = self._memory[begin : begin + size].view(dtype).reshape(shape)
            begin += _padded(shape, dtype)
        return views


def _padded(shape: tuple[int, ...], dtype: DType) -> int:
    size: int = math.prod(shape) * np.dtype(dtype).itemsize
    return -(-size // _ALIGNED) * _ALIGNED
