"""Sums over pairs of a user and an item, by kernels: what RMSE and objective need of every rating."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from toolkit.backends.cuda.launcher import Kernel, Launcher
from toolkit.backends.cuda.shape import Shape
from toolkit.predictor import Predictor
from toolkit.solver.factors import Factors

# The same on every device, so that the sums are.
BLOCKS = 1024
_THREADS = 256
# A number of each warp, of 8 bytes.
_SHARED = 8 * _THREADS // 32

Pairs = tuple[Any, Any, Any]


def squared_errors(launch: Launcher, factors: Predictor, pairs: Pairs) -> Any:
    """Return the sum of squared errors over pairs, as an array of one float64 on the device.

    Parameters
    ----------
    launch : Launcher
        Where.
    factors : Predictor
        In float32; predictions are clipped where they have a scale.
    pairs : tuple
        Users, int32, items, int32 or int64, and ratings, float32, each of shape (n,).
    """
    low, high = factors.scale or (-math.inf, math.inf)
    return _sums(
        launch,
        "squared_errors",
        1,
        (factors, pairs),
        (np.float32(factors.mean), np.float32(low), np.float32(high)),
    )


def objective_sums(launch: Launcher, factors: Factors, pairs: Pairs, weight: Any) -> Any:
    """Return Σ (w0 + c) error² and Σ (x · y)² over pairs, as an array of two float64 on the device.

    Parameters
    ----------
    launch, factors, pairs
        As `squared_errors`; nothing is clipped.
    weight : array of float64, shape (n_items,)
        c of each item.
    """
    return _sums(
        launch,
        "objective_pairs",
        2,
        (factors, pairs),
        (weight, np.float64(factors.mean), np.float64(factors.config.unobserved_weight)),
    )


def _sums(launch: Launcher, name: str, width: int, of: tuple[Predictor, Pairs], rest: tuple[Any, ...]) -> Any:
    xp, (factors, (users, items, ratings)) = launch.xp, of
    shape = Shape.of_factors(factors.users.factors.shape[1])
    column = {4: "int", 8: "long long"}[items.dtype.itemsize]
    sums, out = xp.empty((BLOCKS, width), np.float64), xp.empty(width, np.float64)
    launch(
        *(Kernel("metrics", name, shape, column), BLOCKS, _THREADS),
        *(np.int64(len(ratings)), users, items, ratings, *factors.users, *factors.items, *rest, sums),
        shared=_SHARED,
    )
    join = Kernel("metrics", "join_blocks", shape, column)
    launch(join, 1, width, np.int32(BLOCKS), np.int32(width), sums, out)
    return out
