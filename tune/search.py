"""The search: Ray Tune drives trials, Optuna proposes them, successive halving stops the hopeless."""

from __future__ import annotations

import logging
import os
import shutil
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.backend import Backend
from toolkit.errors import StudyError
from tune.ray_session import concurrency, connected
from tune.spec import SearchSpec
from tune.study import Study
from tune.tracking import DatasetFacts, Tracking

if TYPE_CHECKING:
    from ray.tune import Callback

    from toolkit.dataset import RatingsDataset

# What a study's status is called in MLflow.
_RUN_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


def create_study(path: Path, data: RatingsDataset, spec: SearchSpec) -> Study:
    """Make the directory and the parent run of a new study.

    Raises
    ------
    StudyError
        When the name is taken, the dataset has no validation ratings, or the MLflow store is not usable.
    """
    from tune.record import start_parent

    if data.valid.nnz == 0:
        raise StudyError(
            f"{data.path} has no validation ratings, and trials are judged by nothing else: "
            "ingest it again with --valid 0.1"
        )
    if spec.backend == "cupy" and not os.environ.get("RAY_ADDRESS"):
        Backend.require("cupy")
    tracking = Tracking.from_environment()
    facts = DatasetFacts(dataset=str(data.path.resolve()), digest=data.digest, counts=data.counts)
    # The directory first: of two that want the name, the second gets no run.
    study = Study.create(
        path,
        name=path.name,
        **facts,
        spec=spec.to_dict(),
        tracking_uri=tracking.shown,
        experiment=tracking.experiment,
        seconds=0.0,
    )
    try:
        experiment_id, run_id = start_parent(tracking, path.name, spec.to_dict(), facts)
    except BaseException:
        shutil.rmtree(path)
        raise
    study.update(experiment_id=experiment_id, parent_run_id=run_id)
    return study


def run_study(study: Study, data: RatingsDataset, *, progress: Callback | None = None) -> None:
    """Run a study's trials, or those that are still to run, and close its record.

    Parameters
    ----------
    study : Study
        As `create_study` made it, or as an interrupted run left it.
    data : RatingsDataset
        Its dataset.
    progress : ray.tune.Callback, optional
        Told of the study as it goes.

    Raises
    ------
    StudyError
        When the dataset is not the study's, Ray is not reachable, or the trials ask for more than it has.
    """
    if data.digest != study.facts["digest"]:
        raise StudyError(
            f"study {study.name} was started on a dataset of digest {study.facts['digest']}, "
            f"but {data.path} has {data.digest}: give it that dataset, or start a new study"
        )
    with study.locked():
        _run_locked(study, data, progress)


def _run_locked(study: Study, data: RatingsDataset, progress: Callback | None) -> None:
    from tune.record import reopen_parent

    reopen_parent(study)
    study.update(status="running")
    began = time.monotonic()
    status = "interrupted"
    try:
        with connected():
            _tuner(study, data, [progress] if progress else []).fit()
        trials = study.trials()
        if len(trials) >= study.spec.trials:
            status = "finished" if any(t["status"] == "FINISHED" for t in trials) else "failed"
    except StudyError:
        status = "failed"
        raise
    except Exception as error:
        status = "failed"
        # Ray wraps what a callback raises in the text of its traceback; the last line says what it was.
        reason = (str(error).strip() or repr(error)).splitlines()[-1]
        raise StudyError(
            f"study {study.name} stopped: {reason}; what finished is kept, "
            f"go on with `walslab resume {study.shown}`"
        ) from error
    finally:
        study.update(status=status, seconds=study.facts["seconds"] + time.monotonic() - began)
        _close(study, _RUN_STATUS[status])


def _close(study: Study, run_status: str) -> None:
    """Close the parent run, unless the store is what failed: that must not hide what happened before."""
    from tune.record import finish_parent

    try:
        finish_parent(study, run_status)
    except Exception as error:
        if run_status == "FINISHED":
            raise StudyError(
                f"study {study.name} is finished, but its parent run is not closed in MLflow: {error}; "
                f"`walslab resume {study.shown}` closes it"
            ) from error


def _tuner(study: Study, data: RatingsDataset, callbacks: list[Any]) -> Any:
    import optuna
    import ray.tune as ray_tune
    from ray.tune.schedulers import AsyncHyperBandScheduler
    from ray.tune.search.optuna import OptunaSearch

    from tune.record import MlflowRecord
    from tune.trial import TrialRatings, WALSTrial

    spec = study.spec
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)
    # A trial that starts again after a kill reports the same values once more.
    warnings.filterwarnings("ignore", message="The reported value is ignored", category=UserWarning)
    # Failed trials are reported by the record, in a line each, and their tracebacks are kept with their runs.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    at_once = concurrency(spec)
    ratings: TrialRatings = {"train": data.train, "train_by_item": data.train_by_item, "valid": data.valid}
    trainable = ray_tune.with_resources(
        ray_tune.with_parameters(WALSTrial, ratings=ratings, spec=spec), {"cpu": spec.cpu, "gpu": spec.gpu}
    )
    state = study.path / "ray"
    record = MlflowRecord(study)
    run_config = ray_tune.RunConfig(
        name="ray",
        storage_path=str(study.path),
        callbacks=[record, *callbacks],
        checkpoint_config=ray_tune.CheckpointConfig(num_to_keep=1, checkpoint_at_end=True),
        failure_config=ray_tune.FailureConfig(max_failures=0),
        verbose=0,
    )
    if ray_tune.Tuner.can_restore(str(state)):
        return ray_tune.Tuner.restore(
            str(state), trainable=trainable, resume_unfinished=True, param_space=spec.param_space
        )
    if spec.sampler == "random":
        sampler: Any = optuna.samplers.RandomSampler(seed=spec.seed)
    else:
        sampler = optuna.samplers.TPESampler(
            seed=spec.seed,
            multivariate=True,
            constant_liar=at_once > 1,
            n_startup_trials=spec.startup_trials,
        )
    scheduler = None
    # With fewer iterations than the grace period there is nothing to stop.
    if spec.early_stopping and spec.early_stopping.grace_iterations < spec.max_iterations:
        scheduler = AsyncHyperBandScheduler(
            time_attr="training_iteration",
            max_t=spec.max_iterations,
            grace_period=spec.early_stopping.grace_iterations,
            reduction_factor=spec.early_stopping.reduction_factor,
        )
    return ray_tune.Tuner(
        trainable,
        param_space=spec.param_space,
        tune_config=ray_tune.TuneConfig(
            metric=spec.metric.key,
            mode=spec.metric.mode,
            num_samples=spec.trials,
            max_concurrent_trials=at_once,
            reuse_actors=True,
            search_alg=OptunaSearch(sampler=sampler),
            scheduler=scheduler,
        ),
        run_config=run_config,
    )
