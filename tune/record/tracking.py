"""Where runs are recorded: the MLflow store of the standard variables, or ``mlflow.db`` in this folder."""

from __future__ import annotations

import contextlib
import getpass
import http.client
import json
import os
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from toolkit.errors import StudyError
from toolkit.files import MASK, atomic, is_address, mask
from tune.study import DatasetFacts

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment, Metric, Run, RunTag

_DEFAULT_EXPERIMENT = "walslab"
_SQLITE = "sqlite:///"
_KIND = "mlflow.experimentKind"
_BATCH = 1000  # metrics, parameters and tags that MLflow takes at once
_SAFE = "/ :#&;+',=@()"  # characters that stand for themselves in the path of such a URI
_PATIENCE = 5  # seconds that a tracking server has to answer before a study is refused


@dataclass(frozen=True)
class Tracking:
    """An MLflow store and the experiment in it.

    Attributes
    ----------
    uri : str
        Tracking URI; may hold a password, so print `shown`.
    experiment : str
        Name of the experiment.
    """

    uri: str
    experiment: str

    @classmethod
    def from_environment(cls) -> Tracking:
        """Read MLFLOW_TRACKING_URI and MLFLOW_EXPERIMENT_NAME; else ``mlflow.db`` and ``walslab``."""
        # A URL of SQLAlchemy: it decodes %, and ends the path at a ?.
        here = quote(str(Path.cwd()), safe=_SAFE).rstrip("/")
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{_SQLITE}mlflow.db"
        file = uri.removeprefix(_SQLITE)
        if uri.startswith(_SQLITE) and not file.startswith(("/", ":")):
            # A study is opened from other folders, too.
            uri = f"{_SQLITE}{here}/{file}"
        return cls(uri, os.environ.get("MLFLOW_EXPERIMENT_NAME") or _DEFAULT_EXPERIMENT)

    @classmethod
    def of_study(cls, uri: str, experiment: str) -> Tracking:
        """Return the store that a study names; a password, which it does not keep, is the environment's.

        Raises
        ------
        StudyError
            When the password is needed and MLFLOW_TRACKING_URI is not that store.
        """
        if f":{MASK}@" in uri:
            given = os.environ.get("MLFLOW_TRACKING_URI", "")
            if mask(given) != uri:
                raise StudyError(
                    f"the study is recorded in {uri}: set MLFLOW_TRACKING_URI to it, with the password"
                )
            uri = given
        return cls(uri, experiment)

    @property
    def shown(self) -> str:
        """The URI without a password."""
        return mask(self.uri)

    def client(self) -> MlflowClient:
        """Return a client of the store.

        Raises
        ------
        StudyError
            When MLflow knows no store of such a URI.
        """
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        # It would print the address of a run that ends, with the password of the store in it.
        os.environ["MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT"] = "true"
        os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
        # What the store does not take is kept and tried again: no call needs to wait for minutes.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "30")
        import logging

        from mlflow import MlflowClient

        # Creating a SQLite store logs every schema migration.
        for name in ("alembic", "mlflow.store.db.utils"):
            logging.getLogger(name).setLevel(logging.WARNING)
        try:
            file = self._file
            if file is not None and not file.exists():
                _make_store(file)
            return MlflowClient(tracking_uri=self.uri)
        except Exception as error:
            raise StudyError(self._unusable(error)) from error

    @property
    def _file(self) -> Path | None:
        """The file of a SQLite store."""
        name = self.uri.removeprefix(_SQLITE)
        return Path(unquote(name)) if name != self.uri and name and not name.startswith(":") else None

    def require_store(self) -> None:
        """Make sure, before a client would make it anew, that a store is still there and answers.

        Raises
        ------
        StudyError
            When it does not.
        """
        self._require_answer()
        if self._file is not None and not self._file.exists():
            raise StudyError(
                f"the study is recorded in {self._file}, which is gone: put it back where it was"
            )

    def _unusable(self, error: Exception) -> str:
        text = str(error).replace(self.uri, self.shown)
        return f"the MLflow store {self.shown} is not usable: {text}"

    def experiment_id(self, client: MlflowClient) -> str:
        """Return the experiment's id; make store and experiment where they are missing.

        Raises
        ------
        StudyError
            When the server does not answer within seconds, or the experiment was deleted.
        """
        self._require_answer()
        try:
            found = client.get_experiment_by_name(self.experiment)
            if found is None:
                # The tag makes the UI open on runs and metrics, not on prompts and traces.
                return str(
                    client.create_experiment(self.experiment, tags={_KIND: "custom_model_development"})
                )
        except Exception as error:
            raise StudyError(self._unusable(error)) from error
        self._require_undeleted(found)
        return str(found.experiment_id)

    def require_run(self, client: MlflowClient, run_id: str) -> None:
        """Make sure that the store answers and has a run.

        Raises
        ------
        StudyError
            When it does not.
        """
        try:
            client.get_run(run_id)
        except Exception as error:
            raise StudyError(self._unusable(error)) from error

    def problem(self) -> str | None:
        """Return why the store cannot be used, or None; a SQLite file that does not exist yet can be made."""
        try:
            self._require_answer()
            if self._file is not None and not self._file.exists():
                return None
            self._require_undeleted(self.client().get_experiment_by_name(self.experiment))
        except StudyError as error:
            return str(error)
        except Exception as error:  # noqa: BLE001 - whatever a store raises, it is not usable
            return self._unusable(error)
        return None

    def _require_undeleted(self, found: Experiment | None) -> None:
        if found is not None and found.lifecycle_stage == "deleted":
            raise StudyError(
                f"the MLflow experiment {self.experiment!r} was deleted: set MLFLOW_EXPERIMENT_NAME to "
                f"another name, or run `mlflow experiments restore --experiment-id {found.experiment_id}`"
            )

    def _require_answer(self) -> None:
        """Ask a server for its health first: MLflow's client would retry for minutes before it gives up."""
        if not self.uri.startswith(("http://", "https://")):
            return
        try:
            parts = urlsplit(self.uri)
            # urllib takes user and password for a part of the host's name.
            bare = parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="")
            health = f"{urlunsplit(bare).rstrip('/')}/health"
            with urllib.request.urlopen(health, timeout=_PATIENCE):  # noqa: S310 - http(s) only
                return
        except urllib.error.HTTPError:
            return  # it answers; whatever it objects to, the client says better
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise StudyError(
                f"no MLflow server answers at MLFLOW_TRACKING_URI={self.shown} ({error}): start it, or "
                "unset the variable to record in ./mlflow.db"
            ) from error


