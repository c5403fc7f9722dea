"""Who rated what, as something that factors have to explain beside the ratings.

What a user rates tells of her taste before a single star is given. With a weight w, the objective has two
more sums over all pairs: of (1 − x_u · ỹ_i)² where there is a rating and (x_u · ỹ_i)² where there is none,
and likewise of x̃_u · y_i. The pattern factors ỹ and x̃ are unknowns that predict no rating. Training solves
them in turn with the other factors, and their penalty is that of their row.

References
----------
R. Salakhutdinov and A. Mnih, "Probabilistic matrix factorization", NIPS 2007 (constrained PMF), for the idea;
D. Cortes, "Cold-start recommendations in collective matrix factorization", arXiv:1809.00366, for joint
factorization of the pattern.
"""

from __future__ import annotations

import numpy as np

from toolkit.arrays import DeviceArray, DType
from toolkit.backends import Backend, RowCounts
from toolkit.config import WALSConfig
from toolkit.solver.weights import penalties

# Single precision solves the rows up to this ratio of the largest to the smallest eigenvalue.
_SINGLE = 1e3


def solve_pattern(
    rows: RowCounts,
    fixed: DeviceArray,
    config: WALSConfig,
    *,
    spread: float,
    backend: Backend,
    sums: DeviceArray,
) -> DeviceArray:
    """Return the pattern factors of rows that minimise the objective, the other side's factors being fixed.

    The matrix is the same for all rows but for the penalty, so one eigendecomposition solves them all.

    Parameters
    ----------
    rows : RowCounts, n_rows by n_columns
        How many columns each row has rated.
    fixed : array of float, shape (n_columns, k)
        Factors of the other side.
    config : WALSConfig
        The hyperparameters.
    spread : float
        σ, the unit in which the objective measures ratings.
    backend : Backend
        Where the arrays are.
    sums : array of float, shape (n_rows, k)
        `toolkit.backends.Backend.sum_rated` of `fixed`; it is overwritten.

    Returns
    -------
    array of float, shape (n_rows, k)
        Zero for a row without ratings.
    """
    xp, w = backend.xp, config.pattern_weight
    pattern = sums
    if not rows.n_rows:
        return pattern
    with backend.one_blas_thread():
        values, vectors = xp.linalg.eigh(backend.gram(fixed, "float64"))
        values = w * values.clip(min=0)
        penalty = penalties(rows.counts, config, spread)
        # A direction that nothing determines is left at zero.
        least = float(xp.finfo(xp.float64).eps * len(values) * values[-1])
        precision = _precision(fixed, float(values[0]), float(values[-1]), float(penalty.min()))
        values, vectors = values.astype(precision), vectors.astype(precision)

        def solve(begin: int) -> None:
            part = slice(begin, begin + backend.batch_rows)
            scale = values + penalty[part, None].astype(precision)
            turned = pattern[part].astype(precision, copy=False) @ vectors
            turned *= xp.where(scale > least, w / xp.where(scale > least, scale, 1), 0)
            pattern[part] = turned @ vectors.T

        backend.each(solve, range(0, rows.n_rows, backend.batch_rows))
    return pattern


def _precision(fixed: DeviceArray, low: float, high: float, penalty: float) -> DType:
    """Return the precision that solves the rows: the error grows with the ratio of their eigenvalues."""
    single = fixed.dtype == np.float32 and high + penalty <= _SINGLE * (low + penalty)
    return np.dtype("float32" if single else "float64")
