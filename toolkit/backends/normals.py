"""Standard normal numbers that a key determines, however many threads draw them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from toolkit.arrays import FloatArray
from toolkit.backends.device import Device

# Numbers that one generator draws. Each part has one of its own, so that parts may be drawn in any order.
_PART = 1 << 16


def normals(key: Sequence[int], shape: tuple[int, ...], dtype: str, device: Device) -> FloatArray:
    """Return independent standard normal numbers in host memory, drawn on the threads of a device.

    Parameters
    ----------
    key : sequence of int
        What the numbers depend on: whole numbers from 0. Different keys give independent numbers.
    shape : tuple of int
    dtype : {"float32", "float64"}
    device : Device
        Whose threads draw.

    Returns
    -------
    array of float, of that shape
        The same bits for any number of threads.
    """
    out: FloatArray = np.empty(shape, dtype)
    flat = out.reshape(-1)

    def draw(at: int) -> None:
        generator = np.random.Generator(np.random.SFC64(np.random.SeedSequence([*key, at])))
        generator.standard_normal(dtype=out.dtype, out=flat[at * _PART : (at + 1) * _PART])

    device.each(draw, range(-(-flat.size // _PART)))
    return out
