"""Files of a run: factors and models, moved into the store, read back, replaced and removed."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.solver import Factors
from tune.record.moved_store import local_path
from tune.record.runs import client_of
from tune.record.store_problems import first_line
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from mlflow import MlflowClient

_log = logging.getLogger(__name__)
_UPLOADS = 4  # files that are sent at once
_ABSENT = "RESOURCE_DOES_NOT_EXIST"  # MLflow's error code


def trial_factors(study: Study, result: TrialResult) -> Factors | None:
    """Return the factors that a trial ended with, from the study or from its run; None where none were kept.

    Raises
    ------
    StudyError
        When the MLflow store does not answer.
    """
    from mlflow.exceptions import MlflowException

    folder = study.factors_folder(result["trial"])
    if folder.is_dir():
        return Factors.load(folder)
    run_id = result["run_id"]
    if run_id is None:
        return None
    client = client_of(study)
    try:
        place = local_path(client.get_run(run_id).info.artifact_uri)
    except MlflowException as error:
        if error.error_code == _ABSENT:  # `mlflow gc` removed it
            return None
        raise
    if place is not None and place.is_dir():
        return Factors.load(place / "factors") if (place / "factors").is_dir() else None
    if not any(entry.path == "factors" for entry in client.list_artifacts(run_id)):
        return None
    with tempfile.TemporaryDirectory() as temporary:
        # The arrays are mapped from the files; Unix keeps such files readable after their names are removed.
        return Factors.load(client.download_artifacts(run_id, "factors", temporary))


def move_into_run(client: MlflowClient, run_id: str, artifact_uri: str, folder: Path, name: str) -> None:
    """Give a folder to a run under a name: move it where the store keeps files on this disk, else send it."""
    place = local_path(artifact_uri)
    if place is not None:
        with contextlib.suppress(OSError):
            place.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(place / name, ignore_errors=True)
            folder.rename(place / name)
            return
    # The first alone, as the client then asks for the place once; the others at once, each being a request.
    first, *others = sorted(folder.iterdir())
    client.log_artifact(run_id, str(first), name)
    with ThreadPoolExecutor(_UPLOADS) as pool:
        list(pool.map(lambda file: client.log_artifact(run_id, str(file), name), others))
    shutil.rmtree(folder, ignore_errors=True)


def replace_artifacts(client: MlflowClient, run_id: str, folder: Path, name: str) -> None:
    """Give a run a copy of a folder, in place of the files that it had under that name."""
    if client.list_artifacts(run_id, name):
        try:
            delete_artifacts(client, client.get_run(run_id).info.artifact_uri, name)
        except Exception as error:  # noqa: BLE001 - a store that lets nobody delete; each has its own
            _log.warning("files of an earlier %s may be left in run %s: %s", name, run_id, first_line(error))
    client.log_artifacts(run_id, str(folder), name)


def delete_artifacts(client: MlflowClient, artifact_uri: str, name: str | None = None) -> None:
    """Delete the files of a run under a name, or all of them and the run's folder; repeating it is fine."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    get_artifact_repository(artifact_uri, tracking_uri=client.tracking_uri).delete_artifacts(name)
    place = local_path(artifact_uri)
    if name is None and place is not None:
        # MLflow keeps the files of a run in a folder of its own, which holds nothing else.
        with contextlib.suppress(OSError):
            place.parent.rmdir()
