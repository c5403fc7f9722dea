"""Runs a study in virtual time on figures that are known, so that thousands of trials take seconds."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import count
from typing import TYPE_CHECKING, TypeAlias

from tune.executors.trial_losses import NotFiniteError, TrialLosses
from tune.executors.trial_worker import explain
from tune.executors.unsaved_study import UnsavedStudy
from tune.search import Segment, StudyRun

if TYPE_CHECKING:
    from tune.executors.recorded_trials import Recording, Surface
    from tune.search import RunningTrial, Sampler, TrialSettings
    from tune.spec import SearchSpec

Deaths: TypeAlias = Callable[[str, int], float | None]
"""Returns after how many seconds the process of a trial's attempt dies; None where it lives."""


class VirtualClock:
    """A clock that stands still until it is moved.

    Parameters
    ----------
    start : float, default 0
        Seconds since the epoch.
    """

    def __init__(self, start: float = 0.0) -> None:
        self._now = start

    def time(self) -> float:
        """Return the seconds since the epoch."""
        return self._now

    def monotonic(self) -> float:
        """Return the same seconds."""
        return self._now

    def move_to(self, now: float) -> None:
        """Set the clock to a later time."""
        self._now = max(self._now, now)


def simulate(
    spec: SearchSpec,
    surface: Surface,
    *,
    concurrency: int = 1,
    sampler: Sampler | None = None,
    dies: Deaths | None = None,
) -> StudyRun:
    """Run a study in memory and in virtual time.

    Parameters
    ----------
    spec : SearchSpec
        What is searched.
    surface : Surface
        What the training of a configuration would report: a function, or `RecordedTrials`.
    concurrency : int, default 1
        Trials at once.
    sampler : Sampler, optional
        Proposes the trials in place of the one that the specification names.
    dies : callable, optional
        Takes a trial's name and the number of its attempt, from 1, and returns after how many seconds its
        process dies, or None.

    Returns
    -------
    StudyRun
        The run, which is over: see its `results`, `best`, `outcome` and `seconds` (virtual ones).

    Examples
    --------
    Twenty trials of 15 iterations, a minute each, four at once:

    >>> from math import log
    >>> from tune import SearchSpec
    >>> from tune.executors import Recording, simulate
    >>> spec = SearchSpec.from_dict({
    ...     "space": {"iterations": 15, "regularization": {"low": 0.1, "high": 10, "scale": "log"}},
    ...     "trials": 20,
    ...     "early_stopping": "none",
    ... })
    >>> def surface(config):
    ...     rmse = [0.9 + log(config.regularization) ** 2 / 10 + 0.1 / n for n in range(1, 16)]
    ...     return Recording({"valid_rmse": rmse, "train_rmse": rmse, "seconds": [60.0] * 15})
    >>> run = simulate(spec, surface, concurrency=4)
    >>> run.outcome, len(run.results), run.seconds / 3600
    ('finished', 20, 1.25)
    >>> round(run.best["valid_rmse"], 2)
    0.91
    """
    clock = VirtualClock()
    run = StudyRun(UnsavedStudy(spec), concurrency, clock=clock, sampler=sampler, in_background=False)
    run_simulated(run, surface, clock, dies=dies)
    run.close()
    return run


def run_simulated(
    run: StudyRun, surface: Surface, clock: VirtualClock, *, dies: Deaths | None = None
) -> None:
    """Run a study's trials in virtual time until it is over.

    Parameters
    ----------
    run : StudyRun
        The study; it must read `clock`.
    surface : Surface
        What the training of a configuration would report.
    clock : VirtualClock
        This function moves it.
    dies : callable, optional
        As `simulate` takes it.
    """
    settings, order = run.settings, count()
    # What happens next to each running trial. Among events at one time, the first that was noted comes first.
    events: list[tuple[float, int, _Attempt]] = []

    def note_next(attempt: _Attempt) -> None:
        at = attempt.next_time()
        heapq.heappush(events, (at, next(order), attempt))

    while not run.over:
        while (trial := run.next()) is not None:
            death = dies(trial.trial, trial.attempts) if dies else None
            note_next(_Attempt(trial, surface, settings, death))
        if run.over or not events:
            break
        now, _, attempt = heapq.heappop(events)
        clock.move_to(now)
        if attempt.segment is None:
            run.lost(attempt.trial, "a simulated death")
        elif run.report(attempt.trial, attempt.segment):
            note_next(attempt)


class _Attempt:
    """One attempt of a trial, which moves from segment to segment."""

    def __init__(
        self, trial: RunningTrial, surface: Surface, settings: TrialSettings, death: float | None
    ) -> None:
        self.trial = trial.trial
        self.segment: Segment | None = None
        self._began = trial.started
        self._dies_at = float("inf") if death is None else trial.started + death
        self._segments = _segments(trial, surface, settings)

    def next_time(self) -> float:
        """Move to the next segment, or to the death of the process, and return when it comes."""
        seconds, self.segment = next(self._segments)
        at = self._began + seconds
        if at > self._dies_at:
            self.segment = None
        return min(at, self._dies_at)


def _segments(
    trial: RunningTrial, surface: Surface, settings: TrialSettings
) -> Iterator[tuple[float, Segment]]:
    """Yield what a trial reports at each rung and at its end, and after how many seconds."""
    try:
        recording = surface(trial.config)
    except Exception as error:  # noqa: BLE001 - as a worker, which fails the trial
        yield 0.0, Segment({}, done=True, reason=explain(error))
        return
    yield from _replayed(recording, TrialLosses(settings, trial.config.iterations), trial.config.iterations)


def _replayed(recording: Recording, losses: TrialLosses, iterations: int) -> Iterator[tuple[float, Segment]]:
    """Yield the segments of a recording, and the seconds from its start to each."""
    seconds, segment = 0.0, Segment({})
    best, best_iterations = dict[str, float](), 0
    length = min(iterations, len(recording.history.get("seconds", ())))
    for iteration in range(1, length + 1):
        figures = {key: float(values[iteration - 1]) for key, values in recording.history.items()}
        for key, figure in figures.items():
            segment.history.setdefault(key, []).append(figure)
        seconds += figures.pop("seconds")
        try:
            losses.add(figures)
        except NotFiniteError as error:
            segment.done, segment.reason = True, str(error)
            yield seconds, segment
            return
        if losses.is_best:
            best, best_iterations = figures, iteration
        segment.figures, segment.iterations = dict(best), best_iterations
        fails = recording.reason is not None and iteration == length
        segment.stalled = losses.stalled and not fails
        segment.done = segment.stalled or (losses.through and not fails)
        if segment.done or losses.at_rung:
            yield seconds, segment
            segment = Segment({})
    # The recording ends before the trial: it failed there, or nothing is known of what would follow.
    segment.done, segment.reason = True, recording.reason
    segment.figures, segment.iterations = best, best_iterations
    if not length and not recording.reason:
        segment.reason = "the recording holds no iteration"
    yield seconds, segment
