"""A study from its start to its end: made, run by Ray Tune or in this process, resumed, closed."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import json
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from toolkit.backends import Backend, keep_kernels_locally
from toolkit.config import GPU_BACKENDS
from toolkit.errors import StudyError
from toolkit.files import mask
from tune.executors.node_ratings import ratings_for_ray, trial_ratings
from tune.record.tracking import Tracking
from tune.search import starting_points
from tune.search.study_run import StudyRun
from tune.spec.search_spec import SearchSpec
from tune.study import CHANGEABLE, DatasetFacts, Study

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset
    from tune.study_progress import StudyProgress

Executor = Literal["ray", "in-process"]

# What a study's status is called in MLflow.
_RUN_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


def create_study(path: str | Path, data: RatingsDataset, spec: SearchSpec) -> Study:
    """Make the directory and the parent run of a new study.

    Raises
    ------
    StudyError
        When the name is taken, the dataset has no validation ratings, a start point is not to be found, or
        the MLflow store is not usable.
    """
    from tune.record.parent import start_parent

    if data.counts["valid"] == 0:
        raise StudyError(
            f"{data.where} has no validation ratings, and trials are judged by nothing else: "
            "ingest it again with --valid 0.1"
        )
    if spec.backend in GPU_BACKENDS and not os.environ.get("RAY_ADDRESS"):
        keep_kernels_locally()
        Backend.require(spec.backend)
    tracking = Tracking.from_environment()
    facts = DatasetFacts(dataset=data.where, digest=data.digest, counts=data.counts)
    start = starting_points.resolve(spec, data.digest, Study.open)
    # The directory first: of two that want the name, the second gets no run.
    study = Study.create(
        path,
        name=str(path).rpartition("/")[2],
        **facts,
        spec=spec.to_dict(),
        start=dataclasses.asdict(start),
        versions=_versions(),
        tracking_uri=tracking.shown,
        experiment=tracking.experiment,
    )
    with study.locked():
        try:
            start_parent(study, tracking)
        except BaseException:
            study.remove()
            raise
    return study


def require_same(study: Study, data: RatingsDataset, spec: SearchSpec) -> None:
    """Make sure that a study is the one that would be made: asked for once more, it goes on.

    Keys that may change between runs count as the same when they are as they were asked for at first, or as
    they are now. The number of trials is left to `Study.change`.

    Raises
    ------
    StudyError
        When it was asked for otherwise.
    """
    first, now, asked = study.asked_spec, study.facts["spec"], json.loads(json.dumps(spec.to_dict()))
    other = sorted(
        key
        for key in {*now, *asked} - {"trials"}
        if asked.get(key) not in ([first.get(key), now.get(key)] if key in CHANGEABLE else [now.get(key)])
    )
    if data.digest != study.facts["digest"]:
        other.insert(0, "dataset")
    if other:
        change = ", which can also change that" if set(other) <= set(CHANGEABLE) else ""
        raise StudyError(
            f"there is a study {study.reference} already, with another {', '.join(other)}: choose another "
            f"--name, or go on with it as it is by `walslab resume {study.reference}`{change}"
        )


def _versions() -> dict[str, str]:
    names = ("walslab", "numpy", "scipy", "numba", "ray", "optuna", "mlflow")
    found = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # run from a checkout
            found[name] = importlib.metadata.version(name)
    return found


def run_study(
    study: Study,
    data: RatingsDataset,
    *,
    executor: Executor = "ray",
    progress: StudyProgress | None = None,
) -> None:
    """Run a study's trials, or those that are still to run, and close its record.

    Parameters
    ----------
    study : Study
        As `create_study` made it, or as an earlier run left it.
    data : RatingsDataset
        Its dataset.
    executor : {"ray", "in-process"}, default "ray"
        Ray Tune, many trials at once; or one trial after another in this process, without Ray.
    progress : StudyProgress, optional
        Shows how the study goes.

    Raises
    ------
    StudyError
        When the dataset is not the study's, Ray or the MLflow store is not reachable, or the trials ask for
        more than there is. What ended until then is kept, and `run_study` goes on from there.
    """
    if data.digest != study.facts["digest"]:
        raise StudyError(
            f"study {study.name} was started on a dataset of digest {study.facts['digest']}, "
            f"but {data.where} has {data.digest}: give it that dataset, or start a new study"
        )
    with study.locked():
        _run_locked(study, data, executor, progress)


def _run_locked(
    study: Study, data: RatingsDataset, executor: Executor, progress: StudyProgress | None
) -> None:
    from tune.record.parent import reopen_parent
    from tune.record.recorder import MlflowRecord

    reopen_parent(study)
    record = MlflowRecord(study)
    if progress:
        progress.watch(record)
    study.update(status="running")
    listeners = (record, progress) if progress else (record,)
    status, unrecorded = "interrupted", 0
    try:
        run = StudyRun(study, 1, listeners)
        # Of a study that has nothing left to run, only the record is completed: Ray takes seconds to start.
        if executor == "ray" and not run.over:
            from tune.executors.ray_session import concurrency, connected

            if progress:
                progress.connecting(os.environ.get("RAY_ADDRESS"))
            with connected():
                # Imported only now: Ray reads its environment when it is.
                from tune.executors.on_ray import run_on_ray

                run = StudyRun(study, concurrency(study.spec), listeners)
                status = _execute(study, run, partial(run_on_ray, run, ratings_for_ray(data)), progress)
        else:
            from tune.executors.in_process import run_in_process

            def execute() -> None:
                # Only now are the ratings read: of a study that is through, they may not even fit here.
                if not run.over:
                    run_in_process(run, trial_ratings(data))

            status = _execute(study, run, execute, progress)
    finally:
        if study.location.taken_over:
            # The other process records what it does, in the same runs.
            record.abandon()
        unrecorded = record.close()
        if not study.location.taken_over:
            study.update(status=status)
            _close(study, _RUN_STATUS[status], unrecorded, record.problem)


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Have SIGTERM, by which job servers and Kubernetes end a process, end a study as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


def _execute(
    study: Study,
    run: StudyRun,
    execute: Callable[[], None],
    progress: StudyProgress | None,
) -> str:
    if progress:
        progress.begin(run)
    try:
        with _ended_by_sigterm():
            execute()
    finally:
        run.close()
        if progress:
            progress.end()
        study.update(seconds=run.seconds)
    if run.problem:
        reason = str(run.problem).strip() or repr(run.problem)
        raise StudyError(
            f"study {study.name} stopped: {reason}; what ended is kept, go on with "
            f"`walslab resume {study.reference}`"
        ) from run.problem
    return run.outcome


def _close(study: Study, run_status: str, unrecorded: int, problem: str | None) -> None:
    """Close the parent run; where the store does not take that, say so only of a study that went well."""
    from tune.record.parent import finish_parent

    try:
        if not unrecorded:
            finish_parent(study, run_status)
            return
    except Exception as error:  # noqa: BLE001 - whatever the store objects to
        problem = mask(str(error))
    if run_status == "FINISHED":
        missing = f"{unrecorded} of its trials are" if unrecorded else "its summary is"
        raise StudyError(
            f"study {study.name} is finished, but {missing} not yet in MLflow: {problem}; they are kept, and "
            f"`walslab resume {study.reference}` writes them once the store answers"
        )
