"""Runs the trials of a study on Ray Tune: many at once, on one machine or on a cluster.

Ray Tune places, starts and watches the processes. `tune.search.study_run` decides what to try, who goes on
and what is kept; the searcher, the scheduler, the stopper and the callback of this file ask it. The journal
resumes a study, so Ray's own snapshots, checkpoints and retries are off.
"""

from __future__ import annotations

import logging
import os
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import ray
import ray.tune as ray_tune
from ray.exceptions import RayError
from ray.tune.execution import class_cache
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from toolkit.errors import StudyError
from tune.executors.node_ratings import RatingsAt
from tune.executors.ray_session import may_grow_to, room
from tune.executors.trial_worker import TrialWorker, explain
from tune.search import Segment

if TYPE_CHECKING:
    from ray.tune.experiment import Trial

    from tune.executors.laid_out import TrialRatings
    from tune.search import Checkpoint, StudyRun, TrialSettings

# How long a study waits for a node that can run a trial while there is none, in seconds: where a node has to
# come back, and where an autoscaler has to start one.
_PATIENCE, _GROWING = 60.0, 1200.0
_SEGMENT, _NAME, _CONFIG, _TO_BEAT, _CHECKPOINT = "segment", "trial", "config", "to_beat", "checkpoint"
_WITH_BASELINES = "with_baselines"


class WALSTrial(ray_tune.Trainable):  # type: ignore[misc]
    """A process of Ray's that holds a `TrialWorker`.

    Ray calls `setup` once in a process, so that the ratings are laid out once. It then gives the process one
    configuration after another through `reset_config`.
    """

    def setup(
        self,
        config: dict[str, Any],
        ratings: TrialRatings | RatingsAt,
        settings: TrialSettings,
        worker: type[TrialWorker],
    ) -> None:
        """Lay the ratings out, which are mapped from the object store of the node, and begin a trial."""
        self._worker: TrialWorker | Segment
        try:
            self._worker = worker(ratings.here() if isinstance(ratings, RatingsAt) else ratings, settings)
        except Exception as error:  # noqa: BLE001 - Ray would start a process again and again that cannot work
            self._worker = Segment({}, done=True, fatal=True, reason=explain(error))
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Begin another trial in the same process."""
        if isinstance(self._worker, TrialWorker):
            kept = new_config.get(_CHECKPOINT)
            self._worker.begin(
                new_config[_CONFIG],
                to_beat=new_config[_TO_BEAT],
                checkpoint=kept.checkpoint() if kept else None,
                with_baselines=new_config[_WITH_BASELINES],
            )
        return True

    def step(self) -> dict[str, Any]:
        """Train for a while; the driver decides whether the trial goes on."""
        worker = self._worker
        return {_SEGMENT: worker.advance() if isinstance(worker, TrialWorker) else worker}


class _StoredCheckpoint:
    """A checkpoint in Ray's object store; a copy of this object refers to the same checkpoint."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._reference = ray.put(checkpoint)

    def checkpoint(self) -> Checkpoint:
        """Return the checkpoint, its arrays mapped from the object store."""
        checkpoint: Checkpoint = ray.get(self._reference)
        return checkpoint

    def __deepcopy__(self, memo: dict[int, Any]) -> _StoredCheckpoint:
        return self


class _NotCopied:
    """Makes Ray Tune share an object that it would copy, and write an empty object into its snapshots."""

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return self

    def __getstate__(self) -> dict[str, Any]:
        return {}


