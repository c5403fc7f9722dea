"""The record of a study in MLflow: one parent run, one child run per trial, written by the driver alone."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ray.tune as ray_tune

from toolkit.errors import StudyError
from tune.study import Study, TrialResult
from tune.tracking import DatasetFacts, Tracking, start_run

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric
    from ray.tune.experiment import Trial


_METRICS = ("valid_rmse", "train_rmse", "seconds")
# A long trial shows in the UI while it runs; a short one is written in one go when it ends.
_FLUSH_SECONDS = 5.0


class MlflowRecord(ray_tune.Callback):  # type: ignore[misc]
    """Writes a study to MLflow and to its directory as Ray Tune reports it.

    A resumed study goes on in the same runs: which trial has which is written down when a run is made.

    Parameters
    ----------
    study : Study
        Names the store, the parent run and the directory.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        self._spec = study.spec
        facts = study.facts
        self._data = DatasetFacts(dataset=facts["dataset"], digest=facts["digest"], counts=facts["counts"])
        self._client = client_of(study)
        # Ray's snapshots of the search lag behind; the study's own list of runs does not.
        self._runs = study.runs()
        self._open: set[str] = set()
        self._pending: dict[str, list[Metric]] = {}
        self._flushed: dict[str, float] = {}
        self._seconds: dict[str, float] = {}
        self._logged: dict[str, int] = {}  # steps that an earlier attempt of a trial wrote

    def __getstate__(self) -> dict[str, Any]:
        return {"study": self._study}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["study"])  # type: ignore[misc]

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Open a child run, or the one that the trial has already."""
        if trial.trial_id in self._runs and trial.trial_id not in self._open:
            run_id = self._run_id(trial)
            self._client.update_run(run_id, status="RUNNING")
            # It starts again and, being deterministic, goes through the same values: none is written twice.
            steps = (metric.step for metric in self._client.get_metric_history(run_id, _METRICS[0]))
            self._logged[trial.trial_id] = max(steps, default=0)
            self._seconds[trial.trial_id] = 0.0
        self._run_id(trial)
        self._open.add(trial.trial_id)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep one iteration's metrics; write them when enough time has passed."""
        from mlflow.entities import Metric

        at, step = int(result["timestamp"] * 1000), int(result["training_iteration"])
        if step > self._logged.get(trial.trial_id, 0):
            metrics = self._pending.setdefault(trial.trial_id, [])
            metrics.extend(Metric(k, result[k], at, step) for k in (*_METRICS, *self._spec.metric.keys))
        self._seconds[trial.trial_id] = self._seconds.get(trial.trial_id, 0.0) + result["seconds"]
        if time.monotonic() - self._flushed.get(trial.trial_id, 0.0) > _FLUSH_SECONDS:
            self._flush(trial)

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close a run that ended well, with its factors."""
        self._flush(trial)
        early = trial.last_result.get("training_iteration", 0) < self._spec.config(trial.config).iterations
        self._client.set_tag(self._run_id(trial), "walslab.backend", trial.last_result.get("backend", ""))
        if early:
            self._client.set_tag(self._run_id(trial), "walslab.stopped", "early")
        if trial.checkpoint:
            with trial.checkpoint.as_directory() as folder:
                self._client.log_artifacts(self._run_id(trial), folder, "factors")
        self._close(trial, "FINISHED", stopped="early" if early else None)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close a run that failed, with the reason."""
        self._flush(trial)
        # Ray copies this file to the study's storage later; the driver has it already.
        text = Path(trial.error_file).read_text(encoding="utf-8").strip() if trial.error_file else "unknown"
        reason = text.splitlines()[-1].removeprefix("toolkit.errors.")
        self._client.log_text(self._run_id(trial), text, "error.txt")
        self._client.set_tag(self._run_id(trial), "walslab.reason", reason)
        self._close(trial, "FAILED", reason=reason)

    def on_experiment_end(self, trials: list[Trial], **info: Any) -> None:
        """Close what an interrupted study leaves open."""
        for trial in trials:
            if trial.trial_id in self._open:
                self._flush(trial)
                self._client.set_terminated(self._run_id(trial), "KILLED")
                self._open.discard(trial.trial_id)

    def _run_id(self, trial: Trial) -> str:
        """Return the trial's run, made on first use: a trial whose process cannot start fails unstarted."""
        if trial.trial_id not in self._runs:
            name = f"trial-{len(self._runs) + 1:03d}"
            run = start_run(
                self._client,
                self._study.facts["experiment_id"],
                name,
                data=self._data,
                tags={
                    "mlflow.parentRunId": self._study.facts["parent_run_id"],
                    "walslab.study": self._study.name,
                },
                params=self._spec.config(trial.config).to_dict(),
            )
            self._runs[trial.trial_id] = (name, run.info.run_id)
            self._study.add_run(trial.trial_id, name, run.info.run_id)
            self._flushed[trial.trial_id] = time.monotonic()
        return self._runs[trial.trial_id][1]

    def _flush(self, trial: Trial) -> None:
        metrics = self._pending.get(trial.trial_id, [])
        self._flushed[trial.trial_id] = time.monotonic()
        if metrics:
            self._client.log_batch(self._run_id(trial), metrics=metrics)
        # Not before they are written: Ray takes an error here for the trial's, and what is then written of
        # the failed trial must fail, too, so that the study stops and can be resumed.
        self._pending.pop(trial.trial_id, None)

    def _close(
        self, trial: Trial, status: str, *, stopped: str | None = None, reason: str | None = None
    ) -> None:
        run_id, name = self._run_id(trial), self._runs[trial.trial_id][0]
        last = trial.last_result or {}
        self._client.set_terminated(run_id, status)
        self._open.discard(trial.trial_id)
        self._study.add(
            TrialResult(
                trial=name,
                run_id=run_id,
                status=status,
                stopped=stopped,
                valid_rmse=last.get("valid_rmse"),
                ranking={key: last[key] for key in self._spec.metric.keys if key in last},
                train_rmse=last.get("train_rmse"),
                iterations=last.get("training_iteration", 0),
                seconds=self._seconds.get(trial.trial_id, 0.0),
                config=self._spec.config(trial.config).to_dict(),
                reason=reason,
            )
        )


