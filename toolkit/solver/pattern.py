"""Who rated what, as something that factors have to explain beside the ratings.

What a user rates tells of his taste before a single star is given. With a weight w, the objective has two
more sums over all pairs: of (1 − x_u · ỹ_i)² where there is a rating and (x_u · ỹ_i)² where there is none,
and likewise of x̃_u · y_i. The pattern factors ỹ and x̃ are unknowns that predict no rating. They are solved
for in turn with the others, and their penalty is that of their row.

References
----------
R. Salakhutdinov and A. Mnih, "Probabilistic matrix factorization", NIPS 2007 (constrained PMF), for the idea;
D. Cortes, "Cold-start recommendations in collective matrix factorization", arXiv:1809.00366, for joint
factorization of the pattern.
"""

from __future__ import annotations

from typing import Any

from toolkit.backends.rows import Batch, RatingRows
from toolkit.config import WALSConfig


def solve_pattern(ratings: RatingRows, fixed: Any, config: WALSConfig) -> Any:
    """Return the pattern factors of rows that minimise the objective, the other side's factors being fixed.

    The matrix is the same for all rows but for the penalty: one eigendecomposition solves them all.

    Parameters
    ----------
    ratings : RatingRows, n_rows by n_columns
        Which columns each row has rated.
    fixed : array of float, shape (n_columns, k)
        Factors of the other side.
    config : WALSConfig
        The hyperparameters.

    Returns
    -------
    array of float, shape (n_rows, k)
        Zero for a row without ratings.
    """
    backend, xp = ratings.backend, ratings.backend.xp
    w = config.pattern_weight
    values, vectors = xp.linalg.eigh(fixed.T.astype("float64") @ fixed.astype("float64"))
    counts = backend.asarray(ratings.host_counts.astype("float64"))
    penalty = config.regularization * xp.where(counts > 0, counts, 1) ** config.regularization_exponent
    scale = w * values.clip(min=0) + penalty[:, None]
    # A direction that nothing determines is left at zero.
    least = xp.finfo(xp.float64).eps * len(values) * max(float(w * values[-1]), 0.0)
    inverse = xp.where(scale > least, 1 / xp.where(scale > least, scale, 1), 0)
    turned = sum_rated(ratings, fixed).astype("float64") @ vectors
    return ((w * turned * inverse) @ vectors.T).astype(fixed.dtype)


def sum_rated(ratings: RatingRows, table: Any) -> Any:
    """Return for each row the sum of the rows of a table that stand for the columns it has rated.

    Parameters
    ----------
    ratings : RatingRows, n_rows by n_columns
        Which columns each row has rated.
    table : array of float, shape (n_columns, k)

    Returns
    -------
    array of float, shape (n_rows, k)
    """
    backend, xp = ratings.backend, ratings.backend.xp
    if ratings.kernels and table.dtype == "float32":
        return ratings.kernels.sum_rated(xp.ascontiguousarray(table))
    out = xp.zeros((ratings.n_rows, table.shape[1]), table.dtype)
    if backend.compiled:
        from toolkit.backends.numba.rows import sum_rows

        def add(batch: Batch) -> None:
            sum_rows(batch.rows, batch.starts, batch.counts, ratings.columns, table, out)

        backend.each(add, ratings.batches)
        return out
    padded = xp.zeros((ratings.n_columns + 1, table.shape[1]), table.dtype)
    padded[:-1] = table

    def add_padded(batch: Batch) -> None:
        out[batch.rows] = padded[ratings.gather(batch)[0]].sum(axis=1)

    size = table.dtype.itemsize * table.shape[1]
    backend.each(add_padded, ratings.batches_within(lambda width: size * width))
    return out