class _Proposals(_NotCopied, Searcher):  # type: ignore[misc]
    """Hands Ray Tune the trials of a study."""

    def __init__(self, run: StudyRun, names: dict[str, str]) -> None:
        super().__init__()
        self._run, self._names = run, names

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next trial, None where there is none now, or that no more will come."""
        if self._run.over:
            return str(Searcher.FINISHED)
        trial = self._run.next()
        if trial is None:
            return None
        self._names[trial_id] = trial.trial
        config = {
            _NAME: trial.trial,
            _CONFIG: trial.config,
            _TO_BEAT: trial.to_beat,
            _WITH_BASELINES: self._run.baselines is None,
        }
        if trial.checkpoint:
            config[_CHECKPOINT] = _StoredCheckpoint(trial.checkpoint)
        return config

    def on_trial_complete(self, trial_id: str, result: Any = None, error: bool = False) -> None:  # noqa: FBT001, FBT002 - Ray's
        """Do nothing, because the scheduler has reported the trial already."""

    def save(self, checkpoint_path: str) -> None:
        """Write no file, because the journal of the study holds its state."""

    def restore(self, checkpoint_path: str) -> None:
        """Read no file, because `StudyRun` reads the journal."""


class _Verdicts(_NotCopied, FIFOScheduler):  # type: ignore[misc]
    """Tells Ray Tune which trials go on."""

    def __init__(self, run: StudyRun, names: dict[str, str]) -> None:
        super().__init__()
        self._run, self._names = run, names

    def choose_trial_to_run(self, tune_controller: Any) -> None:
        """Return None, so that trials run in their order.

        Ray would give a free process to the chosen trial, and end the process that is starting for it. With
        short trials it would end processes as fast as they start.
        """

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: dict[str, Any]) -> str:
        """Report a segment to the study, and return its verdict."""
        try:
            goes_on = self._run.report(self._names[trial.trial_id], result[_SEGMENT])
        except Exception as error:  # noqa: BLE001 - Ray would take it for the trial's; it is the study's
            self._run.problem = self._run.problem or error
            goes_on = False
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)


class _Watcher(_NotCopied, ray_tune.Callback):  # type: ignore[misc]
    """Reports processes that died, and frees the arrays that Ray Tune would hold to the end."""

    def __init__(self, run: StudyRun, names: dict[str, str]) -> None:
        self._run, self._names = run, names

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Drop the factors of the result, and the checkpoint that the trial began with."""
        result.pop(_SEGMENT, None)
        trial.config.pop(_CHECKPOINT, None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Report a process that died; an error that the trial itself raises comes in its segments."""
        error = trial.get_pickled_error()
        self._run.lost(self._names[trial.trial_id], "unknown" if error is None else explain(error))


class _End(_NotCopied, ray_tune.Stopper):  # type: ignore[misc]
    """Ends Ray Tune's loop when the study is over, or cannot go on."""

    def __init__(self, run: StudyRun) -> None:
        self._run = run
        self._looked = self._had_room = time.monotonic()

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return False, because the scheduler stops single trials."""
        return False

    def stop_all(self) -> bool:
        """Tell whether the study is over, and stop it where no node has had room for a minute or more."""
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
        The study.
    ratings : TrialRatings or RatingsAt
        Ratings that this process puts into Ray's object store once, or their address, which each node reads
        once. The processes of a node map one copy.
    worker : type, default TrialWorker
        The class that trains.
    """
    spec = run.spec
    # The record reports each failed trial in a line, and keeps its traceback with its run.
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(run.concurrency)
    # Ray Tune would pass our AWS variables to its processes through their runtime environment, which Ray
    # writes to its logs and shows in the process list.
    class_cache.ENV_VARS_TO_PROPAGATE.difference_update(
        {name for name in class_cache.ENV_VARS_TO_PROPAGATE if name.startswith("AWS_")}
    )
    trainable = ray_tune.with_resources(
        ray_tune.with_parameters(WALSTrial, ratings=ratings, settings=run.settings, worker=worker),
        {"cpu": spec.cpu, "gpu": spec.gpu},
    )
    names: dict[str, str] = {}
    with tempfile.TemporaryDirectory(prefix="walslab-ray-", ignore_cleanup_errors=True) as scratch:
        tuner = ray_tune.Tuner(
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
                callbacks=[_Watcher(run, names)],
                stop=_End(run),
                checkpoint_config=ray_tune.CheckpointConfig(checkpoint_at_end=False),
                failure_config=ray_tune.FailureConfig(max_failures=0),
                verbose=0,
            ),
        )
        try:
            tuner.fit()
        except (RayError, ray_tune.TuneError) as error:
            reason = next(iter(str(error).strip().splitlines()), repr(error))
            run.problem = run.problem or StudyError(f"Ray gave up: {reason}; see that its nodes are up")
    # Ray Tune returns on Ctrl-C as if all were well.
    run.interrupted = run.interrupted or not (run.over or run.problem)
