"""A refitted model in the registry: a version with its lineage, and an alias that only a better one gets."""

from __future__ import annotations

import json
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from toolkit.errors import ConfigError, ModelError, StudyError
from toolkit.files import mask
from toolkit.models import Model
from toolkit.serving import open_model, write_mlflow_model
from tune.study import Study

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from toolkit.datasets import RatingsDataset

Promote = Literal["better", "always"]
# Less than this share of users and items in common, and two models are of different things.
_COMPARABLE = 0.5
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


@dataclass(frozen=True)
class Comparison:
    """A new model and the one that has the alias, on the test ratings that neither was trained on.

    Attributes
    ----------
    version : str
        That has the alias.
    ratings : int
        How many test ratings those are.
    known : float
        Share of them whose user and item the one that has the alias knows.
    new_rmse, champion_rmse : float or None
        On them, with the average user or item where a model does not know one; None where there are none.
    """

    version: str
    ratings: int
    known: float
    new_rmse: float | None
    champion_rmse: float | None

    @property
    def better(self) -> bool:
        """Whether the new model is."""
        return (
            self.new_rmse is not None
            and self.champion_rmse is not None
            and self.new_rmse < self.champion_rmse
        )


@dataclass(frozen=True)
class Registered:
    """A version in the registry.

    Attributes
    ----------
    name, version : str
    alias : str or None
        None where it was not asked for, or another version keeps it.
    reason : str
        Why it has the alias, or has not; "" where none was asked for.
    compared : Comparison or None
        None where there was nothing to compare with.
    """

    name: str
    version: str
    alias: str | None
    reason: str
    compared: Comparison | None


@dataclass(frozen=True)
class Target:
    """What a refit is to be in the registry.

    Attributes
    ----------
    name : str
        Of the registered model.
    alias : str or None
        None for a version without one.
    promote : {"better", "always"}
        Whether the alias moves to a version that is not better than the one that has it.

    Raises
    ------
    ConfigError
        When MLflow takes no such name or alias.
    """

    name: str
    alias: str | None = None
    promote: Promote = "better"

    def __post_init__(self) -> None:
        if not self.name.strip() or re.search(r"[/:]", self.name):
            raise ConfigError(
                f"the name of a registered model must be without / and :, but got {self.name!r}"
            )
        if self.alias is not None and not re.fullmatch(
            r"(?!latest$|v\d+$)[\w-]{1,255}", self.alias, re.ASCII
        ):
            raise ConfigError(
                "an alias must be of letters, digits, _ and -, and not latest or v1, v2, …, but got "
                f"{self.alias!r}"
            )


