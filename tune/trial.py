"""One trial as Ray Tune sees it: set up once per process, reset between trials, one iteration a step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

import ray.tune as ray_tune

from toolkit.backend import Backend
from toolkit.errors import StudyError
from toolkit.factors import Factors
from toolkit.layout import TrainingData
from toolkit.metrics import pairs_on, rmse
from toolkit.ranking import rank
from toolkit.trainer import Trainer

if TYPE_CHECKING:
    from tune.spec import SearchSpec


class TrialRatings(TypedDict):
    """What every trial trains and is judged on; test ratings are not among it."""

    train: Any
    train_by_item: Any
    valid: Any


class WALSTrial(ray_tune.Trainable):  # type: ignore[misc]
    """Trains one configuration.

    Ray starts a process for it, calls `setup` once, and hands it one configuration after another through
    `reset_config`, so that the ratings are laid out (and are on the device) once per process.
    """

    def setup(self, config: dict[str, Any], ratings: TrialRatings, spec: SearchSpec) -> None:
        """Lay the ratings out on this process's device.

        Parameters
        ----------
        config : dict
            What Ray Tune sampled.
        ratings : TrialRatings
            From the object store of the node: arrays are mapped, not copied.
        spec : SearchSpec
            Turns samples into hyperparameters.
        """
        self._spec = spec
        threads = max(1, int(spec.cpu))
        if spec.backend == "auto" and not spec.gpu:
            # A device that nobody asked for may be somebody else's.
            backend = Backend.prefer("numba", threads)
        else:
            backend = Backend.require("cupy" if spec.backend == "auto" else spec.backend, threads)
        self._data = TrainingData(ratings["train"], ratings["train_by_item"], backend=backend)
        self._valid = pairs_on(backend, ratings["valid"])
        self._matrices = ratings["train"], ratings["valid"].tocsr()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        self._trainer = Trainer(self._data, self._spec.config(new_config), seed=self._spec.seed)
        return True

    def step(self) -> dict[str, Any]:
        """Do one iteration and measure it."""
        began = time.perf_counter()
        self._trainer.step()
        seconds = time.perf_counter() - began
        return {
            **self._ranking(),
            "valid_rmse": self._valid_rmse(),
            "train_rmse": self._trainer.train_rmse(),
            "seconds": seconds,
            "backend": self._data.backend.name,
            "done": self._trainer.iterations >= self._trainer.config.iterations,
        }

    def _valid_rmse(self) -> float:
        value = rmse(self._trainer.factors, *self._valid, self._data.backend)
        if value is None:
            raise StudyError("the dataset has no validation ratings to judge a trial by")
        return value

    def _ranking(self) -> dict[str, float]:
        metric = self._spec.metric
        if not metric.k:
            return {}
        train, valid = self._matrices
        found = rank(self._trainer.factors, valid, seen=[train], k=metric.k, backend=self._data.backend)
        return dict(zip(metric.keys, (found.recall, found.ndcg), strict=True))

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Write the factors, with the RMSE they have."""
        self._trainer.host_factors().save(checkpoint_dir, valid_rmse=self._valid_rmse())

    def load_checkpoint(self, checkpoint_dir: str) -> None:
        """Continue from written factors."""
        self._trainer.restore(Factors.load(Path(checkpoint_dir)))
