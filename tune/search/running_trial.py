"""A trial from its proposal to its end."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from toolkit.config import WALSConfig
from tune.search.checkpoint import Checkpoint, History
from tune.search.segment import Segment
from tune.spec import SearchMetric
from tune.study import TrialResult

if TYPE_CHECKING:
    from tune.study import System


@dataclass
class RunningTrial:
    """A trial that is handed out, or waits to be handed out again.

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
    system : System or None
        Where it runs; None until it first reports.
    to_beat : float
        The least loss that a trial had ended with when this attempt began.
    checkpoint : Checkpoint or None
        Where this attempt goes on from; None at the first iteration.
    """

    trial: str
    number: int
    sampled: dict[str, Any]
    source: str
    config: WALSConfig
    attempts: int = 0
    started: float = 0.0
    history: History = field(default_factory=dict)
    system: System | None = None
    to_beat: float = math.inf
    checkpoint: Checkpoint | None = None

    @property
    def iterations(self) -> int:
        """Iterations done."""
        return len(self.history.get("seconds", ()))

    def begin(self, now: float, to_beat: float, checkpoint: Checkpoint | None) -> None:
        """Begin an attempt, from the checkpoint where there is one."""
        self.attempts += 1
        self.started, self.to_beat, self.checkpoint = now, to_beat, checkpoint
        self.history = checkpoint.copied_history() if checkpoint else {}

    def add(self, segment: Segment) -> None:
        """Take the iterations of a segment."""
        self.system, self.checkpoint = segment.system, None
        for key, figures in segment.history.items():
            self.history.setdefault(key, []).extend(figures)

    def result(
        self, segment: Segment, now: float, metric: SearchMetric, *, stopped: str | None
    ) -> TrialResult:
        """Return what the study keeps of the trial, which ended with this segment.

        Parameters
        ----------
        segment : Segment
            Its last one.
        now : float
            Seconds since the epoch.
        metric : SearchMetric
            The figure that the study is judged by.
        stopped : {None, "halving", "scheduler"}
            The rule by which other trials stopped it.
        """
        failed = segment.reason is not None
        figures = segment.figures
        # A trial that is through at the same moment was not stopped.
        if segment.stalled and self.iterations < self.config.iterations:
            stopped = "plateau"
        return TrialResult(
            trial=self.trial,
            number=self.number,
            run_id=None,
            status="FAILED" if failed else "FINISHED",
            stopped=stopped,
            valid_rmse=figures.get("valid_rmse"),
            train_rmse=figures.get("train_rmse"),
            ranking={key: figures[key] for key in metric.keys if key in figures},
            iterations=self.iterations if failed else segment.iterations,
            seconds=sum(self.history.get("seconds", ())),
            history=self.history,
            sampled=self.sampled,
            config=self.config.to_dict(),
            source=self.source,
            reason=segment.reason,
            started=self.started,
            ended=now,
            attempts=self.attempts,
            system=self.system,
            trace=segment.trace,
        )