class Registry:
    """The registry of a study's MLflow store.

    Parameters
    ----------
    client : MlflowClient
    target : Target

    Raises
    ------
    StudyError
        When it does not answer.
    """

    def __init__(self, client: MlflowClient, target: Target) -> None:
        self.client = client
        self.name, self.alias, self.promote = target.name, target.alias, target.promote
        with _told("the registry does not answer"):
            client.search_registered_models(max_results=1)

    def register(
        self, folder: Path, model: Model, study: Study, data: RatingsDataset, facts: dict[str, Any]
    ) -> Registered:
        """Make a version of a saved model, and give it the alias if it may have it.

        Parameters
        ----------
        folder : Path
            The model directory.
        model : Model
            What is in it.
        study : Study
            The study that it is the result of; its parent run is the source of the version.
        data : RatingsDataset
            Whose test ratings models are compared on.
        facts : dict
            What is known of the refit: plain values become tags of the version.

        Raises
        ------
        StudyError
            When the registry does not take it. Without a version, nothing of it is left but the name.
        """
        with _process_store(self.client):
            return self._register(folder, model, study, data, facts)

    def _register(
        self, folder: Path, model: Model, study: Study, data: RatingsDataset, facts: dict[str, Any]
    ) -> Registered:
        # Before the version is there: whoever looks must not find one that nobody has compared.
        champion = self._champion()
        compared = None if champion is None else self._compare(model, champion, data)
        about = {
            "walslab.study": study.name,
            "walslab.study_id": study.facts["id"],
            "walslab.dataset": data.where,
            "walslab.dataset_digest": data.digest,
            **{f"walslab.{key}": _text(value) for key, value in facts.items() if value is not None},
        }
        with _told(f"the model is in {folder}, but the registry did not take it", " with --overwrite"):
            version = self._version(folder, study, about, facts.get("test_rmse"))
            alias, reason = self._verdict(compared)
            now = self._champion()
            if alias and (now and str(now.version)) != (compared and compared.version):
                alias, who = None, f"version {now.version}" if now else "nobody"
                reason = f"{who} has {self.alias} meanwhile: refit again to compare with it"
            if alias:
                self.client.set_registered_model_alias(self.name, alias, version)
        return Registered(self.name, version, alias, reason, compared)

    def _version(self, folder: Path, study: Study, tags: dict[str, str], test_rmse: float | None) -> str:
        """Log the model, and make a version of it."""
        client, run_id = self.client, study.facts["parent_run_id"]
        with tempfile.TemporaryDirectory() as scratch:
            packed = Path(scratch) / "model"
            write_mlflow_model(folder, packed, metadata=tags)
            logged = client.create_logged_model(
                study.facts["experiment_id"],
                # Names of these may hold less than those of registered models.
                re.sub("[.%\"']", "-", self.name),
                source_run_id=run_id,
                tags=tags,
                model_type="walslab",
            )
            try:
                client.log_model_artifacts(logged.model_id, str(packed))
                if test_rmse is not None:
                    client.log_metric(run_id, "test_rmse", test_rmse, model_id=logged.model_id)
                client.finalize_logged_model(logged.model_id, "READY")
                if not _found(lambda: client.get_registered_model(self.name)):
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
        rmses = f"test RMSE {compared.new_rmse:.4f}, and {compared.champion_rmse:.4f} of {other}"
        on = f", on {compared.ratings:,} ratings that neither was trained on"
        return (alias, f"{rmses}{on}") if compared.better else (None, f"{other} keeps {alias}: {rmses}{on}")

    def _champion(self) -> ModelVersion | None:
        """Return the version that has the alias, or None."""
        if self.alias is None:
            return None
        with _told("the registry does not answer"):
            return _found(lambda: self.client.get_model_version_by_alias(self.name, self.alias))

    def _compare(self, model: Model, champion: ModelVersion, data: RatingsDataset) -> Comparison:
        version = str(champion.version)
        try:
            other = open_model(f"models:/{self.name}/{version}")
        except ModelError:
            if self.promote == "always":
                return Comparison(version, 0, 0.0, None, None)
            raise
        return compare(model, other, data, version)


def compare(new: Model, champion: Model, data: RatingsDataset, version: str) -> Comparison:
    """Measure two models on the test ratings of a dataset that neither was trained on.

    Parameters
    ----------
    new, champion : Model
    data : RatingsDataset
        Of any users and items.
    version : str
        Of the champion.
    """
    test = data.test.tocoo()
    users, items = data.user_ids[test.row], data.item_ids[test.col]
    fresh = ~(_trained_on(new, users, items) | _trained_on(champion, users, items))
    users, items, ratings = users[fresh], items[fresh], test.data[fresh].astype(np.float64)
    if not len(ratings):
        return Comparison(version, 0, 0.0, None, None)

    def rmse(model: Model) -> float:
        error = model.predict(users, items, unknown="average") - ratings
        return float(np.sqrt(np.mean(error**2)))

    known = (champion.users.find(users) >= 0) & (champion.items.find(items) >= 0)
    return Comparison(version, len(ratings), float(known.mean()), rmse(new), rmse(champion))


def _trained_on(model: Model, users: Any, items: Any) -> Any:
    """Return which pairs of ids are among a model's ratings, shape (n,)."""
    rated = model.rated
    rows, columns = model.users.find(users), model.items.find(items)
    # Ascending, as a row's columns are.
    keys = np.repeat(np.arange(rated.shape[0], dtype=np.int64), np.diff(rated.indptr)) * rated.shape[1]
    keys += rated.indices
    wanted = rows * rated.shape[1] + columns
    at = np.searchsorted(keys, wanted).clip(max=max(len(keys) - 1, 0))
    return (rows >= 0) & (columns >= 0) & (keys[at] == wanted if len(keys) else False)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


@contextmanager
def _process_store(client: MlflowClient) -> Iterator[None]:
    """Make a client's store that of the process: MLflow resolves ``models:/`` there, whatever it is told."""
    import mlflow

    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = {name: os.environ[name] for name in names if name in os.environ}
    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.set_registry_uri(client._registry_uri)  # noqa: SLF001 - no public name
    try:
        yield
    finally:
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _found(get: Any) -> Any:
    """Return what the registry has, or None where it has no such thing."""
    from mlflow.exceptions import MlflowException

    try:
        return get()
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


@contextmanager
def _told(what: str, more: str = "") -> Iterator[None]:
    """Say what went wrong with the registry in a sentence."""
    try:
        yield
    except (StudyError, ModelError, ConfigError):
        raise
    except Exception as error:
        raise StudyError(f"{what}: {mask(str(error))}; see to it, and refit again{more}") from error
