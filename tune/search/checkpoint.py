"""Checkpoints of long trials: what a trial goes on from after its process or its study was interrupted."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

import numpy as np

from toolkit.arrays import Array
from toolkit.errors import ModelError
from toolkit.files import save_array
from toolkit.models import reading_checkpoint
from toolkit.predictor import Side
from toolkit.solver import Factors, read_array

History: TypeAlias = dict[str, list[float]]
"""Figures of a trial after each iteration, by name; ``seconds`` is how long the iteration took."""

_STATE = "checkpoint.json"
_SAMPLING = "sampling.npz"


@dataclass
class Checkpoint:
    """The state of a training between two iterations, in host memory.

    Attributes
    ----------
    factors : Factors
        The factors after the last iteration.
    users_before : Side or None
        The users one iteration before, where momentum needs them.
    best : Factors or None
        The factors of the best iteration; None where it is the last one.
    figures : dict of str to float
        The figures of the best iteration.
    history : dict of str to list of float
        Figures after each iteration; the study adds them.
    sampling : dict of str to array, or None
        Where the chain of a posterior is; None for a training.
    """

    factors: Factors
    users_before: Side | None
    best: Factors | None
    figures: dict[str, float]
    history: History = field(default_factory=dict)
    sampling: dict[str, Array] | None = None

    def copied_history(self) -> History:
        """Return a history that may be added to."""
        return {key: list(figures) for key, figures in self.history.items()}

    def save(self, folder: Path) -> None:
        """Write the checkpoint into a folder, which is made where it does not exist."""
        for name, factors in (("factors", self.factors), ("best", self.best)):
            if factors is not None:
                (folder / name).mkdir(parents=True)
                factors.save(folder / name)
        before = self.users_before
        if before is not None:
            for key, array in before._asdict().items():
                save_array(folder / f"before_{key}.npy", array)
        if self.sampling is not None:
            np.savez(folder / _SAMPLING, allow_pickle=False, **self.sampling)
        state = {
            "figures": self.figures,
            "history": self.history,
            "best": self.best is not None,
            "before": before is not None,
            "sampling": self.sampling is not None,
        }
        (folder / _STATE).write_text(json.dumps(state), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Checkpoint:
        """Read what `save` wrote; the arrays of factors are mapped from the files.

        Raises
        ------
        ModelError
            When the folder is not as it was written.
        """
        with reading_checkpoint(folder):
            state = json.loads((folder / _STATE).read_text(encoding="utf-8"))
            names = [f"before_{key}.npy" for key in Side._fields] if state["before"] else []
            before = [read_array(folder / name) for name in names]
            sampling = None
            # A checkpoint of before is one of a training.
            if state.get("sampling", False):
                # Opened here: NumPy does not close a file that is no archive.
                with (folder / _SAMPLING).open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                    sampling = {name: arrays[name] for name in arrays.files}
            return cls(
                factors=Factors.load(folder / "factors"),
                users_before=Side(*before) if before else None,
                best=Factors.load(folder / "best") if state["best"] else None,
                figures=state["figures"],
                history=state["history"],
                sampling=sampling,
            )


class Checkpoints:
    """The folder of a study that holds the last checkpoint of each trial that runs long.

    Below it, each trial has a folder, and in that one folder for each iteration that it was saved after. A
    reader takes the last of these; a folder is complete or has a name that starts with a dot.

    Parameters
    ----------
    folder : Path
        Made with the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def save(self, trial: str, checkpoint: Checkpoint) -> None:
        """Write the checkpoint of a trial, then remove the earlier ones."""
        name = f"{checkpoint.factors.iterations:09d}"
        part = self._folder / trial / f".{name}"
        shutil.rmtree(part, ignore_errors=True)
        checkpoint.save(part)
        shutil.rmtree(part.with_name(name), ignore_errors=True)
        part.replace(part.with_name(name))
        for older in self._saved(trial):
            if older.name < name:
                shutil.rmtree(older, ignore_errors=True)

    def load(self, trial: str) -> Checkpoint | None:
        """Return the last checkpoint of a trial, its arrays mapped from files; None where there is none."""
        for folder in reversed(self._saved(trial)):
            try:
                return Checkpoint.load(folder)
            except ModelError:
                # A power cut can leave files without their content: the trial then begins earlier.
                continue
        return None

    def remove(self, trial: str) -> None:
        """Remove what is kept of a trial."""
        if self._folder.exists():
            shutil.rmtree(self._folder / trial, ignore_errors=True)

    def trials(self) -> set[str]:
        """Return the trials of which something is kept."""
        return {folder.name for folder in self._folder.glob("*")}

    def _saved(self, trial: str) -> list[Path]:
        return sorted((self._folder / trial).glob("[0-9]*"))
