"""The record of a study in MLflow: one parent run, one child run per trial, written by one thread.

The study's journal is the truth, and MLflow is brought in line with it: what the store has not taken, because
it does not answer or because the process was killed, is written when it does, or when the study is resumed.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from toolkit.files import mask
from tune.record.runs import children, client_of, hand_over
from tune.record.tracking import create_run, log, log_dataset
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from mlflow.entities import Metric, Run, RunTag

    from tune.search.study_run import RunningTrial, StudyRun

# A trial that takes longer shows in the UI while it runs; a shorter one is written in one go when it ends.
_LIVE_SECONDS = 5.0
# Between tries of a store that does not take what it is given, in seconds.
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0
# How long a study that is through waits for a store that does not answer, in seconds.
_PATIENCE = 60.0


class MlflowRecord:
    """Writes a study to MLflow while it runs; a `tune.search.study_run.Listener`.

    Parameters
    ----------
    study : Study
        Names the store and the parent run. Trials of earlier runs of the study that are not recorded are
        written first.

    Attributes
    ----------
    problem : str or None
        Why the store does not take what it is given, as long as that is so.

    Raises
    ------
    StudyError
        When the store does not answer.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._client = client_of(study)
        recorded = study.recorded()
        self._runs = study.runs()
        self._described: set[str] = set()
        self._places: dict[str, str] = {}
        for run in children(self._client, study):
            # A process can be killed, or an answer lost, after a run was made and before it was noted.
            self._adopt(run)
        ongoing = self._runs.items() - {(trial, self._runs.get(trial)) for trial in recorded}
        self._logged = {trial: self._last_step(run_id) for trial, run_id in ongoing}
        self._taken_up = frozenset(self._logged)
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
        if now - max(trial.started, self._shown_at.get(trial.trial, 0.0)) > _LIVE_SECONDS:
            self._shown_at[trial.trial] = now
            with self._wake:
                # As it is now: should its process die, the trial begins anew.
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
        pause = _FIRST_PAUSE
        while True:
            with self._wake:
                while not (self._ended or self._live or self._closing):
                    self._wake.wait()
                result = self._ended[0] if self._ended else None
                live = (
                    None if result else self._live.pop(next(iter(self._live)), None) if self._live else None
                )
                if result is None and (live is None or self._closing):
                    return
            try:
                if result:
                    self._write(result)
                    with self._wake:
                        if self._ended:  # not abandoned meanwhile
                            self._ended.popleft()
                elif live:
                    self._show(live)
                pause, self.problem = _FIRST_PAUSE, None
            except Exception as error:  # noqa: BLE001 - whatever the store objects to, the study goes on
                # MLflow quotes the address that it asked, and what may be in it.
                self.problem = mask(
                    str(error).strip().splitlines()[-1] if str(error).strip() else repr(error)
                )
                with self._wake:
                    if self._closing and time.monotonic() > self._closing_at + _PATIENCE:
                        return
                    self._wake.wait(pause)
                pause = min(2 * pause, _LAST_PAUSE)

    def _write(self, result: TrialResult) -> None:
        """Write a trial; may be repeated from the start wherever it was cut off."""
        from mlflow.entities import Metric, RunTag

        trial, client = result["trial"], self._client
        done = len(result["history"].get("valid_rmse", ()))
        if self._logged.get(trial, 0) > done:
            # An attempt that was cut off came further than the one that counts; figures cannot be taken back.
            client.delete_run(self._runs[trial])
            self._forget(trial)
        metrics = self._steps(result["history"], result["started"], after=self._logged.get(trial, 0))
        at = int(result["ended"] * 1000)
        once: dict[str, float] = {"iterations": result["iterations"], "train_seconds": result["seconds"]}
        system = result["system"]
        if system:
            peaks = {
                "peak_memory": system["peak_bytes"],
                "device_peak_memory": system.get("device_peak_bytes"),
            }
            once |= {f"{name}_mib": size / 2**20 for name, size in peaks.items() if size}
        # The UI shows and sorts by the last value: it must be that of the factors which the run keeps.
        if result["iterations"] < done and result["status"] == "FINISHED":
            figures = {
                "valid_rmse": result["valid_rmse"],
                "train_rmse": result["train_rmse"],
                **result["ranking"],
            }
            once |= {key: figure for key, figure in figures.items() if figure is not None}
        metrics += [Metric(key, float(figure), at, done) for key, figure in once.items()]
        tags = [RunTag(key, text) for key, text in _tags(result).items()]
        run_id = self._log(trial, result["config"], result["started"], metrics, tags)
        if trial in self._taken_up and not result["reason"]:
            self._forget_reason(run_id)
        folder = self._study.factors_folder(trial)
        if folder.is_dir():
            if run_id not in self._places:
                self._places[run_id] = client.get_run(run_id).info.artifact_uri
            hand_over(client, run_id, self._places[run_id], folder, "factors")
        if result.get("trace"):
            client.log_text(run_id, str(result["trace"]), "error.txt")
        client.set_terminated(run_id, result["status"], end_time=at)
        self._study.journal.append("recorded", trial=trial)

    def _forget_reason(self, run_id: str) -> None:
        """Take away what an earlier process was stopped for."""
        if "walslab.reason" in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, "walslab.reason")

    def _show(self, trial: RunningTrial) -> None:
        after = self._logged.get(trial.trial, 0)
        metrics = self._steps(trial.history, trial.started, after=after)
        self._log(trial.trial, trial.config.to_dict(), trial.started, metrics)
        self._logged[trial.trial] = max(trial.iterations, after)

    def _steps(self, history: dict[str, list[float]], started: float, after: int) -> list[Metric]:
        """Return the figures of the iterations after `after`, each dated to when it was done."""
        from mlflow.entities import Metric

        at, metrics = started, []
        for step, seconds in enumerate(history.get("seconds", ()), 1):
            at += seconds
            if step > after:
                metrics += [
                    Metric(key, figures[step - 1], int(at * 1000), step)
                    for key, figures in history.items()
                    if step <= len(figures)
                ]
        return metrics

    def _log(
        self,
        trial: str,
        config: dict[str, Any],
        started: float,
        metrics: list[Metric],
        tags: Sequence[RunTag] = (),
    ) -> str:
        """Write to a trial's run, the first time its parameters and dataset, too; return the run.

        One request for all, where it can be one: each takes a server that asks for passwords 0.2 s.
        """
        run_id = self._run(trial, started)
        if trial in self._described:
            log(self._client, run_id, metrics, tags)
        else:
            log(self._client, run_id, metrics, tags, config)
            log_dataset(self._client, run_id, self._study.data)
            self._described.add(trial)
        return run_id

    def _run(self, trial: str, started: float) -> str:
        """Return a trial's run, made on first use."""
        facts = self._study.facts
        if self.problem is not None:
            self._look_again(trial)
        if trial not in self._runs:
            tags = {
                "mlflow.parentRunId": facts["parent_run_id"],
                "walslab.study": self._study.name,
                "walslab.trial": trial,
            }
            start_time = int(started * 1000)
            run = create_run(
                self._client,
                facts["experiment_id"],
                trial,
                data=self._study.data,
                tags=tags,
                start_time=start_time,
            )
            self._note(trial, run)
        return self._runs[trial]

    def _look_again(self, trial: str) -> None:
        """Look after a failed request: it may have been obeyed all the same, or the run be deleted."""
        known = self._runs.get(trial)
        if known and self._client.get_run(known).info.lifecycle_stage == "deleted":
            self._forget(trial)
        for run in children(self._client, self._study, trial):
            self._adopt(run)

    def _forget(self, trial: str) -> None:
        del self._runs[trial]
        self._described.discard(trial)
        self._logged.pop(trial, None)

    def _adopt(self, run: Run) -> None:
        trial = run.data.tags.get("walslab.trial")
        if trial and trial not in self._runs:
            self._note(trial, run)

    def _note(self, trial: str, run: Run) -> None:
        self._runs[trial] = run.info.run_id
        self._places[run.info.run_id] = run.info.artifact_uri
        self._study.journal.append("run", trial=trial, run_id=run.info.run_id)

    def _last_step(self, run_id: str) -> int:
        history = self._client.get_metric_history(run_id, "valid_rmse")
        return max((metric.step for metric in history), default=0)


def _tags(result: TrialResult) -> dict[str, str]:
    """Return what the run of a trial says of it in words."""
    tags = {"walslab.source": result["source"], "walslab.attempts": str(result["attempts"])}
    if system := result["system"]:
        tags |= {f"walslab.{key}": str(system[key]) for key in ("backend", "device", "host")}
    if result["stopped"]:
        tags["walslab.stopped"] = result["stopped"]
    if result["reason"]:
        tags["walslab.reason"] = result["reason"][:5000]
    return tags
