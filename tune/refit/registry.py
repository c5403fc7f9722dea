"""Register a refitted model: a version with its lineage, and an alias that only a better version gets."""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ModelError
from toolkit.figure_text import shown
from toolkit.models import Model
from toolkit.serving import open_model, write_mlflow_model
from tune.refit.comparison import Comparison, compare
from tune.refit.registry_calls import entry_or_none, registry_errors, store_of_process
from tune.refit.target import Target
from tune.study import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from toolkit.datasets import RatingsDataset

# Two models with less than this share of users and items in common are not comparable.
_COMPARABLE = 0.5


@dataclass(frozen=True)
class Registered:
    """A version in the registry.

    Attributes
    ----------
    name, version : str
    alias : str or None
        None where none was asked for, or another version keeps it.
    reason : str
        Why the version has the alias, or has not; "" where none was asked for.
    compared : Comparison or None
        None where no other version had the alias.
    """

    name: str
    version: str
    alias: str | None
    reason: str
    compared: Comparison | None


class Registry:
    """The model registry of a study's MLflow store.

    Parameters
    ----------
    client : MlflowClient
    target : Target
        Name and alias of the model.

    Raises
    ------
    StudyError
        When the registry does not answer.
    """

    def __init__(self, client: MlflowClient, target: Target) -> None:
        self.client = client
        self.name, self.alias, self.promote = target.name, target.alias, target.promote
        with registry_errors("the registry does not answer"):
            client.search_registered_models(max_results=1)
        self._opened: dict[str, Model] = {}

    def require_champion(self) -> None:
        """Refuse, before any training, a version with the alias that cannot be compared with.

        Raises
        ------
        ModelError
            When its files are gone, or of another format version.
        """
        with store_of_process(self.client):
            champion = self._champion()
            if champion and self.promote == "better":
                self._open(str(champion.version))

    def _open(self, version: str) -> Model:
        if version not in self._opened:
            try:
                self._opened[version] = open_model(f"models:/{self.name}/{version}")
            except ModelError as error:
                raise ModelError(
                    f"version {version} has the alias {self.alias}, and a new one is compared with it, but "
                    f"{error}; or give the alias without a comparison, by --promote always"
                ) from error
        return self._opened[version]

    def register(
        self, folder: Path, model: Model, study: Study, data: RatingsDataset, facts: Mapping[str, object]
    ) -> Registered:
        """Make a version of a saved model, and give it the alias if it may have it.

        Parameters
        ----------
        folder : Path
            The model directory.
        model : Model
            The model that was saved there.
        study : Study
            The study that the model comes from; its parent run is the source of the version.
        data : RatingsDataset
            Models are compared on its test ratings.
        facts : mapping of str to object
            Facts of the refit, which become tags of the version.

        Raises
        ------
        StudyError
            When the registry does not take the model. Without a version, only the name is left of it.
        """
        tags = {
            "walslab.study": study.name,
            "walslab.study_id": study.facts["id"],
            "walslab.dataset": data.where,
            "walslab.dataset_digest": data.digest,
            **{f"walslab.{key}": _text(value) for key, value in facts.items() if value is not None},
        }
        refused = f"the model is in {folder}, but the registry did not take it"
        with store_of_process(self.client):
            # Before the version exists: nobody must find a version that was not compared.
            champion = self._champion()
            compared = None if champion is None else self._compare(model, champion, data)
            with registry_errors(refused, "see to it, and refit again with --overwrite"):
                version = self._version(folder, study, tags, facts.get("test_rmse"))
                alias, reason = self._verdict(compared)
                now = self._champion()
                if alias and (now and str(now.version)) != (compared and compared.version):
                    alias, owner = None, f"version {now.version}" if now else "nobody"
                    reason = f"{owner} has {self.alias} meanwhile: refit again to compare with it"
                if alias:
                    self.client.set_registered_model_alias(self.name, alias, version)
        return Registered(self.name, version, alias, reason, compared)

    def _version(self, folder: Path, study: Study, tags: dict[str, str], test_rmse: object) -> str:
        """Log the model, and make a version of it."""
        client, run_id = self.client, study.facts["parent_run_id"]
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "model"
            write_mlflow_model(folder, packed, metadata=tags)
            logged = client.create_logged_model(
                study.facts["experiment_id"],
                # MLflow allows fewer characters here than in the name of a registered model.
                re.sub("[.%\"']", "-", self.name),
                source_run_id=run_id,
                tags=tags,
                model_type="walslab",
            )
            try:
                client.log_model_artifacts(logged.model_id, str(packed))
                if isinstance(test_rmse, float):
                    client.log_metric(run_id, "test_rmse", test_rmse, model_id=logged.model_id)
                client.finalize_logged_model(logged.model_id, "READY")
                if not entry_or_none(lambda: client.get_registered_model(self.name)):
                    client.create_registered_model(self.name)
                made = client.create_model_version(
                    self.name,
                    f"models:/{logged.model_id}",
                    run_id=run_id,
                    tags=tags,
                    model_id=logged.model_id,
                )
            except BaseException:
                client.delete_logged_model(logged.model_id)
                raise
        return str(made.version)

    def _verdict(self, compared: Comparison | None) -> tuple[str | None, str]:
        """Return the alias that the new version gets, or None, and the reason."""
        alias = self.alias
        if alias is None:
            return None, ""
        if compared is None:
            return alias, f"no version had the alias {alias}"
        other = f"version {compared.version}"
        if self.promote == "always":
            return alias, f"taken from {other}, as was asked"
        if compared.champion_rmse is None:
            return None, f"{other} keeps {alias}: there is no test rating that it was not trained on"
        if compared.known < _COMPARABLE:
            return None, (
                f"{other} keeps {alias}: it knows user and item of {compared.known:.0%} of the test ratings "
                "only, being trained on other users or items; --promote always gives it to this one"
            )
        rmses = f"test RMSE {shown(compared.new_rmse)}, and {shown(compared.champion_rmse)} of {other}"
        on = f", on {compared.ratings:,} ratings that neither was trained on"
        return (alias, f"{rmses}{on}") if compared.better else (None, f"{other} keeps {alias}: {rmses}{on}")

    def _champion(self) -> ModelVersion | None:
        """Return the version that has the alias, or None."""
        if self.alias is None:
            return None
        with registry_errors("the registry does not answer"):
            return entry_or_none(lambda: self.client.get_model_version_by_alias(self.name, self.alias))

    def _compare(self, model: Model, champion: ModelVersion, data: RatingsDataset) -> Comparison:
        version = str(champion.version)
        try:
            other = self._open(version)
        except ModelError:
            if self.promote == "always":
                return Comparison(version, 0, 0.0, None, None)
            raise
        return compare(model, other, data, version)


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
