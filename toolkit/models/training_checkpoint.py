"""The checkpoint of a training: a directory that is complete or not there."""

from __future__ import annotations

import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.config import RunOptions, WALSConfig
from toolkit.errors import ConfigError, ModelError
from toolkit.files import atomic, claimed, save_array
from toolkit.models.checkpoint_reading import checked_history, reading_checkpoint
from toolkit.predictor import Side
from toolkit.solver import Factors, Trainer, read_array

if TYPE_CHECKING:
    from toolkit.models.placed import PlacedRatings

_STATE = "training.json"
_FIGURES = ("iteration", "train_rmse", "valid_rmse", "seconds")
_FACTORS, _BEST, _USERS_BEFORE = "factors", "best", "users_before"
# Seconds from one checkpoint to the next, at least.
_EVERY = 30.0


@dataclass
class TrainingState:
    """Where a training is, in host memory.

    Attributes
    ----------
    factors : Factors or None
        Those of the last iteration; None before the first one.
    users_before : Side or None
        The users one iteration before, where momentum needs them.
    best : Factors or None
        Those of the best iteration, where a patience needs them.
    history : list of dict
        The figures of each iteration.
    """

    factors: Factors | None = None
    users_before: Side | None = None
    best: Factors | None = None
    history: list[Any] = field(default_factory=list)


class TrainingCheckpoint:
    """Keeps the state of one training in a directory.

    Parameters
    ----------
    path : Path
        The directory.
    identity : dict
        Whatever the numbers depend on: a training of another identity is not continued.
    every : float, optional
        Seconds from one checkpoint to the next, at least.
    """

    def __init__(self, path: Path, identity: dict[str, Any], every: float | None = None) -> None:
        self._path, self._identity = path, json.loads(json.dumps(identity))
        self._every = _EVERY if every is None else every
        self._last = time.monotonic()

    def read(self) -> TrainingState:
        """Return what is kept; the state of a training that has not begun where nothing is.

        Raises
        ------
        ConfigError
            When it is of another training.
        ModelError
            When it cannot be read.
        """
        path = self._path
        if not path.exists():
            return TrainingState()
        with reading_checkpoint(path):
            words = json.loads((path / _STATE).read_text(encoding="utf-8"))
            kept = words["identity"]
            changed = [name for name, value in self._identity.items() if kept.get(name) != value]
            if changed:
                raise ConfigError(
                    f"{path} is the checkpoint of a training of another {', '.join(changed)}: go on with the "
                    "same, or remove it"
                )
            best = Factors.load(path / _BEST).mapped(np.array) if words["best"] else None
            before = None
            if words[_USERS_BEFORE]:
                names = (f"{_USERS_BEFORE}_{word}.npy" for word in ("factors", "bias"))
                before = Side(*(np.array(read_array(path / name)) for name in names))
            factors = Factors.load(path / _FACTORS).mapped(np.array)
            history = checked_history(words["history"], _FIGURES, factors.iterations)
            return TrainingState(factors, before, best, history)

    def keep(self, trainer: Trainer, best: Factors | None, history: list[Any]) -> None:
        """Write the state of a training in place of the one before, unless that was a moment ago."""
        if time.monotonic() - self._last < self._every:
            return
        before, factors = trainer.host_users_before(), trainer.host_factors()
        # The best iteration may be the last one, whose factors would be written twice.
        separate = best is not None and best.iterations != factors.iterations
        words = {
            "identity": self._identity,
            "best": separate,
            _USERS_BEFORE: before is not None,
            "history": history,
        }
        try:
            with atomic.directory(self._path, overwrite=True, holding=_STATE) as part:
                kept = {_FACTORS: factors}
                if best is not None and separate:
                    kept[_BEST] = trainer.host_factors(best)
                for name, each in kept.items():
                    (part / name).mkdir()
                    each.save(part / name)
                if before is not None:
                    for word, array in zip(("factors", "bias"), before, strict=True):
                        save_array(part / f"{_USERS_BEFORE}_{word}.npy", array)
                (part / _STATE).write_text(json.dumps(words) + "\n", encoding="utf-8")
        except FileExistsError as error:
            raise ModelError(str(error)) from error
        self._last = time.monotonic()


def training_identity(
    placed: PlacedRatings, config: WALSConfig, options: RunOptions, *, solver: str, patience: int
) -> dict[str, Any]:
    """Return whatever the numbers of a training depend on."""
    return {
        "config": config.to_dict(),
        "seed": options.seed,
        "dtype": options.dtype,
        "backend": placed.backend_name,
        "solver": solver,
        "patience": patience,
        "ratings": placed.identity(),
    }


def unfinished_place(out: Path, *, posterior: bool) -> Path:
    """Return where the checkpoints of the training of a model are; see `unfinished_training`."""
    return out.with_name(f"{out.name}.{'sampling' if posterior else 'training'}")


@contextlib.contextmanager
def unfinished_training(out: Path, *, posterior: bool, resume: bool) -> Iterator[Path]:
    """Yield the directory beside a model that has the checkpoints of its training.

    It is removed when the block ends well. Nobody else trains for the same model meanwhile.

    Parameters
    ----------
    out : Path
        The model directory to make.
    posterior : bool
        Whether the model is sampled: a sampling always goes on from its checkpoints.
    resume : bool
        Whether a training goes on from its checkpoints.

    Raises
    ------
    ConfigError
        When a training shall begin anew where an unfinished one left its checkpoint.
    ModelError
        When another process is making the model.
    """
    path = unfinished_place(out, posterior=posterior)
    if path.exists() and not (posterior or resume):
        raise ConfigError(f"{path} is what an unfinished training left: go on with --resume, or remove it")
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(claimed(out))
        except FileExistsError as error:
            raise ModelError(str(error)) from error
        yield path
        shutil.rmtree(path, ignore_errors=True)
