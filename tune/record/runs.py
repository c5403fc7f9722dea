"""A study's runs in the MLflow store that it names: how to reach them, and what they hold."""

from __future__ import annotations

import contextlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from toolkit.errors import StudyError
from toolkit.files import mask
from toolkit.solver import Factors
from tune.record.tracking import Tracking
from tune.study import Study, TrialResult

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_log = logging.getLogger(__name__)
# Files that are sent at once.
_UPLOADS = 4


def client_of(study: Study) -> MlflowClient:
    """Return a client of the store that holds a study.

    Raises
    ------
    StudyError
        When the study never began, or the store does not answer or does not have its parent run.
    """
    if "parent_run_id" not in study.facts:
        raise StudyError(
            f"study {study.name} was killed before it began: `walslab resume {study.reference}` begins it"
        )
    tracking = Tracking.of_study(study.facts["tracking_uri"], study.facts["experiment"])
    tracking.require_store()
    client = tracking.client()
    tracking.require_run(client, study.facts["parent_run_id"])
    return client


def children(client: MlflowClient, study: Study, trial: str | None = None) -> Iterator[Run]:
    """Yield the child runs of a study, or those of one trial."""
    found = f"tags.`mlflow.parentRunId` = '{study.facts['parent_run_id']}'"
    if trial:
        found += f" and tags.`walslab.trial` = '{trial}'"
    token = None
    while True:
        page = client.search_runs([study.facts["experiment_id"]], found, page_token=token, max_results=1000)
        yield from page
        token = page.token
        if not token:
            return


def trial_factors(study: Study, result: TrialResult) -> Factors | None:
    """Return the factors that a trial ended with, from the study or from its run; None where none were kept.

    Raises
    ------
    StudyError
        When the MLflow store does not answer.
    """
    folder = study.factors_folder(result["trial"])
    if folder.is_dir():
        return Factors.load(folder)
    if result["run_id"] is None:
        return None
    client = client_of(study)
    place = local_path(client.get_run(result["run_id"]).info.artifact_uri)
    if place is not None and place.is_dir():
        return Factors.load(place / "factors") if (place / "factors").is_dir() else None
    if not any(entry.path == "factors" for entry in client.list_artifacts(result["run_id"])):
        return None
    with tempfile.TemporaryDirectory() as temporary:
        # Its arrays are mapped from the files, which stay readable while they are: on Unix.
        return Factors.load(client.download_artifacts(result["run_id"], "factors", temporary))


def hand_over(client: MlflowClient, run_id: str, artifact_uri: str, folder: Path, name: str) -> None:
    """Give a folder to a run: moved where the store keeps files on this disk, sent otherwise."""
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
    """Give a run a copy of a folder, in the place of what it had of that name."""
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    if client.list_artifacts(run_id, name):
        uri = client.get_run(run_id).info.artifact_uri
        try:
            get_artifact_repository(uri, tracking_uri=client.tracking_uri).delete_artifacts(name)
        except Exception as error:  # noqa: BLE001 - a store that lets nobody delete; each has its own
            _log.warning("files of an earlier %s may be left in run %s: %s", name, run_id, mask(str(error)))
    client.log_artifacts(run_id, str(folder), name)


def local_path(uri: str | None) -> Path | None:
    """Return the folder on this machine that an artifact URI means, or None."""
    parts = urlsplit(uri or "")
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if uri and not parts.scheme else None
