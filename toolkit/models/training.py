"""The training of a model: the iterations, and the figures of each."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypedDict

from toolkit.config import RunOptions, SolverName, WALSConfig
from toolkit.errors import ConfigError
from toolkit.figure_text import shown
from toolkit.inputs import checked_number, require_callable
from toolkit.models.fitted import Training
from toolkit.models.placed import PlacedRatings
from toolkit.models.training_checkpoint import TrainingCheckpoint, TrainingState, training_identity
from toolkit.progress_bars import shown_iterations
from toolkit.solver import BaselineErrors, Factors, Trainer, stopping


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
    placed: PlacedRatings,
    config: WALSConfig,
    options: RunOptions,
    *,
    patience: int,
    on_iteration: Callable[[Progress], None] | None,
    progress: bool | None,
    checkpoint: Path | None = None,
) -> Trained:
    """Run one training, and train its baselines where there are validation ratings.

    Raises
    ------
    ConfigError
        When `patience` is not a whole number from 0, there is `patience` and no validation rating,
        `on_iteration` is not a function, `progress` is neither True, False nor None, or the checkpoint is of
        another training.
    ModelError
        When the checkpoint cannot be read or written.
    SolverError
        When the normal equations have no finite solution.
    BackendError
        When the backend of the options is not usable.
    """
    patience, held_out = checked_patience(patience, placed), placed.valid
    require_callable("on_iteration", on_iteration)
    trainer = Trainer(placed.data, config, seed=options.seed, solver=options.solver)
    kept = None
    if checkpoint is not None:
        identity = training_identity(placed, config, options, solver=trainer.solver, patience=patience)
        kept = TrainingCheckpoint(checkpoint, identity)
    history, best = _begun(trainer, TrainingState() if kept is None else kept.read())
    # Without patience the last factors count, and no others stay in memory.
    best = best if patience else None
    errors = [each["valid_rmse"] for each in history if each["valid_rmse"] is not None]
    with shown_iterations(progress, config.iterations) as advance:
        while trainer.iterations < config.iterations and not (
            patience and errors and stopping.stalled(errors, patience)
        ):
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
            if valid_rmse is not None:
                errors.append(valid_rmse)
                if patience and stopping.best(errors) == len(errors) - 1:
                    best = trainer.factors
            if kept is not None:
                kept.keep(trainer, best, history)
            if advance:
                advance(_figures(history[-1]))
            if on_iteration:
                on_iteration(history[-1])
    counts = placed.data.item_counts
    training = Training(
        trainer.host_factors(trainer.finished(best)),
        placed.users,
        placed.items,
        placed.rated(checkpoint),
        counts,
        counts,
        dataset_digest=placed.dataset_digest,
    )
    baselines = None
    if held_out is not None and held_out.nnz > 0:
        baselines = placed.baselines().errors(held_out)
    return Trained(training, history, placed.backend_name, baselines, trainer.solver)


def _begun(trainer: Trainer, state: TrainingState) -> tuple[list[Progress], Factors | None]:
    """Let a trainer go on from a state; return its history, and the best factors so far."""
    if state.factors is not None:
        trainer.restore(state.factors, state.users_before)
    return state.history, trainer.factors if state.best is None else trainer.on_device(state.best)


def checked_patience(patience: int, placed: PlacedRatings) -> int:
    """Return a patience that the validation ratings allow; raises `ConfigError`."""
    patience = checked_number("patience", patience, 0)
    if patience and (placed.valid is None or placed.valid.nnz == 0):
        raise ConfigError("patience needs validation ratings to stop by: hold some out, or set it to 0")
    return patience


def _figures(last: Progress) -> str:
    valid = last["valid_rmse"]
    return f"train RMSE {shown(last['train_rmse'])}" if valid is None else f"valid RMSE {shown(valid)}"
