"""A half-step whose solution is a draw.

Let ``A v = b`` be the equations of a row. Given everything else, the row is Gaussian with mean A⁻¹b and
precision α A, where α is the precision of a rating. With RᵀR = A and standard normal numbers n,
A⁻¹b + α^(-1/2) R⁻¹n is a draw of it, as R⁻¹R⁻ᵀ = A⁻¹. Whoever solves the equations by a Cholesky
factorization has R at hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from toolkit.backends import Backend, HalfStep


def perturbed(step: HalfStep, noise: float, key: Sequence[int], *, backend: Backend) -> HalfStep:
    """Return a half-step whose solution is a draw of the rows, given the other side.

    Parameters
    ----------
    step : HalfStep
        Made with a prior, without penalties, and without a weight of unobserved pairs.
    noise : float
        Standard deviation of a rating of weight 1 around its prediction.
    key : sequence of int
        What the draw depends on: whole numbers from 0.
    backend : Backend
        The backend that the step was made for.

    Returns
    -------
    HalfStep
    """
    normals = backend.normals(key, (step.rows.n_rows, step.unknowns), str(step.dtype))
    return replace(step, noise=noise * normals)
