"""What a study says on standard error while it runs: a live line on a terminal, else one line a trial."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import ray.tune as ray_tune
from rich.console import Console

from tune.metric import SearchMetric

if TYPE_CHECKING:
    from ray.tune.experiment import Trial
    from rich.status import Status


class StudyProgress(ray_tune.Callback):  # type: ignore[misc]
    """Counts trials as Ray Tune reports them.

    Parameters
    ----------
    total : int
        Trials that the study asks for.
    metric : SearchMetric
        What they are compared by.
    """

    def __init__(self, total: int, metric: SearchMetric) -> None:
        self.total = total
        self.metric = metric
        self._counted: dict[str, str] = {}
        self._best: float | None = None
        self._begin()

    def _begin(self) -> None:
        self._began = time.monotonic()
        self._before = len(self._counted)
        self._console: Console = Console(stderr=True, highlight=False)
        self._status: Status | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_console": None, "_status": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        # A study of before there was a choice went by RMSE.
        self.__dict__.update({"metric": SearchMetric(), **state})
        self._begin()

    def get_state(self) -> dict[str, Any]:
        """Return what a resumed study must know."""
        return {"counted": dict(self._counted), "best": self._best}

    def set_state(self, state: dict[str, Any]) -> None:
        """Take `get_state` back."""
        self._counted, self._best = state["counted"], state["best"]
        self._before = len(self._counted)

    def setup(
        self, stop: Any = None, num_samples: Any = None, total_num_samples: Any = None, **info: Any
    ) -> None:
        """Show the line."""
        if self._console.is_terminal:
            self._status = self._console.status(self._text([]))
            self._status.start()

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Note a new best, and redraw."""
        self._redraw(trials)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Count a trial that ended well."""
        last = trial.last_result
        value = self.metric.value(last)
        if self.metric.loss(value) < self.metric.loss(self._best):
            self._best = value
        told = "none" if value is None else f"{value:.4f}"
        text = f"{self.metric.label} {told} after {last.get('training_iteration')} iterations"
        self._count(trials, trial, "done", text)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Count a trial that failed."""
        self._count(trials, trial, "failed", "failed")

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Take the line away."""
        if self._status:
            self._status.stop()

    def _count(self, trials: list[Trial], trial: Trial, outcome: str, text: str) -> None:
        self._counted[trial.trial_id] = outcome
        if not self._console.is_terminal:
            best = "" if self._best is None else f", best {self._best:.4f}"
            self._console.print(f"trial {len(self._counted)}/{self.total}: {text}{best}")
        self._redraw(trials)

    def _redraw(self, trials: list[Trial]) -> None:
        if self._status:
            self._status.update(self._text(trials))

    def _text(self, trials: list[Trial]) -> str:
        done = len(self._counted)
        failed = sum(outcome == "failed" for outcome in self._counted.values())
        running = sum(trial.status == "RUNNING" and trial.trial_id not in self._counted for trial in trials)
        elapsed = time.monotonic() - self._began
        parts = [f"{done}/{self.total} trials", f"{running} running"]
        if failed:
            parts.append(f"{failed} failed")
        if self._best is not None:
            parts.append(f"best {self.metric.label} {self._best:.4f}")
        if done > self._before:
            left = elapsed / (done - self._before) * (self.total - done)
            parts.append(f"{elapsed:.0f} s, about {left:.0f} s left")
        return "  ".join(parts)
