"""The rivals of `search.py`: the best plain scripts for Ray Tune and for Optuna.

    python benchmarks/search_peers.py ray|ray-unlogged|optuna DATASET TRIALS CONCURRENCY

Each prints the training seconds of a trial when the trial ends, one a line. The script for Ray Tune drives
`tune.WALSTrainable` as Ray's manual advises for short trials: it keeps its processes (`reuse_actors`), limits
how many trials run (`max_concurrent_trials`), and puts the ratings into the object store once
(`with_parameters`). Trials are proposed by OptunaSearch and recorded by the stock MLflow logger; the last
checkpoint of each is kept, as walslab keeps the factors of each. `ray-unlogged` is without that logger, which
writes each figure before Ray Tune goes on.
"""

from __future__ import annotations

import functools
import os
import sys
import time
from pathlib import Path
from typing import Any

from toolkit.arrays import Ratings
from toolkit.backends import Backend
from toolkit.config import PRESETS
from toolkit.datasets import RatingsDataset
from toolkit.evaluation import pairs_on, rmse
from toolkit.solver import Trainer, TrainingData

ITERATIONS = 15


class Worker:
    """The ratings laid out for one process, which trains one configuration after another."""

    def __init__(self, train: Ratings, train_by_item: Ratings, valid: Any, threads: int) -> None:
        self.backend = Backend.require("numba", threads)
        self.ratings = TrainingData(train, train_by_item, backend=self.backend)
        self.valid = pairs_on(self.backend, valid)

    def begin(self, config: dict[str, Any]) -> None:
        """Take up a configuration."""
        whole = PRESETS["default"].replace(**config, iterations=ITERATIONS)
        self.trainer, self.seconds = Trainer(self.ratings, whole, seed=0), 0.0

    def iterate(self) -> dict[str, Any]:
        """Do one iteration, and return the figures after it."""
        began = time.perf_counter()
        self.trainer.step()
        self.seconds += time.perf_counter() - began
        return {
            "valid_rmse": rmse(self.trainer.factors, *self.valid, self.backend),
            "train_rmse": self.trainer.train_rmse(),
            "seconds": self.seconds,
        }


def with_ray(path: str, trials: int, at_once: int, *, logged: bool = True) -> None:
    """Ray Tune: `WALSTrainable` in kept processes, Optuna's search, the stock MLflow logger."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")  # verbose=0 prints nothing then
    import ray
    import ray.tune as ray_tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    from tune import WALSTrainable

    class Printer(ray_tune.Callback):  # type: ignore[misc]
        def __init__(self) -> None:
            self.seconds: dict[str, float] = {}

        def on_trial_result(
            self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
        ) -> None:
            self.seconds[trial.trial_id] = self.seconds.get(trial.trial_id, 0.0) + result["seconds"]

        def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
            print(self.seconds[trial.trial_id], flush=True)

    data, callbacks = RatingsDataset.open(path), [Printer()]
    if logged:
        uri = os.environ["MLFLOW_TRACKING_URI"]
        callbacks.append(MLflowLoggerCallback(tracking_uri=uri, experiment_name="peer"))
    # One processor a trial, as many as run at once: no process waits for another, and none stands by.
    ray.init(address="local", num_cpus=at_once, include_dashboard=False, log_to_driver=False)
    ray_tune.Tuner(
        ray_tune.with_resources(
            ray_tune.with_parameters(WALSTrainable, data=data.train, valid=data.valid),
            {"cpu": 1},
        ),
        param_space={
            "iterations": ITERATIONS,
            "factors": ray_tune.lograndint(8, 65),
            "regularization": ray_tune.loguniform(0.1, 2.0),
            "regularization_exponent": ray_tune.uniform(0.3, 0.8),
        },
        tune_config=ray_tune.TuneConfig(
            metric="valid_rmse",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            search_alg=OptunaSearch(),
        ),
        run_config=ray_tune.RunConfig(
            storage_path=str(Path.cwd()),
            callbacks=callbacks,
            verbose=0,
        ),
    ).fit()


def with_optuna(path: str, trials: int, _at_once: int) -> None:
    """Optuna: one process, one trial after another on all processors, a run of MLflow for each."""
    import mlflow
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_experiment("optuna")
    data = RatingsDataset.open(path)
    worker = Worker(data.train, data.train_by_item, data.valid, threads=0)

    def objective(trial: optuna.Trial) -> float:
        config = {
            "factors": trial.suggest_int("factors", 8, 64, log=True),
            "regularization": trial.suggest_float("regularization", 0.1, 2.0, log=True),
            "regularization_exponent": trial.suggest_float("regularization_exponent", 0.3, 0.8),
        }
        worker.begin(config)
        with mlflow.start_run():
            mlflow.log_params(config)
            for step in range(ITERATIONS):
                figures = worker.iterate()
                mlflow.log_metrics(figures, step=step)
        print(figures["seconds"], flush=True)
        return float(figures["valid_rmse"])

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, seed=0))
    study.optimize(objective, n_trials=trials)


if __name__ == "__main__":
    unlogged = functools.partial(with_ray, logged=False)
    run = {"ray": with_ray, "ray-unlogged": unlogged, "optuna": with_optuna}[sys.argv[1]]
    run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))
