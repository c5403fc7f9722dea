"""The record of a study in MLflow while it runs: one thread writes one run per trial.

The study's journal is the truth, and MLflow is brought in line with it. What the store has not taken, because
it does not answer or because the process was killed, is written when it answers, or when the study is
resumed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING

from tune.record.artifacts import move_into_run
from tune.record.runs import client_of, tracking_of
from tune.record.store_problems import first_line
from tune.record.trial_figures import final_metrics, iteration_metrics, iterations_of, trial_tags
from tune.record.trial_runs import TrialRuns
from tune.search import RunningTrial
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from tune.search import StudyRun

# The longest pause between tries of a store that does not take what it is given, in seconds.
_LONGEST_PAUSE = 8.0


class MlflowRecord:
    """Writes a study to MLflow while it runs; a `tune.search.Listener`.

    Parameters
    ----------
    study : Study
        Names the store and the parent run. Trials of earlier runs of the study that are not recorded are
        written first.
    live_after : float, default 5
        Seconds after which a trial shows in the UI while it runs; a shorter one is written in one go when it
        ends.
    pause : float, default 0.5
        Seconds until the second try of a store that does not take what it is given.
    patience : float, default 60
        Seconds that the record, when it is closed, waits for a store that does not answer.

    Attributes
    ----------
    problem : str or None
        Why the store does not take what it is given, as long as that is so.

    Raises
    ------
    StudyError
        When the store does not answer.
    """

    def __init__(
        self, study: Study, *, live_after: float = 5.0, pause: float = 0.5, patience: float = 60.0
    ) -> None:
        self._study = study
        self._live_after, self._pause, self._patience = live_after, pause, patience
        self._client = client_of(study)
        with tracking_of(study).errors():
            self._runs = TrialRuns(self._client, study)
        recorded = study.recorded()
        unrecorded = [result for result in study.trials() if result["trial"] not in recorded]
        self._ended: deque[TrialResult] = deque(sorted(unrecorded, key=lambda result: result["ended"]))
        self._live: dict[str, RunningTrial] = {}
        self._shown_at: dict[str, float] = {}
        self._wake = threading.Condition()
        self._closing, self._closing_at = False, math.inf
        self.problem: str | None = None
        self._thread = threading.Thread(target=self._write_all, name="mlflow-record", daemon=True)
        self._thread.start()

    def advanced(self, run: StudyRun, trial: RunningTrial) -> None:
        """Show a long trial while it runs."""
        now = time.time()
        if now - max(trial.started, self._shown_at.get(trial.trial, 0.0)) > self._live_after:
            self._shown_at[trial.trial] = now
            with self._wake:
                # A copy: if the process of the trial dies, the trial begins anew with an empty history.
                history = {key: list(figures) for key, figures in trial.history.items()}
                self._live[trial.trial] = replace(trial, history=history)
                self._wake.notify()

    def ended(self, run: StudyRun, result: TrialResult) -> None:
        """Write a trial that ended."""
        with self._wake:
            self._live.pop(result["trial"], None)
            self._ended.append(result)
            self._wake.notify()

    def abandon(self) -> None:
        """Write nothing more."""
        with self._wake:
            self._ended.clear()
            self._live.clear()

    def close(self) -> int:
        """Write what there is still to write, as long as the store takes it.

        Returns
        -------
        int
            How many trials are not recorded: the next run of the study tries again.
        """
        with self._wake:
            self._closing, self._closing_at = True, time.monotonic()
            self._wake.notify()
        self._thread.join()
        return len(self._ended)

    def _write_all(self) -> None:
        pause = self._pause
        while task := self._next():
            try:
                if isinstance(task, RunningTrial):
                    self._show(task)
                else:
                    self._write(task)
                    with self._wake:
                        if self._ended:  # not abandoned meanwhile
                            self._ended.popleft()
                pause, self.problem = self._pause, None
            except Exception as error:  # noqa: BLE001 - whatever the store objects to, the study goes on
                self.problem = first_line(error)
                self._runs.doubt(task.trial if isinstance(task, RunningTrial) else task["trial"])
                with self._wake:
                    if self._closing and time.monotonic() > self._closing_at + self._patience:
                        return
                    # A trial that the store never takes must not hold up those behind it.
                    if not isinstance(task, RunningTrial):
                        self._ended.rotate(-1)
                    self._wake.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)

    def _next(self) -> TrialResult | RunningTrial | None:
        """Wait for a trial to write, those that ended first; return None when all is written."""
        with self._wake:
            while not (self._ended or self._live or self._closing):
                self._wake.wait()
            if self._ended:
                return self._ended[0]
            if self._closing:
                return None
            return self._live.pop(next(iter(self._live)))

    def _write(self, result: TrialResult) -> None:
        """Write a trial that ended; may be repeated from the start wherever it was cut off."""
        trial, runs = result["trial"], self._runs
        if runs.last_step(trial) > iterations_of(result):
            # An attempt that was cut off came further than the one that counts.
            runs.delete(trial)
        metrics = iteration_metrics(result["history"], result["started"], after=runs.last_step(trial))
        metrics += final_metrics(result, self._study.facts.get("baselines"))
        run_id = runs.log(trial, result["config"], result["started"], metrics, trial_tags(result))
        if trial in runs.taken_up and not result["reason"]:
            runs.forget_reason(run_id)
        folder = self._study.factors_folder(trial)
        if folder.is_dir():
            move_into_run(self._client, run_id, runs.artifact_uri(run_id), folder, "factors")
        if result.get("trace"):
            self._client.log_text(run_id, str(result["trace"]), "error.txt")
        self._client.set_terminated(run_id, result["status"], end_time=int(result["ended"] * 1000))
        self._study.journal.append("recorded", trial=trial)

    def _show(self, trial: RunningTrial) -> None:
        """Write the figures that a running trial has so far."""
        after = self._runs.last_step(trial.trial)
        metrics = iteration_metrics(trial.history, trial.started, after)
        config = trial.config.to_dict()
        self._runs.log(trial.trial, config, trial.started, metrics)
        self._runs.note_step(trial.trial, trial.iterations)
