"""A study while it runs: hands trials out, takes their figures, decides who goes on, and keeps what ended.

Knows neither Ray nor MLflow. An executor asks for trials and reports; so the same study comes out of Ray Tune
and out of a plain loop.
"""

from __future__ import annotations

import math
import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from toolkit.config import WALSConfig
from toolkit.errors import StudyError
from tune.search.halving import rungs, stops
from tune.search.proposer import Known, Proposer
from tune.search.segment import Segment, TrialSettings
from tune.study import TrialResult, loss

if TYPE_CHECKING:
    from toolkit.solver import Factors
    from tune.spec.search_spec import SearchSpec
    from tune.study import Study, System

# How often a trial is begun whose process dies under it.
_ATTEMPTS = 3


@dataclass
class RunningTrial:
    """A trial that was handed out.

    Attributes
    ----------
    trial, number, sampled, source, attempts
        As in `tune.study.trial.TrialResult`.
    config : WALSConfig
        What to train.
    started : float
        When this attempt began, in seconds since the epoch.
    history : dict of str to list of float
        Figures of its iterations so far.
    """

    trial: str
    number: int
    sampled: dict[str, Any]
    source: str
    config: WALSConfig
    attempts: int = 0
    started: float = 0.0
    history: dict[str, list[float]] = field(default_factory=dict)
    system: System | None = None

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return len(self.history.get("seconds", ()))


class Listener(Protocol):
    """What wants to know how a study goes: the record in MLflow, the lines on a terminal."""

    def advanced(self, run: StudyRun, trial: RunningTrial) -> None:
        """Hear that a trial did iterations."""

    def ended(self, run: StudyRun, result: TrialResult) -> None:
        """Hear that a trial ended and is kept; called from a thread of its own."""


