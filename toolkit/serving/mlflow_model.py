"""MLflow models: directories that `mlflow models serve` and `mlflow.pyfunc.load_model` answer from."""

from __future__ import annotations

import contextlib
import importlib.metadata
import logging
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import toolkit
from toolkit.errors import ModelError
from toolkit.files import atomic, process_settings
from toolkit.models import Model
from toolkit.serving.requests import PARAMS
from toolkit.serving.shipping import copy_served_code

_FLAVOR = "python_function"
_HEADER = "MLmodel"
_ARTIFACT = "artifacts/model"
_ENTRY = Path(__file__).with_name("entry.py")
# Packages that answering imports. MLflow brings the server.
_REQUIRED = ("mlflow", "numpy", "pandas", "scipy")
# Files that MLflow takes for the model's own where they lie in the folder that a program runs in.
_STRAY = ("uv.lock", "pyproject.toml", ".python-version")


def write_mlflow_model(
    model_directory: Path, out: Path, *, example: bool = True, metadata: dict[str, Any] | None = None
) -> None:
    """Write an MLflow model of the flavor ``python_function`` from a model directory.

    The MLflow model holds the model, the code of this package that answers, and exact requirements without
    CUDA, so that it answers where walslab is not installed. Nothing is pickled, no run is begun, and no
    tracking server is asked.

    Parameters
    ----------
    model_directory : Path
        A directory that `toolkit.Model.save` wrote.
    out : Path
        The directory to make, complete or not at all.
    example : bool, default True
        Whether an example of a request is kept with it.
    metadata : dict, optional
        JSON values to keep in ``MLmodel``, beside the facts under ``walslab``.

    Raises
    ------
    ModelError
        When `model_directory` is not a complete model, or `out` exists.
    """
    model = Model.load(model_directory)
    try:
        with atomic.directory(out) as part:
            _write(model, Path(model_directory), part, example=example, metadata=metadata or {})
    except FileExistsError as error:
        raise ModelError(str(error)) from error


def load_served(path: Path) -> Model:
    """Return the model inside of an MLflow model directory.

    Parameters
    ----------
    path : Path
        A directory that `write_mlflow_model` wrote, or a copy that was downloaded from a run or a registry.

    Raises
    ------
    ModelError
        When it is not an MLflow model, it is one of another program, or it is not complete.
    """
    return Model.load(within(path))


def within(path: Path) -> Path:
    """Return the model directory inside of an MLflow model directory.

    Raises
    ------
    ModelError
        When it is not an MLflow model, or it is one of another program.
    """
    import yaml

    header = Path(path) / _HEADER
    try:
        meta = yaml.safe_load(header.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError) as error:
        raise ModelError(
            f"{path} is not an MLflow model directory: it has no {_HEADER}; a directory of Model.save is "
            "read by Model.load"
        ) from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ModelError(f"{header} cannot be read: {error}") from error
    flavors = meta.get("flavors") if isinstance(meta, dict) else None
    facts = meta.get("metadata") if isinstance(meta, dict) else None
    if not isinstance(facts, dict) or "walslab" not in facts:
        named = ", ".join(map(str, flavors)) if isinstance(flavors, dict) else "none"
        raise ModelError(
            f"{path} holds an MLflow model of another program (flavors: {named}), not one of walslab: "
            "load it with mlflow.pyfunc.load_model"
        )
    return Path(path) / _ARTIFACT


