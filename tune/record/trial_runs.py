"""The MLflow run of each trial of a study: found again, made on first use, made anew where it was deleted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tune.record.run_writing import create_run, log
from tune.record.runs import children
from tune.study import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run, RunTag

_ABSENT = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code


class TrialRuns:
    """The runs of a study's trials, each made once, whatever fails between a request and its answer.

    Parameters
    ----------
    client : MlflowClient
        Client of the study's store.
    study : Study
        Its journal notes which run a trial has.

    Attributes
    ----------
    taken_up : frozenset of str
        Trials that have a run from an earlier process which did not finish its record.
    """

    def __init__(self, client: MlflowClient, study: Study) -> None:
        self._client, self._study = client, study
        recorded = study.recorded()
        self._runs = study.runs()
        self._artifact_uris: dict[str, str] = {}
        self._described: set[str] = set()
        self._doubted: set[str] = set()
        for run in children(client, study):
            # A process can be killed, or an answer lost, after a run was made and before it was noted.
            self._adopt(run)
        self._last_steps = {
            trial: self._step_in_store(run_id)
            for trial, run_id in self._runs.items()
            if trial not in recorded
        }
        self.taken_up = frozenset(self._last_steps)

    def last_step(self, trial: str) -> int:
        """Return the last iteration whose figures the trial's run has; 0 where it has none."""
        return self._last_steps.get(trial, 0)

    def note_step(self, trial: str, step: int) -> None:
        """Note that the trial's run has the figures up to an iteration."""
        self._last_steps[trial] = max(step, self.last_step(trial))

    def log(
        self,
        trial: str,
        config: Mapping[str, object],
        started: float,
        metrics: Sequence[Metric],
        tags: Sequence[RunTag] = (),
    ) -> str:
        """Write to a trial's run, the first time with its parameters; return the run.

        Parameters
        ----------
        trial : str
        config : mapping of str to object
            Hyperparameters of the trial.
        started : float
            When the trial began, in seconds since the epoch.
        metrics : sequence of Metric
        tags : sequence of RunTag, optional

        Notes
        -----
        All goes in one request where possible: each takes a server that asks for passwords 0.2 s.
        """
        if trial in self._doubted:
            self._look_again(trial)
            self._doubted.discard(trial)
        if trial not in self._runs:
            # Tags of a new run cost nothing; in a request of their own they take a server a tenth of a trial.
            self._create(trial, started, tags)
            tags = ()
        run_id = self._runs[trial]
        log(self._client, run_id, metrics, tags, None if trial in self._described else config)
        self._described.add(trial)
        return run_id

    def doubt(self, trial: str) -> None:
        """Note that a request for a trial failed.

        The store may have obeyed it all the same, or somebody may have deleted the run: `log` looks again.
        """
        self._doubted.add(trial)

    def artifact_uri(self, run_id: str) -> str:
        """Return where the files of a run are."""
        if run_id not in self._artifact_uris:
            self._artifact_uris[run_id] = self._client.get_run(run_id).info.artifact_uri
        return self._artifact_uris[run_id]

    def delete(self, trial: str) -> None:
        """Delete a trial's run: figures that were logged cannot be taken back."""
        self._client.delete_run(self._runs[trial])
        self._forget(trial)

    def forget_reason(self, run_id: str) -> None:
        """Remove the tag that says what an earlier process was stopped for."""
        if "walslab.reason" in self._client.get_run(run_id).data.tags:
            self._client.delete_tag(run_id, "walslab.reason")

    def _create(self, trial: str, started: float, tags: Sequence[RunTag]) -> None:
        facts = self._study.facts
        of_trial = {tag.key: tag.value for tag in tags} | {
            "mlflow.parentRunId": facts["parent_run_id"],
            "walslab.study": self._study.name,
            "walslab.trial": trial,
        }
        run = create_run(
            self._client,
            facts["experiment_id"],
            trial,
            data=self._study.data,
            tags=of_trial,
            start_time=int(started * 1000),
        )
        self._note(trial, run)

    def _look_again(self, trial: str) -> None:
        run_id = self._runs.get(trial)
        if run_id and self._is_deleted(run_id):
            self._forget(trial)
        for run in children(self._client, self._study, trial):
            self._adopt(run)

    def _is_deleted(self, run_id: str) -> bool:
        from mlflow.exceptions import MlflowException

        try:
            return bool(self._client.get_run(run_id).info.lifecycle_stage == "deleted")
        except MlflowException as error:
            if error.error_code == _ABSENT:  # `mlflow gc` removed it
                return True
            raise

    def _forget(self, trial: str) -> None:
        del self._runs[trial]
        self._described.discard(trial)
        self._last_steps.pop(trial, None)

    def _adopt(self, run: Run) -> None:
        trial = run.data.tags.get("walslab.trial")
        if trial and trial not in self._runs:
            self._note(trial, run)

    def _note(self, trial: str, run: Run) -> None:
        self._runs[trial] = run.info.run_id
        self._artifact_uris[run.info.run_id] = run.info.artifact_uri
        self._study.journal.append("run", trial=trial, run_id=run.info.run_id)

    def _step_in_store(self, run_id: str) -> int:
        history = self._client.get_metric_history(run_id, "valid_rmse")
        return max((metric.step for metric in history), default=0)
