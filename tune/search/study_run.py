"""One run of a study: hands out trials, takes their figures, decides who goes on, and keeps what ended.

It knows neither Ray nor MLflow. An executor asks for trials and reports their segments, so that Ray Tune, a
plain loop and a simulation lead to the same study.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.errors import StudyError
from tune.search.budget import Budget, covered_seconds
from tune.search.clock import Clock
from tune.search.keeper import Keeper
from tune.search.proposer import Proposer, Sampler
from tune.search.running_trial import RunningTrial
from tune.search.segment import Segment, TrialSettings
from tune.search.stopping_rule import stopping_rule
from tune.search.study_store import StudyStore
from tune.study import TrialResult, loss

if TYPE_CHECKING:
    from tune.spec import SearchSpec

# How often a trial is begun whose process dies under it.
_ATTEMPTS = 3


class Listener(Protocol):
    """Hears how a study goes, as the record in MLflow and the lines on a terminal do."""

    def advanced(self, run: StudyRun, trial: RunningTrial) -> None:
        """Hear that a trial did iterations."""

    def ended(self, run: StudyRun, result: TrialResult) -> None:
        """Hear that a trial ended and is kept; the thread that writes calls this."""


class StudyRun:
    """One run of a study, from where the last one left it.

    Parameters
    ----------
    study : StudyStore
        A `tune.study.study.Study`, or a study in memory.
    concurrency : int
        How many trials run at once at most.
    listeners : tuple of Listener
        Called when a trial advances or ends.
    clock : Clock, default the module ``time``
        Dates the trials and measures `max_seconds`.
    sampler : Sampler, optional
        Proposes the trials; a `Proposer` by the study's specification where not given.
    in_background : bool, default True
        Whether a thread of its own writes what is kept.

    Attributes
    ----------
    running : dict of str to RunningTrial
        Trials that are handed out.
    results : list of TrialResult
        Trials that ended, in that order.
    best : TrialResult or None
        The best of `results`.
    n_failed : int
        How many of `results` failed.
    problem : Exception or None
        Why the study cannot go on.
    interrupted : bool
        Whether somebody stopped it.
    baselines : dict of str to float or None
        What the trials have to beat, as `Segment` has it; None until a process has measured it.
    """

    def __init__(
        self,
        study: StudyStore,
        concurrency: int,
        listeners: tuple[Listener, ...] = (),
        *,
        clock: Clock = time,
        sampler: Sampler | None = None,
        in_background: bool = True,
    ) -> None:
        self.study = study
        self.spec: SearchSpec = study.spec
        self.concurrency = concurrency
        self.running: dict[str, RunningTrial] = {}
        self.results: list[TrialResult] = []
        self.best: TrialResult | None = None
        self.n_failed = 0
        self.problem: Exception | None = None
        self.interrupted = False
        self.baselines: dict[str, float] | None = study.facts.get("baselines")
        self._listeners = listeners
        self._clock = clock
        self._keeper = Keeper(study, self._heard, self._stop_for, in_background=in_background)
        start = study.facts.get("start", {})
        self._points: list[dict[str, Any]] = start.get("points", [])
        self._sampler: Sampler = sampler or Proposer(self.spec, concurrency)
        for number, point in enumerate(start.get("known", [])):
            self._sampler.restore(-number, point["sampled"], point["loss"])
        self._rule = stopping_rule(self.spec)
        self._waiting: deque[RunningTrial] = deque()
        self._proposed = 0
        self._restore()
        # A process that was killed did not say how long it ran: at least as long as any trial did.
        spent = covered_seconds((result["started"], result["ended"]) for result in self.results)
        self._budget = Budget(self.spec, clock, max(float(study.facts["seconds"]), spent))

    def _restore(self) -> None:
        """Take up the journal: trials that ended teach the sampler, those cut off are handed out first."""
        for result in sorted(self.study.trials(), key=lambda result: result["ended"]):
            self._add(result)
            self._rule.recall(result["trial"], self.spec.metric.losses(result["history"]), result)
        ended = {result["trial"]: result for result in self.results}
        self._keeper.forget(ended)
        for trial, event in self.study.proposed().items():
            number, sampled = int(event["number"]), event["sampled"]
            self._proposed = max(self._proposed, number)
            end = ended.get(trial)
            end_loss = loss(end, self.spec.metric) if end else None
            self._sampler.restore(number, sampled, end_loss, running=end is None)
            if end is None:
                if checkpoint := self._keeper.checkpoint(trial):
                    self._rule.recall(trial, self.spec.metric.losses(checkpoint.history))
                config = self.spec.config(sampled)
                self._waiting.append(RunningTrial(trial, number, sampled, event["source"], config))

    def _add(self, result: TrialResult) -> None:
        self.results.append(result)
        self.n_failed += result["status"] == "FAILED"
        if loss(result, self.spec.metric) < self._best_loss:
            self.best = result

    @property
    def _best_loss(self) -> float:
        return loss(self.best, self.spec.metric) if self.best else math.inf

    @property
    def rungs(self) -> Sequence[int]:
        """Return the iterations after which other trials may stop a trial."""
        return self._rule.rungs

    @property
    def settings(self) -> TrialSettings:
        """Return what an executor gives every process that trains."""
        spec = self.spec
        return TrialSettings(
            metric=spec.metric,
            backend=spec.backend,
            threads=max(1, int(spec.cpu)),
            gpu=spec.gpu,
            seed=spec.seed,
            rungs=self.rungs,
            patience=getattr(spec.early_stopping, "patience", 0),
            keep_factors=spec.keep_factors,
            model=spec.model,
        )

    @property
    def seconds(self) -> float:
        """Return how long the study has run, earlier runs included."""
        return self._budget.seconds

    @property
    def exhausted(self) -> str | None:
        """Return the budget that is used up, in words; no trial is handed out any more then."""
        return self._budget.used_up(self.n_failed, self._proposed - len(self._waiting))

    @property
    def over(self) -> bool:
        """Tell whether nothing runs, and nothing will."""
        return (
            self.problem is not None or self.interrupted or (not self.running and self.exhausted is not None)
        )

    @property
    def outcome(self) -> str:
        """Return how the study stands: finished, interrupted or failed."""
        if self.problem or self.interrupted or self.running or self.exhausted is None:
            return "interrupted"
        too_many = self._budget.too_many_failed(self.n_failed)
        return "failed" if too_many or self.best is None else "finished"

    def next(self) -> RunningTrial | None:
        """Hand out a trial; return None where there is none now: `over` tells whether one may come."""
        if self.over or self.exhausted or len(self.running) >= self.concurrency:
            return None
        if self._waiting:
            trial = self._waiting.popleft()
            checkpoint = self._keeper.checkpoint(trial.trial)
        else:
            try:
                trial, checkpoint = self._propose(), None
            except StudyError as error:
                self._stop_for(error)
                return None
        trial.begin(self._clock.time(), self._best_loss, checkpoint)
        self.running[trial.trial] = trial
        return trial

    def _propose(self) -> RunningTrial:
        self._proposed += 1
        number = self._proposed
        point = self._points[number - 1] if number <= len(self._points) else None
        sampled, source = self._sampler.ask(number, point["sampled"] if point else None)
        source = point["source"] if point else source
        name = f"trial-{number:03d}"
        self.study.journal.append("proposed", trial=name, number=number, sampled=sampled, source=source)
        return RunningTrial(name, number, sampled, source, self.spec.config(sampled))

    def report(self, name: str, segment: Segment) -> bool:
        """Take a trial's next figures.

        Returns
        -------
        bool
            Whether the trial goes on.
        """
        trial = self.running[name]
        try:
            self.study.location.require_lock()
            return self._report(trial, segment)
        except StudyError as error:
            self._stop_for(error)
            return False

    def _report(self, trial: RunningTrial, segment: Segment) -> bool:
        if segment.fatal:
            raise StudyError(f"no trial can be run: {segment.reason}")
        trial.add(segment)
        if segment.baselines and self.baselines is None:
            self.baselines = segment.baselines
            self.study.update(baselines=segment.baselines)
        metric = self.spec.metric
        if segment.done:
            self._end(trial, segment)
            return False
        if self._rule.verdict(trial.trial, trial.iterations, metric.loss(metric.value(segment.figures))):
            self._end(trial, segment, stopped=self._rule.name)
            return False
        if segment.checkpoint:
            self._keeper.save(trial.trial, segment.checkpoint, trial.history)
        for listener in self._listeners:
            listener.advanced(self, trial)
        return True

    def lost(self, name: str, reason: str) -> None:
        """Note that a trial's process died: the trial is handed out again, three times at most in all."""
        trial = self.running.get(name)
        if trial is None:
            return
        if trial.attempts < _ATTEMPTS:
            del self.running[name]
            self._waiting.append(trial)
            return
        why = (
            f"its process died {trial.attempts} times ({reason}): if memory is short, search fewer factors "
            "or run fewer trials at once (concurrency)"
        )
        self._end(trial, Segment({}, done=True, reason=why, trace=reason))

    def _end(self, trial: RunningTrial, segment: Segment, *, stopped: str | None = None) -> None:
        metric = self.spec.metric
        result = trial.result(segment, self._clock.time(), metric, stopped=stopped)
        end_loss = None if result["status"] == "FAILED" else loss(result, metric)
        self._sampler.tell(trial.number, end_loss)
        self._add(result)
        del self.running[trial.trial]
        keep = self.spec.keep_factors == "all" or (self.spec.keep_factors == "best" and self.best is result)
        self._keeper.keep(result, segment.factors if keep else None)
        self._rule.end(trial.trial, trial.iterations, end_loss)

    def _heard(self, result: TrialResult) -> None:
        for listener in self._listeners:
            listener.ended(self, result)

    def _stop_for(self, problem: Exception) -> None:
        """Stop the study; the first problem is the one that is told of."""
        self.problem = self.problem or problem

    def close(self) -> None:
        """Wait until all that ended is kept."""
        self._keeper.close()