@process_settings()
def _write(model: Model, source: Path, part: Path, *, example: bool, metadata: dict[str, Any]) -> None:
    # Its import sets the level of its messages, so it comes before `_quiet`.
    import mlflow.models
    import mlflow.pyfunc

    with _quiet(), tempfile.TemporaryDirectory() as temporary:
        code = Path(temporary) / "toolkit"
        copy_served_code(_ENTRY, code)
        described = mlflow.models.Model()
        mlflow.pyfunc.save_model(
            str(part),
            mlflow_model=described,
            python_model=str(_ENTRY),
            code_paths=[str(code)],
            signature=_signature(model),
            input_example=_example(model) if example else None,
            pip_requirements=_requirements(),
            metadata={"walslab": _facts(model), **metadata},
        )
        for name in _STRAY:
            (part / name).unlink(missing_ok=True)
        # Copied here: MLflow would copy the model twice, and keep the path that it had on this machine.
        shutil.copytree(source, part / _ARTIFACT)
        described.flavors[_FLAVOR] |= {
            "artifacts": {"model": {"path": _ARTIFACT, "uri": _ARTIFACT}},
            "model_code_path": _ENTRY.name,
        }
        described.model_size_bytes = sum(f.stat().st_size for f in part.rglob("*") if f.is_file())
        described.save(str(part / _HEADER))


def _requirements() -> list[str]:
    """Return the packages that answering needs, in the versions that are installed here."""
    # No index knows a local label, as in 2.4.6+mkl.
    return [f"{name}=={importlib.metadata.version(name).partition('+')[0]}" for name in _REQUIRED]


def _facts(model: Model) -> dict[str, Any]:
    """Return facts of a model that are read without loading it."""
    kinds = {table.kind: "text" if table.is_text else "whole numbers" for table in (model.users, model.items)}
    return {
        "version": toolkit.__version__,
        "dataset_digest": model.dataset_digest,
        "users": len(model.users),
        "items": len(model.items),
        "factors": int(model.factors.items.factors.shape[1]),
        "user_ids": kinds["user"],
        "item_ids": kinds["item"],
        "titles": model.titles is not None,
        "scale": list(model.factors.scale) if model.factors.scale else None,
    }


def _signature(model: Model) -> Any:
    """Return the columns of requests and answers, with types that MLflow can check without refusing them."""
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, DataType, ParamSchema, ParamSpec, Schema
    from mlflow.types.schema import AnyType, Array, Object, Property

    user, item = (DataType.string if table.is_text else DataType.long for table in (model.users, model.items))

    def cell(kind: Any) -> Any:
        # MLflow refuses an empty cell in a column of whole numbers or of lists.
        return kind if kind == DataType.string else AnyType()

    inputs = [(cell(user), "user"), (cell(item), "item"), (AnyType(), "ratings")]
    shown = [Property("item", item), Property("score", DataType.double)]
    if model.titles is not None:
        shown.append(Property("title", DataType.string))
    outputs = [
        (user, "user"),
        (DataType.string, "user_is"),
        (Array(item), "ignored"),
        (item, "item"),
        (DataType.string, "item_is"),
        *((DataType.double, name) for name in ("rating", "low", "high")),
        (DataType.boolean, "clipped"),
        (Array(Object(shown)), "items"),
    ]
    return ModelSignature(
        inputs=Schema([ColSpec(kind, name, required=False) for kind, name in inputs]),
        outputs=Schema([ColSpec(kind, name, required=name in {"user", "user_is"}) for kind, name in outputs]),
        params=ParamSchema(
            [
                ParamSpec("n", DataType.long, PARAMS["n"]),
                ParamSpec("exclude_seen", DataType.boolean, PARAMS["exclude_seen"]),
                ParamSpec("interval", DataType.double, PARAMS["interval"]),
            ]
        ),
    )


def _example(model: Model) -> Any:
    """Return a table with a request of each kind, and parameters."""
    import pandas as pd

    user, (item, *others) = model.users.id(0), model.items.at(range(min(2, len(model.items)))).tolist()
    rating = float(model.rated.data[0])
    rows = [
        {"user": user, "item": None, "ratings": None},
        {"user": user, "item": item, "ratings": None},
        {"user": None, "item": None, "ratings": [{"item": i, "rating": rating} for i in (item, *others)]},
    ]
    return pd.DataFrame(rows, dtype=object), {"n": 3, "exclude_seen": True}


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep MLflow's messages on its steps from the terminal; errors are raised all the same."""
    logger = logging.getLogger("mlflow")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            # MLflow warns of missing type hints and examples, which this model does not need.
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
