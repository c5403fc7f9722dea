"""Problems of an MLflow store, told in one line with the way on."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from urllib.parse import urlsplit, urlunsplit

from toolkit.errors import StudyError
from toolkit.files import mask

_PATIENCE = 5  # seconds that a tracking server has to answer before a study is refused
_ADVICE = {
    "readonly database": "make the file and its folder writable, or set MLFLOW_TRACKING_URI to another store",
    "disk is full": "make room on its disk",
    "No space left": "make room on its disk",
    "database is locked": "end the other program that writes to it",
}


def first_line(error: BaseException) -> str:
    """Return what an error says, in one line and without passwords; SQLAlchemy adds lines of SQL."""
    lines = str(error).strip().splitlines()
    # MLflow quotes the address that it asked, and what may be in it.
    return mask(lines[0] if lines else repr(error))


def unusable(uri: str, error: BaseException) -> StudyError:
    """Return the error that says why a store cannot be used, and what to do about it."""
    text = first_line(error).replace(uri, mask(uri))
    advice = next((f"; {way}" for sign, way in _ADVICE.items() if sign in text), "")
    return StudyError(f"the MLflow store {mask(uri)} is not usable: {text}{advice}")


def deleted_experiment(uri: str, name: str, experiment_id: str, *, choose_another: bool) -> StudyError:
    """Return the error for an experiment that somebody deleted in MLflow."""
    command = f"experiments restore --experiment-id {experiment_id}"
    another = "set MLFLOW_EXPERIMENT_NAME to another name, or " if choose_another else ""
    return StudyError(f"the MLflow experiment {name!r} was deleted: {another}{_restore(uri, command)}")


def deleted_run(uri: str, run_id: str) -> StudyError:
    """Return the error for the parent run of a study that somebody deleted in MLflow."""
    command = f"runs restore --run-id {run_id}"
    return StudyError(f"the study's parent run was deleted in MLflow: {_restore(uri, command)}")


def gone_run(uri: str, run_id: str) -> StudyError:
    """Return the error for the parent run of a study that the store does not have."""
    return StudyError(
        f"the MLflow store {mask(uri)} does not have the study's parent run {run_id} any more, perhaps after "
        "`mlflow gc`: bring the store back as it was, or begin a new study with what this one found, by "
        "`walslab tune DATASET --name NEW --start STUDY`"
    )


def _restore(uri: str, command: str) -> str:
    return f"run `mlflow {command}` with MLFLOW_TRACKING_URI={mask(uri)}"


def is_server(uri: str) -> bool:
    """Return whether a store is an MLflow server, which is asked over HTTP and has a page."""
    return uri.startswith(("http://", "https://"))


def require_answer(uri: str) -> None:
    """Ask a server for its health first: MLflow's client would retry for minutes before it gives up.

    Raises
    ------
    StudyError
        When `uri` is the address of a server, and nothing answers there within seconds.
    """
    if not is_server(uri):
        return
    try:
        parts = urlsplit(uri)
        # urllib takes user and password for a part of the host's name.
        bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
        health = f"{urlunsplit(bare).rstrip('/')}/health"
        with urllib.request.urlopen(health, timeout=_PATIENCE):  # noqa: S310 - http(s) only
            return
    except urllib.error.HTTPError:
        return  # the server answers; if it objects to something, MLflow's client says so better
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise StudyError(
            f"no MLflow server answers at MLFLOW_TRACKING_URI={mask(uri)} ({error}): start it, or "
            "unset the variable to record in ./mlflow.db"
        ) from error
