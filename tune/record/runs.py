"""A study's runs in the MLflow store that it names: the client to reach them, and the runs of its trials."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from toolkit.errors import StudyError
from tune.record.tracking import Tracking
from tune.study import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

_PAGE = 1000  # runs of one request


def tracking_of(study: Study) -> Tracking:
    """Return the store and the experiment that a study names.

    Raises
    ------
    StudyError
        When the store needs a password that the environment does not have.
    """
    return Tracking.of_study(study.facts["tracking_uri"], study.facts["experiment"])


def client_of(study: Study) -> MlflowClient:
    """Return a client of the store that holds a study.

    Raises
    ------
    StudyError
        When the study never began, the store does not answer or does not have the study's parent run, or
        somebody deleted that run in MLflow.
    """
    if "parent_run_id" not in study.facts:
        raise StudyError(
            f"study {study.name} was killed before it began: `walslab resume {study.reference}` begins it"
        )
    tracking = tracking_of(study)
    tracking.require_store()
    client = tracking.client()
    tracking.require_run(client, study.facts["parent_run_id"])
    return client


def children(
    client: MlflowClient, study: Study, trial: str | None = None, *, deleted: bool = False
) -> Iterator[Run]:
    """Yield the child runs of a study.

    Parameters
    ----------
    client : MlflowClient
        Client of the study's store.
    study : Study
    trial : str, optional
        Yield the runs of this trial alone.
    deleted : bool, default False
        Whether to yield also the runs that were deleted.
    """
    from mlflow.entities import ViewType

    wanted = f"tags.`mlflow.parentRunId` = '{study.facts['parent_run_id']}'"
    if trial:
        wanted += f" and tags.`walslab.trial` = '{trial}'"
    view, token = ViewType.ALL if deleted else ViewType.ACTIVE_ONLY, None
    while True:
        page = client.search_runs(
            [study.facts["experiment_id"]], wanted, view, page_token=token, max_results=_PAGE
        )
        yield from page
        token = page.token
        if not token:
            return