def start_parent(
    tracking: Tracking, study_name: str, spec: dict[str, Any], data: DatasetFacts
) -> tuple[str, str]:
    """Create the experiment where it is missing, and the parent run of a study.

    Returns
    -------
    experiment_id, run_id : str

    Raises
    ------
    StudyError
        When the store is not usable.
    """
    client = tracking.client()
    experiment_id = tracking.experiment_id(client)
    tags = {"walslab.study": study_name}
    run = start_run(client, experiment_id, study_name, data=data, tags=tags, params=flatten(spec))
    client.log_dict(run.info.run_id, spec, "spec.json")
    return experiment_id, run.info.run_id


def client_of(study: Study) -> MlflowClient:
    """Return a client of the store that holds a study.

    Raises
    ------
    StudyError
        When the study never began, or the store does not answer or does not have its parent run.
    """
    if "parent_run_id" not in study.facts:
        raise StudyError(
            f"study {study.name} was killed before it began: remove {study.path}, and start it again"
        )
    tracking = Tracking.of_study(study.facts["tracking_uri"], study.facts["experiment"])
    client = tracking.client()
    tracking.require_run(client, study.facts["parent_run_id"])
    return client


def reopen_parent(study: Study) -> None:
    """Say in the store that a study is running."""
    client_of(study).update_run(study.facts["parent_run_id"], status="RUNNING")


def finish_parent(study: Study, status: str) -> None:
    """Write a study's summary to its parent run and close it."""
    from mlflow.entities import Metric

    client = client_of(study)
    run_id = study.facts["parent_run_id"]
    _settle_children(study, client, finished=status == "FINISHED")
    trials = study.trials()
    done = [t for t in trials if t["status"] == "FINISHED"]
    values: dict[str, float] = {"n_done": len(done), "n_failed": sum(t["status"] == "FAILED" for t in trials)}
    if done and done[0]["valid_rmse"] is not None:
        values["best_valid_rmse"] = done[0]["valid_rmse"]
        values |= {f"best_{key}": value for key, value in done[0].get("ranking", {}).items()}
        client.set_tag(run_id, "walslab.best_trial", done[0]["trial"])
        client.set_tag(run_id, "walslab.best_run_id", done[0]["run_id"])
    now = int(time.time() * 1000)
    client.log_batch(run_id, metrics=[Metric(k, float(v), now, 0) for k, v in values.items()])
    client.log_dict(run_id, {"trials": trials}, "trials.json")
    client.set_terminated(run_id, status)


def _settle_children(study: Study, client: MlflowClient, *, finished: bool) -> None:
    """Leave no child run RUNNING: a process that is killed takes trials along of which Ray had no snapshot.

    Ray proposes those again under other names, so that in a finished study their runs are superfluous.
    """
    recorded = {trial["run_id"] for trial in study.trials()}
    of_parent = f"tags.`mlflow.parentRunId` = '{study.facts['parent_run_id']}'"
    token = None
    while True:
        page = client.search_runs([study.facts["experiment_id"]], of_parent, page_token=token)
        for run in page:
            if run.info.run_id in recorded:
                continue
            if finished:
                client.delete_run(run.info.run_id)
            elif run.info.status == "RUNNING":
                client.set_tag(run.info.run_id, "walslab.reason", "the study was stopped")
                client.set_terminated(run.info.run_id, "KILLED")
        token = page.token
        if not token:
            return


def flatten(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys as ``a.b`` with plain values, the form of MLflow parameters."""
    flat: dict[str, Any] = {}
    for key, value in document.items():
        if isinstance(value, dict) and "low" in value:
            flat[prefix + key] = f"{value['low']:g} to {value['high']:g}, {value['scale']}"
        elif isinstance(value, dict) and "choices" in value:
            flat[prefix + key] = ", ".join(map(str, value["choices"]))
        elif isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat
