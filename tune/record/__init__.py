"""Record of a study in MLflow: the store, the runs of the study, the one writer, and pruning."""

from tune.record.artifacts import replace_artifacts, trial_factors
from tune.record.parent import finish_parent, reopen_parent, start_parent
from tune.record.pruning import PruneRule, Removal, plan_pruning, protected_trials, prune
from tune.record.recorder import MlflowRecord
from tune.record.runs import client_of
from tune.record.store_problems import first_line
from tune.record.tracking import Tracking

__all__ = [
    "MlflowRecord",
    "PruneRule",
    "Removal",
    "Tracking",
    "client_of",
    "finish_parent",
    "first_line",
    "plan_pruning",
    "protected_trials",
    "prune",
    "reopen_parent",
    "replace_artifacts",
    "start_parent",
    "trial_factors",
]
