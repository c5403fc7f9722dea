"""Record a refit: metrics and model in the study's parent run, and the facts of it in the study."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import StudyError
from toolkit.files import mask
from tune.study import DatasetFacts, Study, TrialResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

    from toolkit.solver import BaselineErrors
    from tune.refit.sampling import Sampled

# Metrics that MLflow takes at once.
_BATCH = 1000


def record_refit(
    study: Study,
    client: MlflowClient,
    folder: Path,
    *,
    data: DatasetFacts,
    best: TrialResult,
    metrics: Mapping[str, float | None],
    baselines: BaselineErrors | None,
    sampled: Sampled | None,
) -> None:
    """Write to the parent run and to the study which model was saved.

    Parameters
    ----------
    study : Study
    client : MlflowClient
        Client of the study's store.
    folder : Path
        The model directory.
    data : DatasetFacts
        What it was trained on. Where the study was run on a sample of that, it becomes a further input of the
        parent run, and the run and the study say so.
    best : TrialResult
        The best trial of the study.
    metrics : mapping of str to float or None
        What the parent run is to have; None is left out. ``test_rmse`` also goes to the study.
    baselines : BaselineErrors or None
        On the test ratings; goes to the study with a posterior.
    sampled : Sampled or None
        The posterior, as it holds on the validation ratings. The parent run gets its RMSE by sample, its
        coverage and a picture of both.

    Raises
    ------
    StudyError
        When the MLflow store does not take it.
    """
    from mlflow.entities import Metric

    from tune.record import log_dataset, replace_artifacts

    of_sample = data["digest"] != study.facts["digest"]
    if sampled:
        _record_posterior(study, client, folder, sampled)
    now, run_id = int(time.time() * 1000), study.facts["parent_run_id"]
    try:
        known = [Metric(key, float(value), now, 0) for key, value in metrics.items() if value is not None]
        client.log_batch(run_id, metrics=known)
        if of_sample:
            log_dataset(client, run_id, data, context="refit")
            client.set_tag(run_id, "walslab.refit_dataset_digest", data["digest"])
        replace_artifacts(client, run_id, folder, "model")
    except Exception as error:
        raise StudyError(
            f"the model is in {folder}, but the MLflow store did not take it: {mask(str(error))}; refit "
            "again with --overwrite"
        ) from error
    facts: dict[str, object] = {
        "trial": best["trial"],
        "model": str(folder.resolve()),
        "test_rmse": metrics["test_rmse"],
    }
    if of_sample:
        facts |= {"dataset": data["dataset"], "digest": data["digest"]}
    if sampled:
        facts |= {"posterior": sampled.facts, "baselines": baselines}
    study.keep_refit(facts)


def _record_posterior(study: Study, client: MlflowClient, folder: Path, sampled: Sampled) -> None:
    from mlflow.entities import Metric

    from tune.report import calibration_picture

    now, facts = int(time.time() * 1000), sampled.facts
    metrics = [
        Metric("posterior_valid_rmse", error, now, at) for at, error in enumerate(sampled.valid_rmse, 1)
    ]
    once = {
        "posterior_noise": facts["noise"],
        "posterior_r_hat": facts["r_hat"],
        "posterior_effective_samples": facts["effective_samples"],
        **{
            f"posterior_coverage_{float(level):.0%}".rstrip("%"): share
            for level, share in (facts["coverage"] or {}).items()
        },
    }
    metrics += [Metric(key, value, now, 0) for key, value in once.items() if value is not None]
    try:
        for at in range(0, len(metrics), _BATCH):
            client.log_batch(study.facts["parent_run_id"], metrics=metrics[at : at + _BATCH])
        client.log_text(study.facts["parent_run_id"], calibration_picture(facts), "calibration.svg")
    except Exception as error:
        raise StudyError(
            f"the model is in {folder}, but the MLflow store did not take how it was sampled: "
            f"{mask(str(error))}; refit again with --overwrite"
        ) from error
