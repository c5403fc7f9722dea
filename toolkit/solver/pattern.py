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

from toolkit.arrays import DeviceArray
from toolkit.backends import Backend, RatingRows
from toolkit.config import WALSConfig
from toolkit.solver.weights import penalties


def solve_pattern(
    rows: RatingRows, fixed: DeviceArray, config: WALSConfig, *, spread: float, backend: Backend
) -> DeviceArray:
    """Return the pattern factors of rows that minimise the objective, the other side's factors being fixed.

    The matrix is the same for all rows but for the penalty, so one eigendecomposition solves them all.

    Parameters
    ----------
    rows : RatingRows, n_rows by n_columns
        Which columns each row has rated.
    fixed : array of float, shape (n_columns, k)
        Factors of the other side.
    config : WALSConfig
        The hyperparameters.
    spread : float
        σ, the unit in which the objective measures ratings.
    backend : Backend
        Where the arrays are.

    Returns
    -------
    array of float, shape (n_rows, k)
        Zero for a row without ratings.
    """
    xp, w = backend.xp, config.pattern_weight
    values, vectors = xp.linalg.eigh(fixed.T.astype("float64") @ fixed.astype("float64"))
    scale = w * values.clip(min=0) + penalties(rows.counts, config, spread)[:, None]
    # A direction that nothing determines is left at zero.
    least = xp.finfo(xp.float64).eps * len(values) * max(float(w * values[-1]), 0.0)
    inverse = xp.where(scale > least, 1 / xp.where(scale > least, scale, 1), 0)
    turned = backend.sum_rated(rows, fixed).astype("float64") @ vectors
    return ((w * turned * inverse) @ vectors.T).astype(fixed.dtype)  # type: ignore[no-any-return]
