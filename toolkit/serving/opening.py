"""Models by name: a directory, or a version in MLflow's registry."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from urllib.parse import unquote

from toolkit.errors import ModelError
from toolkit.files import error_text, mask, process_settings
from toolkit.models import Model

_REGISTRY = "models:/"
_SQLITE = "sqlite:///"
_HERE = f"{_SQLITE}mlflow.db"


def is_registered(name: str) -> bool:
    """Tell whether a name is that of a model in MLflow's registry, such as ``models:/films@champion``."""
    return name.startswith(_REGISTRY)


def open_model(name: str | Path) -> Model:
    """Return a model.

    Parameters
    ----------
    name : str or Path
        A directory that `Model.save` wrote, or an MLflow model of such a directory. Or
        ``models:/NAME@ALIAS`` or ``models:/NAME/VERSION``: the MLflow store of MLFLOW_TRACKING_URI, or
        ``mlflow.db`` in this folder, has this model, which is downloaded to a temporary folder.

    Raises
    ------
    ModelError
        When there is no such model, it is not complete, or the store does not answer. The text names the
        store.
    """
    return _from_registry(str(name)) if is_registered(str(name)) else Model.load(model_directory(name))


def model_directory(name: str | Path) -> Path:
    """Return the directory that `Model.load` reads: `name` itself, or the one within an MLflow model.

    Raises
    ------
    ModelError
        When it is an MLflow model of another program.
    """
    path = Path(name)
    if (path / "MLmodel").is_file():
        from toolkit.serving.mlflow_model import within

        return within(path)
    return path


def _from_registry(name: str) -> Model:
    from toolkit.serving.mlflow_model import load_served

    uri = os.environ.get("MLFLOW_TRACKING_URI") or _HERE
    _require_file(name, uri)
    # Files that are mapped stay readable after their names are removed.
    with process_settings(), tempfile.TemporaryDirectory(prefix="walslab-model-") as folder:
        try:
            from mlflow.artifacts import download_artifacts

            path = download_artifacts(name, dst_path=folder, tracking_uri=uri)
        except Exception as error:  # stores and servers each have errors of their own
            raise ModelError(
                f"{name} cannot be had from the MLflow store {mask(uri)}: {error_text(error, uri)}; set "
                "MLFLOW_TRACKING_URI to the store that has it, check name, alias and version (walslab refit "
                "STUDY --register NAME makes one), or name a model directory"
            ) from error
        if not (Path(path) / "MLmodel").is_file():
            raise ModelError(
                f"the files of {name} are not at {_files_of(name, uri)} any more, where the MLflow store "
                f"{mask(uri)} has them: put them back, or register the model again by `walslab refit STUDY "
                "--register NAME --promote always --overwrite`"
            )
        return load_served(Path(path))


def _files_of(name: str, uri: str) -> str:
    """Return where a store says that the files of a model are."""
    from mlflow import MlflowClient

    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    try:
        model, mark, which = name.removeprefix(_REGISTRY).rpartition("@" if "@" in name else "/")
        if mark == "@":
            which = client.get_model_version_by_alias(model, which).version
        source: str = client.get_model_version_download_uri(model, which)
        if source.startswith(_REGISTRY):
            source = client.get_logged_model(source.removeprefix(_REGISTRY)).artifact_location
    except Exception:  # noqa: BLE001 - the message has a way on without it
        return "their place"
    return mask(source)


def _require_file(name: str, uri: str) -> None:
    """Refuse a SQLite store that does not exist: MLflow would make an empty one."""
    file = unquote(uri.removeprefix(_SQLITE))
    if uri.startswith(_SQLITE) and file and not file.startswith(":") and not Path(file).exists():
        raise ModelError(
            f"{name} cannot be had from the MLflow store {mask(uri)}: there is no such file; set "
            "MLFLOW_TRACKING_URI to the store that has the model, or call this in the folder of its mlflow.db"
        )
