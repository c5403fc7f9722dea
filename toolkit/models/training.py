"""The training of a model: the iterations, and the figures of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple, TypedDict

import scipy.sparse as sp

from toolkit.backends import Backend
from toolkit.config import RunOptions, SolverName, WALSConfig
from toolkit.errors import ConfigError
from toolkit.evaluation import HeldOutRows
from toolkit.figure_text import shown
from toolkit.inputs import checked_number, require_callable
from toolkit.models.fitted import Training
from toolkit.models.training_input import TrainingInput
from toolkit.progress_bars import shown_iterations
from toolkit.solver import BaselineErrors, Baselines, Trainer, TrainingData, stopping


class Progress(TypedDict):
    """One iteration's figures: RMSE in rating units, time in seconds."""

    iteration: int
    train_rmse: float
    valid_rmse: float | None
    seconds: float


class Trained(NamedTuple):
    """What a training leaves.

    Attributes
    ----------
    training : Training
    history : list of Progress
        The figures of each iteration.
    backend_name : str
        The backend that it ran on.
    baselines : BaselineErrors or None
        The RMSE of the mean, and of mean and biases, on the validation ratings; None where there are none.
    solver_name : {"exact", "cg"}
        How rows were solved.
    """

    training: Training
    history: list[Progress]
    backend_name: str
    baselines: BaselineErrors | None
    solver_name: SolverName


def train(
    given: TrainingInput,
    config: WALSConfig,
    options: RunOptions,
    *,
    patience: int,
    on_iteration: Callable[[Progress], None] | None,
    progress: bool | None,
) -> Trained:
    """Run one training, and train its baselines where there are validation ratings.

    Raises
    ------
    ConfigError
        When `patience` is not a whole number from 0, there is `patience` and no validation rating,
        `on_iteration` is not a function, or `progress` is neither True, False nor None.
    RatingsError
        When there is no rating.
    SolverError
        When the normal equations have no finite solution.
    BackendError
        When the backend of the options is not usable.
    """
    patience = checked_number("patience", patience, 0)
    require_callable("on_iteration", on_iteration)
    if patience and (given.valid is None or given.valid.nnz == 0):
        raise ConfigError("patience needs validation ratings to stop by: hold some out, or set it to 0")
    backend = Backend.require(options.backend, options.threads)
    data = TrainingData(given.ratings, given.by_item, backend=backend, dtype=options.dtype)
    held_out = None if given.valid is None else HeldOutRows(backend, given.valid)
    trainer = Trainer(data, config, seed=options.seed, solver=options.solver)
    history: list[Progress] = []
    errors: list[float] = []
    best = trainer.factors
    with shown_iterations(progress, config.iterations) as advance:
        for _ in range(config.iterations):
            began = time.perf_counter()
            trainer.step()
            seconds = time.perf_counter() - began
            valid_rmse = None if held_out is None else held_out.rmse(trainer.factors)
            history.append(
                {
                    "iteration": trainer.iterations,
                    "train_rmse": trainer.train_rmse(),
                    "valid_rmse": valid_rmse,
                    "seconds": seconds,
                }
            )
            if advance:
                advance(_figures(history[-1]))
            if on_iteration:
                on_iteration(history[-1])
            if patience and valid_rmse is not None:
                errors.append(valid_rmse)
                if stopping.best(errors) == len(errors) - 1:
                    best = trainer.factors
                if stopping.stalled(errors, patience):
                    break
    counts = data.item_counts
    training = Training(
        trainer.host_factors(trainer.finished(best if patience else None)),
        given.users,
        given.items,
        # A copy of what the caller may change, in the type of what is computed with it.
        sp.csr_matrix(given.ratings.astype(options.dtype, copy=given.dataset_digest is None)),
        counts,
        counts,
        dataset_digest=given.dataset_digest,
    )
    baselines = None
    if held_out is not None and held_out.nnz > 0:
        baselines = Baselines(data, held_out).errors(held_out)
    return Trained(training, history, backend.name, baselines, trainer.solver)


def _figures(last: Progress) -> str:
    valid = last["valid_rmse"]
    return f"train RMSE {shown(last['train_rmse'])}" if valid is None else f"valid RMSE {shown(valid)}"
