"""Requests that write to one MLflow run: make it, describe it, log to it."""

from __future__ import annotations

import getpass
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.files import is_address
from tune.study import DatasetFacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run, RunTag

_BATCH = 1000  # metrics, parameters and tags that MLflow takes at once


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    data: DatasetFacts,
    tags: Mapping[str, str],
    start_time: int | None = None,
) -> Run:
    """Create a run with its tags, among them the digest of the dataset.

    Parameters
    ----------
    client : MlflowClient
    experiment_id : str
    name : str
        Name of the run.
    data : DatasetFacts
        The dataset of the study.
    tags : mapping of str to str
        Tags of this run alone.
    start_time : int, optional
        Milliseconds since the epoch; now where not given.
    """
    common = {
        "walslab.dataset_digest": data["digest"],
        **lineage_tags(data),
        "mlflow.source.name": "walslab tune",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    return client.create_run(experiment_id, start_time=start_time, run_name=name, tags={**common, **tags})


def lineage_tags(data: DatasetFacts) -> dict[str, str]:
    """Return the tag that names the datasets that a sample comes from, the nearest first; none for others."""
    steps = ", ".join(step["digest"] for step in data["derived"])
    return {"walslab.derived_from": steps} if steps else {}


def log_dataset(client: MlflowClient, run_id: str, data: DatasetFacts, context: str = "training") -> None:
    """Make a dataset an input of a run; repeating it changes nothing.

    Only the parent run of a study has this input: one for each trial makes MLflow's searches slow.

    Parameters
    ----------
    client : MlflowClient
    run_id : str
    data : DatasetFacts
    context : str, default "training"
        What the run did with it, as MLflow shows it.
    """
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=Path(data["dataset"]).name,
        digest=data["digest"],
        source_type=data["dataset"].partition("://")[0] if is_address(data["dataset"]) else "local",
        source=json.dumps({"uri": data["dataset"]}),
        profile=json.dumps(data["counts"]),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", context)])])


def log(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[Metric] = (),
    tags: Sequence[RunTag] = (),
    params: Mapping[str, object] | None = None,
) -> None:
    """Write to a run, in as few requests as MLflow's limit of 1,000 entries in one allows."""
    from mlflow.entities import Param

    given = [Param(key, "none" if value is None else str(value)) for key, value in (params or {}).items()]
    first = _BATCH - len(given) - len(tags)
    client.log_batch(run_id, metrics[:first], given, tags)
    for begin in range(first, len(metrics), _BATCH):
        client.log_batch(run_id, metrics[begin : begin + _BATCH])


def _user() -> str:
    # In a container the number of the user often has no name.
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