class StudyRun:
    """One run of a study, from where the last one left it.

    Parameters
    ----------
    study : Study
        What was asked, and what there is already.
    concurrency : int
        How many trials will run at once.
    listeners : sequence of Listener
        Told of what happens.

    Attributes
    ----------
    running : dict of str to RunningTrial
        Trials that are out.
    results : list of TrialResult
        Trials that ended, in the order they did; `best` is the best of them, `n_failed` how many failed.
    problem : Exception or None
        What makes it pointless to go on.
    """

    def __init__(self, study: Study, concurrency: int, listeners: tuple[Listener, ...] = ()) -> None:
        self.study = study
        self.spec: SearchSpec = study.spec
        self.concurrency = concurrency
        self.running: dict[str, RunningTrial] = {}
        self.results: list[TrialResult] = []
        self.best: TrialResult | None = None
        self.n_failed = 0
        self.problem: Exception | None = None
        self.interrupted = False
        self._listeners = listeners
        self._began = time.monotonic()
        start = study.facts.get("start", {})
        self._points: list[dict[str, Any]] = start.get("points", [])
        known = [Known(sampled=entry["sampled"], loss=entry["loss"]) for entry in start.get("known", [])]
        self._proposer = Proposer(self.spec, concurrency, known)
        stopping = self.spec.early_stopping
        self.rungs: tuple[int, ...] = ()
        if stopping and stopping.reduction_factor:
            self.rungs = rungs(stopping.grace_iterations, stopping.reduction_factor, self.spec.max_iterations)
        self._at_rung: dict[int, dict[str, float]] = {rung: {} for rung in self.rungs}
        self._keeper = ThreadPoolExecutor(1, thread_name_prefix="keeper")
        self._waiting: deque[RunningTrial] = deque()
        self._proposed = 0
        self._restore()
        # A process that was killed did not say how long it ran: at least as long as any trial did.
        spent = _covered([(result["started"], result["ended"]) for result in self.results])
        self._before = max(float(study.facts["seconds"]), spent)

    def _restore(self) -> None:
        """Take up the journal: what ended teaches the sampler, what was cut off is handed out again first."""
        for result in sorted(self.study.trials(), key=lambda result: result["ended"]):
            self._add(result)
            self._note_rungs(result)
        ended = {result["trial"]: result for result in self.results}
        for trial, event in self.study.proposed().items():
            number, sampled = int(event["number"]), event["sampled"]
            self._proposed = max(self._proposed, number)
            end = ended.get(trial)
            told = loss(end, self.spec.metric) if end else None
            self._proposer.restore(number, sampled, told, running=end is None)
            if end is None:
                config = self.spec.config(sampled)
                self._waiting.append(RunningTrial(trial, number, sampled, event["source"], config))

    def _add(self, result: TrialResult) -> None:
        self.results.append(result)
        self.n_failed += result["status"] == "FAILED"
        metric = self.spec.metric
        if loss(result, metric) < (loss(self.best, metric) if self.best else math.inf):
            self.best = result

    def _note_rungs(self, result: TrialResult) -> None:
        metric = self.spec.metric
        losses = [metric.loss(figure) for figure in result["history"].get(metric.key, [])]
        for rung in self.rungs:
            if len(losses) >= rung:
                loss_there = min(losses[:rung]) if self._patience else losses[rung - 1]
                self._at_rung[rung][result["trial"]] = loss_there

    @property
    def _patience(self) -> int:
        return self.spec.early_stopping.patience if self.spec.early_stopping else 0

    @property
    def settings(self) -> TrialSettings:
        """What an executor gives every process that trains."""
        spec = self.spec
        return TrialSettings(
            metric=spec.metric,
            backend=spec.backend,
            threads=max(1, int(spec.cpu)),
            gpu=spec.gpu,
            seed=spec.seed,
            rungs=self.rungs,
            patience=self._patience,
            keep_factors=spec.keep_factors != "none",
        )

    @property
    def seconds(self) -> float:
        """How long the study has run, earlier runs included."""
        return self._before + time.monotonic() - self._began

    @property
    def exhausted(self) -> str | None:
        """Which budget is used up, in words: no trial is handed out any more."""
        spec = self.spec
        if spec.max_failures and self.n_failed >= spec.max_failures:
            return f"{self.n_failed} trials failed (max_failures)"
        if spec.max_seconds and self.seconds >= spec.max_seconds:
            return f"{spec.max_seconds:g} seconds are over (max_seconds)"
        if not self._waiting and self._proposed >= spec.trials:
            return f"all {spec.trials} trials were handed out"
        return None

    @property
    def over(self) -> bool:
        """Whether nothing is out, and nothing will be."""
        return (
            self.problem is not None or self.interrupted or (not self.running and self.exhausted is not None)
        )

    @property
    def outcome(self) -> str:
        """How the study stands: finished, interrupted or failed."""
        if self.problem or self.interrupted or self.running or self.exhausted is None:
            return "interrupted"
        too_many = self.spec.max_failures and self.n_failed >= self.spec.max_failures
        return "failed" if too_many or self.best is None else "finished"

    def next(self) -> RunningTrial | None:
        """Hand out a trial; None where there is none now: see `over` whether there will be one."""
        if self.over or self.exhausted or len(self.running) >= self.concurrency:
            return None
        trial = self._waiting.popleft() if self._waiting else self._propose()
        trial.attempts += 1
        trial.started, trial.history = time.time(), {}
        self.running[trial.trial] = trial
        return trial

    def _propose(self) -> RunningTrial:
        self._proposed += 1
        number = self._proposed
        point = self._points[number - 1] if number <= len(self._points) else None
        sampled, source = self._proposer.ask(number, point["sampled"] if point else None)
        source = point["source"] if point else source
        name = f"trial-{number:03d}"
        self.study.journal.append("proposed", trial=name, number=number, sampled=sampled, source=source)
        return RunningTrial(name, number, sampled, source, self.spec.config(sampled))

    def report(self, name: str, segment: Segment) -> bool:
        """Take a trial's next figures.

        Returns
        -------
        bool
            Whether it goes on.
        """
        trial = self.running[name]
        try:
            self.study.location.require_lock()
        except StudyError as error:
            self.problem = self.problem or error
            return False
        if segment.fatal:
            self.problem = self.problem or StudyError(f"no trial can be run: {segment.reason}")
            return False
        for key, figures in segment.history.items():
            trial.history.setdefault(key, []).extend(figures)
        trial.system = segment.system
        metric = self.spec.metric
        halved = False
        if trial.iterations in self._at_rung and segment.reason is None:
            rung = self._at_rung[trial.iterations]
            # One whose process died may have been here before.
            rung.pop(name, None)
            now = metric.loss(metric.value(segment.figures))
            stopping = self.spec.early_stopping
            halved = bool(
                stopping
                and stopping.reduction_factor
                and stops(list(rung.values()), now, stopping.reduction_factor)
            )
            rung[name] = now
        if not (segment.done or halved):
            for listener in self._listeners:
                listener.advanced(self, trial)
            return True
        # A trial that is through at the same moment was not stopped.
        stopped = "plateau" if segment.stalled else "halving" if halved and not segment.done else None
        if segment.stalled and trial.iterations >= trial.config.iterations:
            stopped = None
        self._end(trial, segment, stopped)
        return False

    def lost(self, name: str, reason: str) -> None:
        """Take note that a trial's process died under it: it is handed out again, a few times."""
        trial = self.running.pop(name, None)
        if trial is None:
            return
        if trial.attempts < _ATTEMPTS:
            self._waiting.append(trial)
            return
        self.running[name] = trial
        why = (
            f"its process died {trial.attempts} times ({reason}): if memory is short, search fewer factors "
            "or run fewer trials at once (concurrency)"
        )
        self._end(trial, Segment({}, done=True, reason=why, trace=reason), None)

    def _end(self, trial: RunningTrial, segment: Segment, stopped: str | None) -> None:
        failed = segment.reason is not None
        keys = self.spec.metric.keys
        result = TrialResult(
            trial=trial.trial,
            number=trial.number,
            run_id=None,
            status="FAILED" if failed else "FINISHED",
            stopped=stopped,
            valid_rmse=segment.figures.get("valid_rmse"),
            train_rmse=segment.figures.get("train_rmse"),
            ranking={key: segment.figures[key] for key in keys if key in segment.figures},
            iterations=trial.iterations if failed else segment.iterations,
            seconds=sum(trial.history.get("seconds", ())),
            history=trial.history,
            sampled=trial.sampled,
            config=trial.config.to_dict(),
            source=trial.source,
            reason=segment.reason,
            started=trial.started,
            ended=time.time(),
            attempts=trial.attempts,
            system=trial.system,
            trace=segment.trace,
        )
        self._proposer.tell(trial.number, None if failed else loss(result, self.spec.metric))
        self._add(result)
        del self.running[trial.trial]
        keep = self.spec.keep_factors == "all" or (self.spec.keep_factors == "best" and self.best is result)
        # On a thread of its own: a disk that is slow must not hold up the other trials.
        self._keeper.submit(self._keep, result, segment.factors if keep else None)

    def _keep(self, result: TrialResult, factors: Factors | None) -> None:
        try:
            self.study.location.require_lock()
            if factors is not None:
                self.study.keep_factors(result["trial"], factors)
            # Only now has it ended: what a kill cuts off before this line is done once more.
            facts = {key: value for key, value in result.items() if key != "run_id"}
            self.study.journal.append("ended", durable=True, **facts)
            for listener in self._listeners:
                listener.ended(self, result)
        except StudyError as error:
            self.problem = self.problem or error
        except Exception as error:  # noqa: BLE001 - handed to the thread that runs the study
            self.problem = self.problem or StudyError(
                f"study {self.study.name} cannot keep what its trials find: {error}; see that "
                f"{self.study.where} can be written to"
            )

    def close(self) -> None:
        """Wait until all that ended is kept."""
        self._keeper.shutdown(wait=True)


def _covered(spans: list[tuple[float, float]]) -> float:
    """Return how long the time is in which at least one of the spans was under way."""
    total, until = 0.0, -math.inf
    for begin, end in sorted(spans):
        total += max(0.0, end - max(begin, until))
        until = max(until, end)
    return total
