"""Calls of MLflow's model registry: its errors as ours, absent entries as None, and the store it looks in."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TypeVar

from toolkit.errors import StudyError, WalslabError
from toolkit.files import mask

if TYPE_CHECKING:
    from mlflow import MlflowClient

_T = TypeVar("_T")
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # MLflow's error codes
_URIS = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")


@contextmanager
def registry_errors(problem: str, way_on: str = "see to it, and refit again") -> Iterator[None]:
    """Raise what the registry raises as a `StudyError` that says what the problem is, and the way on."""
    try:
        yield
    except WalslabError:
        raise
    except Exception as error:
        raise StudyError(f"{problem}: {mask(str(error))}; {way_on}") from error


def entry_or_none(get: Callable[[], _T]) -> _T | None:
    """Return the entry that `get` asks the registry for, or None where there is no such entry."""
    from mlflow.exceptions import MlflowException

    try:
        return get()
    except MlflowException as error:
        if error.error_code in _ABSENT:
            return None
        raise


@contextmanager
def store_of_process(client: MlflowClient) -> Iterator[None]:
    """Make a client's store that of the process: MLflow looks there for ``models:/``, whatever it is told.

    At the end the addresses that the process had, by `mlflow.set_tracking_uri` or by its environment, are put
    back.
    """
    import mlflow
    from mlflow.tracking._model_registry import utils as registry
    from mlflow.tracking._tracking_service import utils as tracking

    # No public name tells an address that was set from one that follows from the environment.
    tracking_uri, registry_uri = tracking._tracking_uri, registry._registry_uri  # noqa: SLF001
    variables = {name: os.environ[name] for name in _URIS if name in os.environ}
    mlflow.set_tracking_uri(client.tracking_uri)
    mlflow.set_registry_uri(client._registry_uri)  # noqa: SLF001 - no public name
    try:
        yield
    finally:
        mlflow.set_tracking_uri(tracking_uri)
        mlflow.set_registry_uri(registry_uri)
        for name in _URIS:
            os.environ.pop(name, None)
        os.environ.update(variables)
