"""The errors of the simplest models on the ratings that a model is judged by."""

from __future__ import annotations

from collections.abc import Mapping

from toolkit.arrays import AnySparse
from toolkit.backends import Backend
from toolkit.config import RunOptions
from toolkit.evaluation import HeldOutRows
from toolkit.solver import BaselineErrors, Baselines, TrainingData


def baseline_errors(
    ratings: AnySparse,
    held_out: Mapping[str, AnySparse],
    options: RunOptions,
    *,
    by_item: AnySparse | None = None,
    damping: float | None = None,
) -> dict[str, BaselineErrors | None]:
    """Train the baselines of some ratings, and return their errors on others.

    Parameters
    ----------
    ratings : scipy.sparse matrix, shape (n_users, n_items)
        What they are trained on.
    held_out : mapping of str to scipy.sparse matrix of the same shape
        What they are measured on. The penalty of the biases is chosen on those that are named ``valid``.
    options : RunOptions
        Where and how they are trained.
    by_item : scipy.sparse matrix, shape (n_items, n_users), optional
        `ratings` transposed, where that is at hand.
    damping : float, optional
        The penalty of the biases, where it was chosen before.

    Returns
    -------
    dict of str to BaselineErrors or None
        By the names of `held_out`; None where there are no ratings.
    """
    backend = Backend.require(options.backend, options.threads)
    data = TrainingData(ratings, by_item, backend=backend, dtype=options.dtype)
    rows = {name: HeldOutRows(backend, matrix) for name, matrix in held_out.items()}
    baselines = Baselines(data, rows.get("valid"), damping=damping)
    return {name: baselines.errors(of) for name, of in rows.items()}
