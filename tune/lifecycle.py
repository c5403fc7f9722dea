"""Create a study, run its trials by Ray Tune or in this process, resume it, and close its record."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.metadata
import os
import platform
import signal
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from toolkit.backends import Backend, keep_kernels_locally
from toolkit.config import GPU_BACKENDS
from toolkit.errors import StudyError
from toolkit.files import process_settings, uncollected
from toolkit.inputs import checked_path, checked_type, checked_word
from toolkit.progress_bars import bars_are_wanted
from tune.executors import choose_executor, ratings_for_ray, require_valid, started_ahead, trial_ratings
from tune.record import Tracking, first_line
from tune.search import StudyRun, resolve
from tune.spec import SearchSpec
from tune.study import CHANGEABLE, Study, facts_of_dataset

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset
    from tune.study_progress import StudyProgress

Executor = Literal["auto", "ray", "in-process"]

# MLflow's word for each status of a study.
_RUN_STATUS = {"finished": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


@process_settings()
def create_study(path: str | Path, data: RatingsDataset, spec: SearchSpec) -> Study:
    """Make the directory and the parent run of a new study.

    Parameters
    ----------
    path : str or Path
        Directory of the study, or its address in an object store.
    data : RatingsDataset
        The dataset to search on.
    spec : SearchSpec
        What to search.

    Raises
    ------
    ConfigError
        When an argument is of another class.
    StudyError
        When the name is taken, the dataset has no validation ratings, a start point does not exist, or the
        MLflow store is not usable.
    """
    from toolkit.datasets import RatingsDataset
    from tune.record import start_parent

    checked_path("path", path)
    checked_type("data", data, RatingsDataset, "what RatingsDataset.open returns")
    checked_type("spec", spec, SearchSpec, "what SearchSpec.load returns")
    require_valid(data)
    if spec.backend in GPU_BACKENDS and not os.environ.get("RAY_ADDRESS"):
        keep_kernels_locally()
        Backend.require(spec.backend)
    tracking = Tracking.from_environment()
    facts = facts_of_dataset(data)
    start = resolve(spec, data.digest, Study.open)
    # The directory first: of two processes that want the name, the second makes no run.
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
    """Make sure that an existing study was created with the same words, so that it can go on.

    Keys that may change between runs count as the same when they are as they were asked for at first, or as
    they are now. The number of trials is left to `Study.change`.

    Raises
    ------
    StudyError
        When its dataset or its specification is another.
    """
    # A study that is older than a key has its default.
    first = SearchSpec.from_dict(study.asked_spec, source=study.where, stored=True).to_dict()
    now, asked = study.spec.to_dict(), spec.to_dict()
    other = sorted(
        key
        for key in asked.keys() - {"trials"}
        if asked[key] not in ([first[key], now[key]] if key in CHANGEABLE else [now[key]])
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
    versions = {"python": platform.python_version()}
    for name in names:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # run from a checkout
            versions[name] = importlib.metadata.version(name)
    return versions


@process_settings()
def run_study(
    study: Study,
    data: RatingsDataset,
    *,
    executor: Executor = "ray",
    progress: bool | StudyProgress | None = None,
) -> None:
    """Run the trials that a study still has to run, and close its record.

    Variables of the environment, log levels and signal handlers are afterwards what they were before. The
    ``posterior`` of a specification is for the commands; here, it is ``refit_best(..., posterior=200)``.

    Parameters
    ----------
    study : Study
        A study that `create_study` made, or that an earlier run left.
    data : RatingsDataset
        The dataset of the study.
    executor : {"auto", "ray", "in-process"}, default "auto"
        Ray Tune, many trials at once; or one trial after another in this process, without Ray. ``auto``
        takes Ray where RAY_ADDRESS is set, or the specification asks for trials at once, resources or GPUs,
        and otherwise what ends sooner.
    progress : bool or StudyProgress, optional
        Whether how the study goes is shown: by a bar in a notebook, by a table on a terminal, else by a line
        for each trial. By default it is, where somebody sees it: in a notebook, or on a terminal.

    Raises
    ------
    ConfigError
        When an argument is of another class, or there is no such executor.
    StudyError
        When the dataset is not the study's, Ray or the MLflow store is not reachable, somebody deleted the
        study's run in MLflow, or the trials ask for more than the machines have. Trials that ended until then
        are kept, and `run_study` goes on from there.
    """
    from toolkit.datasets import RatingsDataset
    from tune.study_progress import StudyProgress

    checked_type("study", study, Study, "what create_study or Study.open returns")
    checked_type("data", data, RatingsDataset, "what RatingsDataset.open returns")
    checked_word("executor", executor, get_args(Executor))
    if not isinstance(progress, StudyProgress):
        progress = StudyProgress() if bars_are_wanted(progress) else None
    if data.digest != study.facts["digest"]:
        raise StudyError(
            f"study {study.name} was started on a dataset of digest {study.facts['digest']}, "
            f"but {data.where} has {data.digest}: give it that dataset, or start a new study"
        )
    # Ray takes a second to stop, and does so after the table and the report.
    with study.locked(), contextlib.ExitStack() as later:
        _run_locked(study, data, executor, progress, later)


def _run_locked(
    study: Study,
    data: RatingsDataset,
    executor: Executor,
    progress: StudyProgress | None,
    later: contextlib.ExitStack,
) -> None:
    from tune.record import MlflowRecord, reopen_parent

    reopen_parent(study)
    record = MlflowRecord(study)
    if progress:
        progress.watch(record)
    study.update(status="running")
    listeners = (record, progress) if progress else (record,)
    status, unrecorded, ended = "interrupted", 0, False
    try:
        run = StudyRun(study, 1, listeners)
        # A study that has nothing left to run only completes its record: Ray takes seconds to start.
        if not run.over and _chosen(executor, study, data, progress) == "ray":
            from tune.executors import concurrency, connected

            if progress:
                progress.connecting(os.environ.get("RAY_ADDRESS"))
            with connected(later):
                # Imported only now: Ray reads its environment when it is.
                with uncollected():
                    from tune.executors import run_on_ray

                run = StudyRun(study, concurrency(study.spec), listeners)
                status = _execute(study, run, partial(run_on_ray, run, ratings_for_ray(data)), progress)
        else:
            from tune.executors import run_in_process

            def execute() -> None:
                # A study with nothing left to run must not read its ratings: they may not even fit here.
                if not run.over:
                    run_in_process(run, trial_ratings(data))

            status = _execute(study, run, execute, progress)
        ended = True
    finally:
        if study.location.taken_over:
            # The process that took the study over writes to the same runs.
            record.abandon()
        unrecorded = record.close()
        if not study.location.taken_over:
            study.update(status=status)
            if progress and ended:
                progress.closing()
            _close(study, _RUN_STATUS[status], unrecorded, record.problem)


def _chosen(
    executor: Executor, study: Study, data: RatingsDataset, progress: StudyProgress | None
) -> Executor:
    """Return where the trials of a study run that it still has to run."""
    if executor != "auto":
        return executor
    choice = choose_executor(study.spec, data.counts, study.spec.trials - len(study.trials()))
    if progress and choice.reason:
        progress.note(choice.reason)
    return choice.executor


@contextlib.contextmanager
def ray_started_ahead(executor: Executor, data: RatingsDataset, spec: SearchSpec) -> Iterator[None]:
    """Start Ray beside the making of a new study, where the study's trials will run on it.

    Parameters
    ----------
    executor, data : as for `run_study`
    spec : SearchSpec
        What will be searched.
    """
    if executor == "auto":
        executor = choose_executor(spec, data.counts, spec.trials).executor
    with (
        process_settings(),
        _ended_by_sigterm(),
        started_ahead() if executor == "ray" else contextlib.nullcontext(),
    ):
        yield


@contextlib.contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM end a study as Ctrl-C does: job servers and Kubernetes send it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(*_: object) -> None:
        # A command that a script starts with & ignores Ctrl-C, and is to end by SIGTERM all the same.
        if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    before = signal.signal(signal.SIGTERM, end)
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
    """Close the parent run. An error of the store is raised only where the study itself went well."""
    from tune.record import finish_parent

    try:
        if not unrecorded:
            finish_parent(study, run_status)
            return
    except Exception as error:  # noqa: BLE001 - whatever the store objects to
        problem = first_line(error)
    if run_status == "FINISHED":
        missing = f"{unrecorded} of its trials are" if unrecorded else "its summary is"
        raise StudyError(
            f"study {study.name} is finished, but {missing} not yet in MLflow: {problem}; they are kept, and "
            f"`walslab resume {study.reference}` writes them once the store answers"
        )
