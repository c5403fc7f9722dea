"""A half-step whose solution is a draw: the same equations with noise in the ratings and in the pull.

Let ``A v = b`` be the equations of a row. Given everything else, the row is Gaussian with mean A⁻¹b and
precision α A, where α is the precision of a rating. A solution of ``A v = b + ξ`` is a draw of it when ξ is
Gaussian with covariance A / α. As A is a sum over ratings and a matrix that all rows share, so is such a ξ:
every rating gets noise of its own, of variance 1 / (α c), and the right-hand side of each row that of the
shared matrix. So any backend that solves a half-step also draws it, whatever way it solves it.

References
----------
G. Papandreou and A. Yuille, "Gaussian sampling by local perturbations", NIPS 2010.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from toolkit.arrays import DeviceArray
from toolkit.backends import Backend, HalfStep

_RATINGS, _ROWS = 0, 1
# Roundings of the shared matrix, of its trace, that its root is kept clear of.
_ROUNDING = 4.0


class Perturbation(NamedTuple):
    """The chance of a draw.

    Attributes
    ----------
    noise : float
        Standard deviation of a rating of weight 1 around its prediction.
    key : tuple of int
        What the draw depends on: whole numbers from 0.
    """

    noise: float
    key: tuple[int, ...]


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
    chance = Perturbation(noise, tuple(key))
    return with_noisy_ratings(with_noisy_pull(step, chance, backend=backend), chance, backend=backend)


def with_noisy_pull(step: HalfStep, chance: Perturbation, *, backend: Backend) -> HalfStep:
    """Return a half-step with the noise of the matrix that all rows share, in the pull of each row."""
    xp, dtype = backend.xp, str(step.dtype)
    assert step.gram is not None  # noqa: S101 - a prior is part of it
    assert step.pull is not None  # noqa: S101 - and has a pull
    gram = step.gram.astype("float64")
    # Of ratings almost without noise, rounding can leave an eigenvalue below zero.
    gram += _ROUNDING * float(xp.finfo(step.gram.dtype).eps) * gram.trace() * xp.eye(len(gram))
    root = xp.linalg.cholesky(gram).astype(dtype)
    pull = backend.normals((*chance.key, _ROWS), (step.rows.n_rows, step.unknowns), dtype)
    return replace(step, pull=step.pull + chance.noise * (pull @ root.T))


def with_noisy_ratings(step: HalfStep, chance: Perturbation, *, backend: Backend, begin: int = 0) -> HalfStep:
    """Return a half-step with noise in each rating.

    Parameters
    ----------
    step : HalfStep
        Of all rows, or of some that follow each other.
    chance : Perturbation
        That of all rows.
    backend : Backend
        The backend that the step was made for.
    begin : int, default 0
        How many ratings the rows before the first one have.
    """
    rows = step.ratings
    values = backend.normals((*chance.key, _RATINGS), (rows.nnz,), str(step.dtype), begin=begin)
    values *= _deviations(step, chance.noise, backend)
    values += rows.values
    return replace(step, rows=rows.with_values(values))


def _deviations(step: HalfStep, noise: float, backend: Backend) -> DeviceArray | float:
    """Return the standard deviation of each rating, given its weight; one number where all are alike."""
    config, rows, xp = step.config, step.ratings, backend.xp
    if not config.weight_exponent:
        return noise / math.sqrt(config.observed_weight)
    if step.column_weight is not None:
        return noise / xp.sqrt(step.column_weight)[rows.columns]  # type: ignore[no-any-return]
    assert step.row_weight is not None  # noqa: S101 - a half-step has one of the two weights
    # CuPy repeats by numbers in host memory alone.
    return backend.asarray(np.repeat(noise / np.sqrt(backend.to_numpy(step.row_weight)), rows.host_counts))
