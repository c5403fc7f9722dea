"""Scratch memory in one piece, sized before the first launch: nothing is allocated between launches."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

# What CUDA aligns allocations to.
_ALIGNED = 256

Layout = Mapping[str, tuple[tuple[int, ...], Any]]


def layout_bytes(layout: Layout) -> int:
    """Return the bytes of the arrays of a layout, each (shape, type), one after the other."""
    return sum(_padded(shape, dtype) for shape, dtype in layout.values())


class Arena:
    """One allocation, which is kept from trial to trial and replaced only by a larger one.

    Parameters
    ----------
    xp : module
        ``cupy``, or ``numpy`` in tests.

    Attributes
    ----------
    allocations : int
        How often memory was asked for.
    """

    def __init__(self, xp: Any) -> None:
        self._xp = xp
        self._memory = xp.empty(0, np.uint8)
        self.allocations = 0

    @property
    def nbytes(self) -> int:
        """Bytes that are held."""
        return int(self._memory.nbytes)

    def reserve(self, n_bytes: int) -> None:
        """Hold at least so many bytes; the contents are lost where more are asked for."""
        if n_bytes > self.nbytes:
            # What is held goes first: both need not fit.
            self._memory = self._xp.empty(0, np.uint8)
            self._memory = self._xp.empty(n_bytes, np.uint8)
            self.allocations += 1

    def views(self, layout: Layout) -> dict[str, Any]:
        """Return the arrays of a layout, with whatever numbers are in them."""
        self.reserve(layout_bytes(layout))
        views = {}
        begin = 0
        for name, (shape, dtype) in layout.items():
            size = math.prod(shape) * np.dtype(dtype).itemsize
            views[name] = self._memory[begin : begin + size].view(dtype).reshape(shape)
            begin += _padded(shape, dtype)
        return views


def _padded(shape: tuple[int, ...], dtype: Any) -> int:
    size: int = math.prod(shape) * np.dtype(dtype).itemsize
    return -(-size // _ALIGNED) * _ALIGNED
