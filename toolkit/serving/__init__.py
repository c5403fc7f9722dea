"""Models that answer requests: MLflow models, which `mlflow models serve` puts behind HTTP."""

from __future__ import annotations
