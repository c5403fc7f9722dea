"""Many trainings at once: search space, trial, search, and the record of a study."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune import plots
    from tune.executors import WALSTrainable
    from tune.lifecycle import create_study, run_study
    from tune.refit import refit_best
    from tune.spec import SearchSpec
    from tune.study import Study

# Resolved on first use: `walslab --help` must not wait for Ray and MLflow.
_EXPORTS = {
    "SearchSpec": "tune.spec.search_spec",
    "Study": "tune.study.study",
    "WALSTrainable": "tune.executors.wals_trainable",
    "create_study": "tune.lifecycle",
    "refit_best": "tune.refit",
    "run_study": "tune.lifecycle",
}
__all__ = ["SearchSpec", "Study", "WALSTrainable", "create_study", "plots", "refit_best", "run_study"]


def __getattr__(name: str) -> Any:
    if name == "plots":
        return importlib.import_module("tune.plots")
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_EXPORTS[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
