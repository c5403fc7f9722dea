"""Trials as Ray Tune runs them: many at once, in processes that are kept, on one machine or on a cluster.

Ray Tune places, starts and watches the processes. What to try, who goes on and what is kept is the business
of `tune.search.study_run`, to which the searcher, the scheduler, the stopper and the callback of this file
hand everything on. So Ray's own snapshots, checkpoints and retries are off: a study is resumed by its
journal.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.tune as ray_tune
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from toolkit.errors import StudyError
from tune.executors.node_ratings import RatingsAt
from tune.executors.ray_session import may_grow_to, room
from tune.executors.trial_worker import TrialWorker, explain
from tune.search.segment import Segment

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from tune.executors.trial_worker import TrialRatings
    from tune.search.segment import TrialSettings
    from tune.search.study_run import StudyRun

# How long a study waits for a node that can run a trial while there is none, in seconds: where a node has to
# come back, and where an autoscaler has to start one.
_PATIENCE, _GROWING = 60.0, 1200.0
_SEGMENT, _NAME, _CONFIG = "segment", "trial", "config"


class WALSTrial(ray_tune.Trainable):  # type: ignore[misc]
    """A `TrialWorker` in a process of Ray's.

    `setup` runs once per process, so that the ratings are laid out (and are on the device) once; from then on
    Ray hands it one configuration after another through `reset_config`.
    """

    def setup(
        self,
        config: dict[str, Any],
        ratings: TrialRatings | RatingsAt,
        settings: TrialSettings,
        worker: type[TrialWorker],
    ) -> None:
        """Lay the ratings out, which come mapped from the object store of the node."""
        self._worker: TrialWorker | Segment
        try:
            self._worker = worker(ratings.here() if isinstance(ratings, RatingsAt) else ratings, settings)
        except Exception as error:  # noqa: BLE001 - Ray would start a process again and again that cannot work
            self._worker = Segment({}, done=True, fatal=True, reason=explain(error))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        if isinstance(self._worker, TrialWorker):
            self._worker.begin(new_config[_CONFIG])
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while; whether the trial goes on is the driver's to say."""
        worker = self._worker
        return {_SEGMENT: worker.advance() if isinstance(worker, TrialWorker) else worker}


class _OfThisProcess:
    """What Ray Tune copies and writes down, to restore it some day, and what is of no use there."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Proposals(_OfThisProcess, Searcher):  # type: ignore[misc]
    """Hands Ray Tune the trials of a study."""

    def __init__(self, run: StudyRun, names: dict[str, str]) -> None:
        super().__init__()
        self._run, self._names = run, names

    def suggest(self, trial_id: str) -> Any:
        """Return a configuration, None for not now, or that there will be no more."""
        if self._run.over:
            return Searcher.FINISHED
        trial = self._run.next()
        if trial is None:
            return None
        self._names[trial_id] = trial.trial
        return {_NAME: trial.trial, _CONFIG: trial.config}

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's
        """Nothing: the study knows already."""

    def save(self, checkpoint_path: str) -> None:
        """Nothing: the journal is kept."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing: never asked for."""


class _Verdicts(_OfThisProcess, FIFOScheduler):  # type: ignore[misc]
    """Tells Ray Tune which trials go on."""

    def __init__(self, run: StudyRun, names: dict[str, str]) -> None:
        super().__init__()
        self._run, self._names = run, names

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Choose none: trials run in their order.

        Ray would give a process that is free to the trial chosen, and end the one that is starting for it:
        with short trials, processes are ended as fast as they start.
        """

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Hand a segment on."""
        try:
            goes_on = self._run.report(self._names[trial.trial_id], result[_SEGMENT])
        except Exception as error:  # noqa: BLE001 - Ray would take it for the trial's; it is the study's
            self._run.problem = self._run.problem or error
            goes_on = False
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Losses(_OfThisProcess, ray_tune.Callback):  # type: ignore[misc]
    """Hears of processes that died, and frees what a result carries."""

    def __init__(self, run: StudyRun, names: dict[str, str]) -> None:
        self._run, self._names = run, names

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Let go of the factors, which Ray would hold to the end."""
        result.pop(_SEGMENT, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Give a trial back whose process died: what it raises itself is in its segments."""
        error = trial.get_pickled_error()
        self._run.lost(self._names[trial.trial_id], "unknown" if error is None else explain(error))


class _End(_OfThisProcess, ray_tune.Stopper):  # type: ignore[misc]
    """Ends Ray Tune's loop when the study is over, or cannot go on."""

    def __init__(self, run: StudyRun) -> None:
        self._run = run
        self._looked = self._had_room = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single trial."""
        return False

    def stop_all(self) -> bool:
        """Tell whether to stop."""
        now = time.monotonic()
        if now - self._looked > 1.0:
            self._looked = now
            if room(self._run.spec):
                self._had_room = now
                return bool(self._run.over)
            patience = _GROWING if may_grow_to(self._run.spec) else _PATIENCE
            if now - self._had_room > patience:
                self._run.problem = self._run.problem or StudyError(
                    f"for {patience:.0f} s no node of the cluster could run a trial: bring the nodes back "
                    "that were lost, or see why none is started, then resume the study"
                )
        return bool(self._run.over)


def run_on_ray(
    run: StudyRun, ratings: TrialRatings | RatingsAt, *, worker: type[TrialWorker] = TrialWorker
) -> None:
    """Run a study's trials on the Ray that this process is connected to until it is over.

    Ctrl-C leaves it interrupted.

    Parameters
    ----------
    run : StudyRun
        What to run.
    ratings : TrialRatings or RatingsAt
        Put into Ray's object store once, or read by each node; each has one copy, which its processes map.
    worker : type, default TrialWorker
        What trains.
    """
    spec = run.spec
    # Failed trials are reported by the record, in a line each, and their tracebacks are kept with their runs.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(run.concurrency)
    # Ray Tune would give its processes these of ours by their runtime environment, which Ray writes to its
    # logs and shows in the process list.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    )
    trainable = ray_tune.with_resources(
        ray_tune.with_parameters(WALSTrial, ratings=ratings, settings=run.settings, worker=worker),
        {"cpu": spec.cpu, "gpu": spec.gpu},
    )
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="walslab-ray-", ignore_cleanup_errors=True) as scratch:
        ray_tune.Tuner(
            trainable,
            tune_config=ray_tune.TuneConfig(
                num_samples=-1,
                max_concurrent_trials=run.concurrency,
                reuse_actors=True,
                search_alg=_Proposals(run, names),
                scheduler=_Verdicts(run, names),
                trial_dirname_creator=lambda trial: trial.trial_id,
            ),
            run_config=ray_tune.RunConfig(
                name="trials",
                storage_path=str(Path(scratch).resolve()),
                callbacks=[_Losses(run, names)],
                stop=_End(run),
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=ray_tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        ).fit()
    # Ray Tune returns on Ctrl-C as if all were well.
    run.interrupted = run.interrupted or not (run.over or run.problem)
