"""Where trials run: on Ray Tune, in this process, or in virtual time; and what trains them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tune.executors.executor_choice import ExecutorChoice, choose_executor
    from tune.executors.in_process import run_in_process
    from tune.executors.laid_out import TrialRatings
    from tune.executors.node_ratings import RatingsAt, ratings_for_ray, require_valid, trial_ratings
    from tune.executors.on_ray import run_on_ray
    from tune.executors.ray_session import concurrency, connected, require_ray, started_ahead
    from tune.executors.recorded_trials import RecordedTrials, Recording
    from tune.executors.simulator import VirtualClock, run_simulated, simulate
    from tune.executors.trial_worker import TrialWorker, explain
    from tune.executors.unsaved_study import UnsavedStudy
    from tune.executors.wals_trainable import WALSTrainable

# Resolved on first use: Ray reads its environment when it is imported, and takes a second.
_EXPORTS = {
    "ExecutorChoice": "executor_choice",
    "RatingsAt": "node_ratings",
    "RecordedTrials": "recorded_trials",
    "Recording": "recorded_trials",
    "TrialRatings": "laid_out",
    "TrialWorker": "trial_worker",
    "UnsavedStudy": "unsaved_study",
    "VirtualClock": "simulator",
    "WALSTrainable": "wals_trainable",
    "choose_executor": "executor_choice",
    "concurrency": "ray_session",
    "connected": "ray_session",
    "explain": "trial_worker",
    "ratings_for_ray": "node_ratings",
    "require_ray": "ray_session",
    "require_valid": "node_ratings",
    "run_in_process": "in_process",
    "run_on_ray": "on_ray",
    "run_simulated": "simulator",
    "simulate": "simulator",
    "started_ahead": "ray_session",
    "trial_ratings": "node_ratings",
}
__all__ = [
    "ExecutorChoice",
    "RatingsAt",
    "RecordedTrials",
    "Recording",
    "TrialRatings",
    "TrialWorker",
    "UnsavedStudy",
    "VirtualClock",
    "WALSTrainable",
    "choose_executor",
    "concurrency",
    "connected",
    "explain",
    "ratings_for_ray",
    "require_ray",
    "require_valid",
    "run_in_process",
    "run_on_ray",
    "run_simulated",
    "simulate",
    "started_ahead",
    "trial_ratings",
]


def __getattr__(name: str) -> Any:
    if name not in _EXPORTS:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_EXPORTS[name]}"), name)
