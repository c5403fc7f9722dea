"""A model that answers requests: in an MLflow model, which `mlflow models serve` puts behind HTTP."""

from __future__ import annotations