def _make_store(file: Path) -> None:
    """Make a SQLite store, complete or not at all: MLflow cannot use one whose making was cut off."""
    from mlflow import MlflowClient

    with atomic.scratch(file) as folder:
        made = folder / file.name
        MlflowClient(tracking_uri=f"{_SQLITE}{quote(str(made), safe=_SAFE)}")
        # Whoever else makes it at this moment may have been first.
        with contextlib.suppress(FileExistsError):
            os.link(made, file)


def create_run(
    client: MlflowClient,
    experiment_id: str,
    name: str,
    *,
    data: DatasetFacts,
    tags: dict[str, str],
    start_time: int | None = None,
) -> Run:
    """Create a run with its tags; `start_time` is in milliseconds since the epoch."""
    common = {
        "walslab.dataset_digest": data["digest"],
        "mlflow.source.name": "walslab tune",
        "mlflow.source.type": "LOCAL",
        "mlflow.user": _user(),
    }
    return client.create_run(experiment_id, start_time=start_time, run_name=name, tags={**common, **tags})


def describe_run(client: MlflowClient, run_id: str, *, data: DatasetFacts, params: dict[str, Any]) -> None:
    """Give a run its parameters and its dataset; doing it once more changes nothing."""
    log(client, run_id, params=params)
    log_dataset(client, run_id, data)


def log_dataset(client: MlflowClient, run_id: str, data: DatasetFacts) -> None:
    """Say which dataset a run is of; doing it once more changes nothing."""
    from mlflow.entities import Dataset, DatasetInput, InputTag

    dataset = Dataset(
        name=Path(data["dataset"]).name,
        digest=data["digest"],
        source_type=data["dataset"].partition("://")[0] if is_address(data["dataset"]) else "local",
        source=json.dumps({"uri": data["dataset"]}),
        profile=json.dumps(data["counts"]),
    )
    client.log_inputs(run_id, [DatasetInput(dataset, tags=[InputTag("mlflow.data.context", "training")])])


def log(
    client: MlflowClient,
    run_id: str,
    metrics: Sequence[Metric] = (),
    tags: Sequence[RunTag] = (),
    params: dict[str, Any] | None = None,
) -> None:
    """Write to a run, in as few requests as MLflow's limit of things in one allows."""
    from mlflow.entities import Param

    given = [Param(key, str(value)) for key, value in (params or {}).items()]
    room = _BATCH - len(given) - len(tags)
    client.log_batch(run_id, metrics[:room], given, tags)
    for begin in range(room, len(metrics), _BATCH):
        client.log_batch(run_id, metrics[begin : begin + _BATCH])


def _user() -> str:
    # In a container the number of the user often has no name.
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())
