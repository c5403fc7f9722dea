"""The parent run of a study in MLflow: what was asked, how it went, and the comparison of its trials."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.figure_text import shown
from tune.record.run_writing import create_run, log, log_dataset
from tune.record.runs import children, client_of, tracking_of
from tune.record.study_view import note_of_links, write_view
from tune.record.tracking import Tracking
from tune.study import Study, TrialResult, best_so_far, value

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, RunTag


def start_parent(study: Study, tracking: Tracking) -> None:
    """Create the parent run of a study, and its experiment where it is missing; note both in the study.

    Raises
    ------
    StudyError
        When the store is not usable.
    """
    client = tracking.client()
    experiment_id, facts = tracking.experiment_id(client), study.facts
    with tracking.errors():
        # An earlier process may have been killed before it could note the run that it made.
        of_study = f"tags.`walslab.study_id` = '{facts['id']}'"
        run = next(iter(client.search_runs([experiment_id], of_study)), None)
        if run is None:
            tags = {"walslab.study": study.name, "walslab.study_id": facts["id"]}
            run = create_run(client, experiment_id, study.name, data=study.data, tags=tags)
        run_id = run.info.run_id
        try:
            log(client, run_id, params=flatten(facts["spec"]))
            log_dataset(client, run_id, study.data)
            client.log_dict(run_id, facts["spec"], "spec.json")
            study.update(experiment_id=experiment_id, parent_run_id=run_id)
        except BaseException:
            client.delete_run(run_id)
            raise


def reopen_parent(study: Study) -> None:
    """Mark the parent run as running, and write what was changed since the study was made, and its view.

    The run is created where the study's first process was killed before it did.

    Raises
    ------
    StudyError
        When the store is not usable, or somebody deleted the run.
    """
    tracking = tracking_of(study)
    if "parent_run_id" not in study.facts:
        start_parent(study, tracking)
    client = client_of(study)
    with tracking.errors():
        client.update_run(study.facts["parent_run_id"], status="RUNNING")
        _log_changes(client, study)
    if "view" not in study.facts:
        write_view(client, study)
    if tracking.shown != study.facts["tracking_uri"]:
        # The user moved the store, and said so by MLFLOW_TRACKING_URI.
        study.update(tracking_uri=tracking.shown)


def _log_changes(client: MlflowClient, study: Study) -> None:
    """Write the keys of the specification that were changed: as tags, because MLflow changes no parameter."""
    from mlflow.entities import RunTag

    changed, run_id = flatten(study.facts.get("changed", {})), study.facts["parent_run_id"]
    if changed:
        log(
            client, run_id, tags=[RunTag(f"walslab.spec.{key}", str(value)) for key, value in changed.items()]
        )
        client.log_dict(run_id, study.facts["spec"], "spec.json")


def finish_parent(study: Study, status: str) -> None:
    """Write a study's summary and the comparison of its trials to its parent run, and close the run.

    Parameters
    ----------
    study : Study
    status : {"FINISHED", "KILLED", "FAILED"}
        How the study ended, in MLflow's word.
    """
    from tune.report import write_report

    client, run_id, trials = client_of(study), study.facts["parent_run_id"], study.trials()
    _close_stopped(client, study)
    log(client, run_id, _metrics(study, trials), _tags(study, trials))
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), name=study.name, facts=study.facts, spec=study.spec, trials=trials)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, status)


def _close_stopped(client: MlflowClient, study: Study) -> None:
    """Close the runs of trials that ran when the process was stopped; a resumed study runs them again."""
    recorded = study.recorded()
    for run in children(client, study):
        if run.info.status == "RUNNING" and run.data.tags.get("walslab.trial") not in recorded:
            client.set_tag(run.info.run_id, "walslab.reason", "the study was stopped")
            client.set_terminated(run.info.run_id, "KILLED")


def _metrics(study: Study, trials: Sequence[TrialResult]) -> list[Metric]:
    """Return the counts of trials, and the best figure after each trial that ended."""
    from mlflow.entities import Metric

    metric, now = study.spec.metric, int(time.time() * 1000)
    done = [trial for trial in trials if trial["status"] == "FINISHED"]
    in_time = sorted(trials, key=lambda trial: trial["ended"])
    metrics = [
        Metric("n_done", len(done), now, 0),
        Metric("n_failed", sum(trial["status"] == "FAILED" for trial in trials), now, 0),
        *(
            Metric(f"best_{metric.key}", best, int(trial["ended"] * 1000), step)
            for step, (trial, best) in enumerate(zip(in_time, best_so_far(trials, metric), strict=True), 1)
            if best is not None
        ),
    ]
    baselines = study.facts.get("baselines") or {}
    metrics += [
        Metric(name, baselines[key], now, 0)
        for name, key in (("baseline_rmse", "bias_rmse"), ("mean_rmse", "mean_rmse"))
        if key in baselines
    ]
    if done and metric.k and done[0]["valid_rmse"] is not None:
        metrics.append(Metric("best_valid_rmse", done[0]["valid_rmse"], now, len(trials)))
    return metrics


def _tags(study: Study, trials: Sequence[TrialResult]) -> list[RunTag]:
    from mlflow.entities import RunTag

    tags = [RunTag("mlflow.note.content", _note(study, trials))]
    if trials and trials[0]["status"] == "FINISHED":
        tags += [
            RunTag("walslab.best_trial", trials[0]["trial"]),
            RunTag("walslab.best_run_id", trials[0]["run_id"] or ""),
        ]
    return tags


def _note(study: Study, trials: Sequence[TrialResult]) -> str:
    """Return the description of the run that the UI shows, in Markdown."""
    metric = study.spec.metric
    best = value(trials[0], metric) if trials else None
    sentence = "" if best is None else f" Best {metric.label} **{shown(best)}** ({trials[0]['trial']})."
    return (
        f"{len(trials)} of {study.spec.trials} trials of a walslab study.{sentence} {note_of_links(study)} "
        "The comparison of its trials is `report.html` among the artifacts."
    )


def flatten(document: Mapping[str, object], prefix: str = "") -> dict[str, object]:
    """Return nested keys as ``a.b`` with plain values, the form of MLflow parameters."""
    flat: dict[str, object] = {}
    for key, entry in document.items():
        if isinstance(entry, dict) and "low" in entry:
            flat[prefix + key] = f"{entry['low']:g} to {entry['high']:g}, {entry['scale']}"
        elif isinstance(entry, dict) and "choices" in entry:
            flat[prefix + key] = ", ".join(map(str, entry["choices"]))
        elif isinstance(entry, dict):
            flat.update(flatten(entry, f"{prefix}{key}."))
        else:
            flat[prefix + key] = entry
    return flat
