"""The parent run of a study in MLflow: what was asked, how it went, and the comparison of its trials."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from tune.record.runs import children, client_of
from tune.record.tracking import Tracking, create_run, describe_run, log
from tune.study import Study, TrialResult, best_so_far, value


def start_parent(study: Study, tracking: Tracking) -> None:
    """Create the experiment where it is missing and the parent run of a study, and note both in the study.

    Raises
    ------
    StudyError
        When the store is not usable.
    """
    client = tracking.client()
    experiment_id, facts = tracking.experiment_id(client), study.facts
    # An earlier process may have been killed before it could note the run that it made.
    of_study = f"tags.`walslab.study_id` = '{facts['id']}'"
    run = next(iter(client.search_runs([experiment_id], of_study)), None)
    if run is None:
        tags = {"walslab.study": study.name, "walslab.study_id": facts["id"]}
        run = create_run(client, experiment_id, study.name, data=study.data, tags=tags)
    run_id = run.info.run_id
    try:
        describe_run(client, run_id, data=study.data, params=flatten(facts["spec"]))
        client.log_dict(run_id, facts["spec"], "spec.json")
        study.update(experiment_id=experiment_id, parent_run_id=run_id)
    except BaseException:
        client.delete_run(run_id)
        raise


def reopen_parent(study: Study) -> None:
    """Say in the store that a study is running; begin it where its first process was killed before it did."""
    if "parent_run_id" not in study.facts:
        start_parent(study, Tracking.of_study(study.facts["tracking_uri"], study.facts["experiment"]))
    client_of(study).update_run(study.facts["parent_run_id"], status="RUNNING")


def finish_parent(study: Study, status: str) -> None:
    """Write a study's summary and the comparison of its trials to its parent run, and close it."""
    from mlflow.entities import Metric, RunTag

    from tune.report import write_report

    client, run_id = client_of(study), study.facts["parent_run_id"]
    recorded = study.recorded()
    for run in children(client, study):
        # What was running when the process was killed; it is run again when the study is resumed.
        if run.info.status == "RUNNING" and run.data.tags.get("walslab.trial") not in recorded:
            client.set_tag(run.info.run_id, "walslab.reason", "the study was stopped")
            client.set_terminated(run.info.run_id, "KILLED")
    trials, metric = study.trials(), study.spec.metric
    done = [trial for trial in trials if trial["status"] == "FINISHED"]
    now = int(time.time() * 1000)
    metrics = [
        Metric("n_done", len(done), now, 0),
        Metric("n_failed", sum(trial["status"] == "FAILED" for trial in trials), now, 0),
    ]
    in_time = sorted(trials, key=lambda trial: trial["ended"])
    metrics += [
        Metric(f"best_{metric.key}", best, int(trial["ended"] * 1000), step)
        for step, (trial, best) in enumerate(zip(in_time, best_so_far(trials, metric), strict=True), 1)
        if best is not None
    ]
    tags = [RunTag("mlflow.note.content", _note(study, trials))]
    if done:
        tags += [
            RunTag("walslab.best_trial", done[0]["trial"]),
            RunTag("walslab.best_run_id", done[0]["run_id"] or ""),
        ]
        if metric.k and done[0]["valid_rmse"] is not None:
            metrics.append(Metric("best_valid_rmse", done[0]["valid_rmse"], now, len(trials)))
    log(client, run_id, metrics, tags)
    with tempfile.TemporaryDirectory() as folder:
        write_report(Path(folder), name=study.name, facts=study.facts, spec=study.spec, trials=trials)
        client.log_artifacts(run_id, folder)
    client.set_terminated(run_id, status)


def _note(study: Study, trials: list[TrialResult]) -> str:
    """Return what the UI shows as the run's description, in Markdown."""
    metric = study.spec.metric
    best = value(trials[0], metric) if trials else None
    found = "" if best is None else f" Best {metric.label} **{best:.4f}** ({trials[0]['trial']})."
    return (
        f"{len(trials)} of {study.spec.trials} trials of a walslab study.{found} "
        "The comparison of its trials is `report.html` among the artifacts."
    )


def flatten(document: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return nested keys as ``a.b`` with plain values, the form of MLflow parameters."""
    flat: dict[str, Any] = {}
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
