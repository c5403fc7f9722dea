"""The sum of squared errors over pairs of a user and an item, by kernels."""

from __future__ import annotations

import math

import numpy as np

from toolkit.arrays import DeviceArray
from toolkit.backends.cuda.launcher import Kernel, Launcher
from toolkit.backends.cuda.shape import Shape
from toolkit.predictor import Predictor

# The same on every device, so that the sums are the same.
BLOCKS = 1024
_THREADS = 256
# A number of each warp, of 8 bytes.
_SHARED = 8 * _THREADS // 32


def squared_errors(
    launch: Launcher, predictor: Predictor, pairs: tuple[DeviceArray, DeviceArray, DeviceArray]
) -> DeviceArray:
    """Return the sum of squared errors over pairs, as an array of one float64 on the device.

    Parameters
    ----------
    launch : Launcher
        Launches the kernels.
    predictor : Predictor
        In float32; predictions are clipped where it has a rating scale.
    pairs : tuple
        Users, int32, items, int32 or int64, and ratings, float32, each of shape (n,); n is above 0.
    """
    (users, items, ratings), xp = pairs, launch.xp
    shape = Shape.of_factors(predictor.users.factors.shape[1])
    column = {4: "int", 8: "long long"}[items.dtype.itemsize]
    low, high = predictor.scale or (-math.inf, math.inf)
    sums, out = xp.empty(BLOCKS, np.float64), xp.empty(1, np.float64)
    launch(
        *(Kernel("metrics", "squared_errors", shape, column), BLOCKS, _THREADS),
        *(np.int64(len(ratings)), users, items, ratings, *predictor.users, *predictor.items),
        *(np.float32(predictor.mean), np.float32(low), np.float32(high), sums),
        shared=_SHARED,
    )
    launch(Kernel("metrics", "join_blocks", shape, column), 1, 1, np.int32(BLOCKS), sums, out)
    return out  # type: ignore[no-any-return]
