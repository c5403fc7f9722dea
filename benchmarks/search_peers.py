"""The rivals of `search.py`, as one writes them first; each prints its trials' training seconds.

python benchmarks/search_peers.py ray|optuna DATASET TRIALS CONCURRENCY
"""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from toolkit.backends import Backend
from toolkit.config import PRESETS
from toolkit.datasets import RatingsDataset
from toolkit.evaluation import pairs_on, rmse
from toolkit.solver import Trainer, TrainingData

ITERATIONS = 15


def train(data: Any, backend: Backend, config: dict[str, Any], report: Any) -> float:
    """Train a configuration, report after each iteration, and return the seconds of training."""
    ratings = TrainingData(data.train, data.train_by_item, backend=backend)
    valid = pairs_on(backend, data.valid)
    trainer = Trainer(ratings, PRESETS["default"].replace(**config, iterations=ITERATIONS), seed=0)
    spent = 0.0
    for _ in range(ITERATIONS):
        began = time.perf_counter()
        trainer.step()
        spent += time.perf_counter() - began
        report(
            valid_rmse=rmse(trainer.factors, *valid, backend), train_rmse=trainer.train_rmse(), seconds=spent
        )
    return spent


def with_ray(path: str, trials: int, at_once: int) -> list[float]:
    """Ray Tune: a function, Optuna's search, the stock MLflow logger, a process per trial."""
    os.environ.setdefault("RAY_CHDIR_TO_TRIAL_DIR", "0")
    import ray.tune as ray_tune
    from ray.air.integrations.mlflow import MLflowLoggerCallback
    from ray.tune.search.optuna import OptunaSearch

    def trainable(config: dict[str, Any]) -> None:
        train(
            RatingsDataset.open(path),
            Backend("numba", 1),
            config,
            lambda **figures: ray_tune.report(figures),
        )

    results = ray_tune.Tuner(
        ray_tune.with_resources(trainable, {"cpu": 1}),
        param_space={
            "factors": ray_tune.lograndint(8, 65),
            "regularization": ray_tune.loguniform(0.1, 2.0),
            "regularization_exponent": ray_tune.uniform(0.3, 0.8),
        },
        tune_config=ray_tune.TuneConfig(
            metric="valid_rmse",
            mode="min",
            num_samples=trials,
            max_concurrent_trials=at_once,
            search_alg=OptunaSearch(),
        ),
        run_config=ray_tune.RunConfig(
            storage_path=str(Path.cwd()),
            callbacks=[
                MLflowLoggerCallback(tracking_uri=os.environ["MLFLOW_TRACKING_URI"], experiment_name="peer")
            ],
            verbose=0,
        ),
    ).fit()
    return [float(result.metrics["seconds"]) for result in results]


def with_optuna(path: str, trials: int, _at_once: int) -> list[float]:
    """Optuna: one process, one trial after another on all processors, a run of MLflow for each."""
    import mlflow
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    mlflow.set_experiment("optuna")
    data, seconds = RatingsDataset.open(path), []

    def objective(trial: optuna.Trial) -> float:
        config = {
            "factors": trial.suggest_int("factors", 8, 64, log=True),
            "regularization": trial.suggest_float("regularization", 0.1, 2.0, log=True),
            "regularization_exponent": trial.suggest_float("regularization_exponent", 0.3, 0.8),
        }
        figures: list[dict[str, float]] = []
        with mlflow.start_run():
            mlflow.log_params(config)
            seconds.append(train(data, Backend("numba"), config, lambda **found: figures.append(found)))
            for step, found in enumerate(figures):
                mlflow.log_metrics(found, step=step)
        return figures[-1]["valid_rmse"]

    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, seed=0))
    study.optimize(objective, n_trials=trials)
    return seconds


if __name__ == "__main__":
    run = {"ray": with_ray, "optuna": with_optuna}[sys.argv[1]]
    print(*run(sys.argv[2], int(sys.argv[3]), int(sys.argv[4])), sep="\n")
