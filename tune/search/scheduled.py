"""Lets a scheduler of Ray Tune's decide who goes on. It runs in this process, and needs no running Ray."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.errors import StudyError
from tune.spec import OwnScheduler

if TYPE_CHECKING:
    from tune.spec import SearchMetric
    from tune.study import TrialResult


@dataclass(eq=False)
class _Trial:
    """What a scheduler sees of a trial; schedulers use it as a key."""

    trial_id: str
    status: str = "RUNNING"
    last_result: dict[str, Any] = field(default_factory=dict)


class Scheduled:
    """Tells a scheduler what Ray Tune would tell it, in the same order, and takes its verdicts.

    It is told each iteration of a trial once. A trial that begins again, because its process died, goes on
    without a verdict until it has caught up.

    Parameters
    ----------
    scheduler : OwnScheduler
    metric : SearchMetric
    max_iterations : int
        Where every trial ends.

    Attributes
    ----------
    rungs : range
        Iterations after which a verdict is due: every one.

    Raises
    ------
    StudyError
        When the scheduler cannot be made here.
    """

    name = "scheduler"

    def __init__(self, scheduler: OwnScheduler, metric: SearchMetric, max_iterations: int) -> None:
        if problems := list(scheduler.problems(metric, max_iterations)):
            raise StudyError("; ".join(f"early_stopping{problem}" for problem in problems))
        self.rungs = range(1, max_iterations)
        self._path, self._metric = scheduler.path, metric
        self._scheduler = scheduler.make(metric, max_iterations)
        self._running: dict[str, _Trial] = {}

    def verdict(self, trial: str, iterations: int, loss: float) -> bool:
        """Tell whether a trial is stopped after so many iterations.

        Raises
        ------
        StudyError
            When the scheduler fails, or asks for something else than to go on or to stop.
        """
        known = self._known(trial)
        if iterations <= known.last_result.get("training_iteration", 0):
            return False
        result = self._result(known, iterations, loss)
        answer = str(self._tell("on_trial_result", known, result))
        known.last_result = result
        if answer not in {"CONTINUE", "STOP"}:
            raise StudyError(
                f"scheduler {self._path} answers {answer:.40} on {trial}, but trials of a study only go on "
                "or stop: run tune.WALSTrainable in a Tuner of your own for it"
            )
        return answer == "STOP"

    def end(self, trial: str, iterations: int, loss: float | None) -> None:
        """Tell that a trial ended after so many iterations; its loss is None where it failed.

        Raises
        ------
        StudyError
            When the scheduler fails.
        """
        known = self._known(trial)
        if loss is None:
            known.status = "ERROR"
            self._tell("on_trial_error", known)
        else:
            self._tell("on_trial_complete", known, self._result(known, iterations, loss))
            known.status = "TERMINATED"
        del self._running[trial]

    def recall(self, trial: str, losses: Sequence[float], result: TrialResult | None = None) -> None:
        """Tell of the iterations of an earlier run, whose verdicts stand, and of the trial's end.

        Raises
        ------
        StudyError
            When the scheduler fails.
        """
        # Nobody judged the last iteration of a trial that came to its end.
        through = result and result["status"] == "FINISHED" and result["stopped"] != self.name
        for iteration, loss in enumerate(losses[:-1] if through else losses, 1):
            if math.isfinite(loss):  # a trial fails with another loss, and has no verdict on it
                self.verdict(trial, iteration, loss)
        if result:
            failed = result["status"] == "FAILED" or not losses
            self.end(trial, len(losses), None if failed else losses[-1])

    # What schedulers ask Ray Tune's controller for.

    def get_trials(self) -> list[_Trial]:
        """Return the trials that have not ended."""
        return list(self._running.values())

    get_live_trials = get_trials

    def _known(self, trial: str) -> _Trial:
        if trial not in self._running:
            self._running[trial] = _Trial(trial)
            self._tell("on_trial_add", self._running[trial])
        return self._running[trial]

    def _result(self, trial: _Trial, iterations: int, loss: float) -> dict[str, Any]:
        value = -loss if self._metric.mode == "max" else loss
        return {"trial_id": trial.trial_id, "training_iteration": iterations, self._metric.key: value}

    def _tell(self, method: str, trial: _Trial, *result: dict[str, Any]) -> object:
        try:
            return getattr(self._scheduler, method)(self, trial, *result)
        except Exception as error:
            raise StudyError(
                f"scheduler {self._path} failed on {trial.trial_id} ({type(error).__name__}: {error})"
            ) from error
