"""Models that answer requests: MLflow models, which `mlflow models serve` puts behind HTTP."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from toolkit.serving.mlflow_model import load_served, write_mlflow_model
    from toolkit.serving.opening import is_registered, model_directory, open_model

# Imported on first use: a served model ships what it imports, and imports none of these.
_EXPORTS = {
    "is_registered": "toolkit.serving.opening",
    "load_served": "toolkit.serving.mlflow_model",
    "model_directory": "toolkit.serving.opening",
    "open_model": "toolkit.serving.opening",
    "write_mlflow_model": "toolkit.serving.mlflow_model",
}
__all__ = ["is_registered", "load_served", "model_directory", "open_model", "write_mlflow_model"]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)
