"""Where runs are recorded: the MLflow store of the standard variables, or ``mlflow.db`` in this folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from toolkit.errors import StudyError, WalslabError
from toolkit.files import MASK, mask, process_settings, uncollected
from tune.record.moved_store import follow_move
from tune.record.sqlite_store import SQLITE, absolute_uri, make_store, sqlite_file
from tune.record.store_problems import deleted_experiment, deleted_run, gone_run, require_answer, unusable

if TYPE_CHECKING:
    from pathlib import Path

    from mlflow import MlflowClient
    from mlflow.entities import Run

_DEFAULT_EXPERIMENT = "walslab"
_KIND = "mlflow.experimentKind"


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
        uri = os.environ.get("MLFLOW_TRACKING_URI") or f"{SQLITE}mlflow.db"
        # A study is opened from other folders, too.
        return cls(absolute_uri(uri), os.environ.get("MLFLOW_EXPERIMENT_NAME") or _DEFAULT_EXPERIMENT)

    @classmethod
    def of_study(cls, uri: str, experiment: str) -> Tracking:
        """Return the store that a study names.

        The environment provides what the study does not keep: the password of the store, and where the file
        of a store is now, if it was moved.

        Raises
        ------
        StudyError
            When the password is needed and MLFLOW_TRACKING_URI is not that store.
        """
        given = os.environ.get("MLFLOW_TRACKING_URI", "")
        if f":{MASK}@" in uri:
            if mask(given) != uri:
                raise StudyError(
                    f"the study is recorded in {uri}: set MLFLOW_TRACKING_URI to it, with the password"
                )
            return cls(given, experiment)
        file = sqlite_file(uri)
        moved = file is not None and not file.exists() and given
        return cls(absolute_uri(given) if moved else uri, experiment)

    @property
    def shown(self) -> str:
        """The URI without a password."""
        return mask(self.uri)

    def client(self) -> MlflowClient:
        """Return a client of the store; make the file of a SQLite store that does not exist yet.

        Raises
        ------
        StudyError
            When MLflow knows no store of such a URI.
        """
        with self.errors(), process_settings(), uncollected():
            file = self._file
            if file is not None and file.is_dir():
                raise StudyError(
                    f"the MLflow store {self.shown} must be a file, but {file} is a directory: set "
                    f"MLFLOW_TRACKING_URI={SQLITE}{file}/mlflow.db"
                )
            from mlflow import MlflowClient

            if file is not None and not file.exists():
                make_store(file)
            return MlflowClient(tracking_uri=self.uri)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Raise what a store raises as a `StudyError` that names the store and the way on."""
        try:
            yield
        except WalslabError:
            raise
        except Exception as error:
            raise unusable(self.uri, error) from error

    @property
    def _file(self) -> Path | None:
        return sqlite_file(self.uri)

    def require_store(self) -> None:
        """Make sure, before a client would make it anew, that a store is still there and answers.

        Raises
        ------
        StudyError
            When it does not.
        """
        require_answer(self.uri)
        if self._file is not None and not self._file.exists():
            raise StudyError(
                f"the study is recorded in {self._file}, which is gone: put it back where it was, or set "
                f"MLFLOW_TRACKING_URI={SQLITE}PATH to where it is now"
            )

    def experiment_id(self, client: MlflowClient) -> str:
        """Return the experiment's id; make store and experiment where they are missing.

        Raises
        ------
        StudyError
            When the server does not answer within seconds, the store cannot be written to, or the experiment
            was deleted.
        """
        require_answer(self.uri)
        with self.errors():
            experiment = client.get_experiment_by_name(self.experiment)
            if experiment is None:
                # The tag makes the UI open on runs and metrics, not on prompts and traces.
                tags = {_KIND: "custom_model_development"}
                return str(client.create_experiment(self.experiment, tags=tags))
            if experiment.lifecycle_stage == "deleted":
                raise deleted_experiment(
                    self.uri, self.experiment, experiment.experiment_id, choose_another=True
                )
        return str(experiment.experiment_id)

    def find_experiment(self) -> str | None:
        """Return the experiment's id, or None where the store has none of that name or it was deleted.

        Raises
        ------
        StudyError
            When there is no such store, or it does not answer.
        """
        require_answer(self.uri)
        if self._file is not None and not self._file.exists():
            raise StudyError(
                f"there is no MLflow store {self._file} yet: `walslab tune` makes it here; of a study that "
                "was made elsewhere, give the name, or set MLFLOW_TRACKING_URI"
            )
        client = self.client()
        with self.errors():
            experiment = client.get_experiment_by_name(self.experiment)
        gone = experiment is None or experiment.lifecycle_stage == "deleted"
        return None if gone else str(experiment.experiment_id)

    def require_run(self, client: MlflowClient, run_id: str) -> Run:
        """Return the parent run of a study.

        Raises
        ------
        StudyError
            When the store does not answer or does not have the run, or somebody deleted the run or its
            experiment.
        """
        with self.errors():
            run = self._get_run(client, run_id)
            if run.info.lifecycle_stage == "deleted":
                experiment = client.get_experiment(run.info.experiment_id)
                # MLflow deletes and restores the runs of an experiment together with it.
                if experiment.lifecycle_stage == "deleted":
                    raise deleted_experiment(
                        self.uri, experiment.name, experiment.experiment_id, choose_another=False
                    )
                raise deleted_run(self.uri, run_id)
            if self._file is not None and follow_move(self._file.resolve(), run.info.artifact_uri):
                run = client.get_run(run_id)
        return run

    def _get_run(self, client: MlflowClient, run_id: str) -> Run:
        from mlflow.exceptions import MlflowException

        try:
            return client.get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                raise gone_run(self.uri, run_id) from error
            raise

    def problem(self) -> str | None:
        """Return why the store cannot be used, or None; a SQLite file that does not exist yet can be made."""
        try:
            require_answer(self.uri)
            if self._file is None or self._file.exists():
                with self.errors():
                    experiment = self.client().get_experiment_by_name(self.experiment)
                    if experiment is not None and experiment.lifecycle_stage == "deleted":
                        raise deleted_experiment(
                            self.uri, self.experiment, experiment.experiment_id, choose_another=True
                        )
        except StudyError as error:
            return str(error)
        return None
