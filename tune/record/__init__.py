"""Record of a study in MLflow: the store, the runs of the study, the one writer, pruning, the page."""

from tune.record.artifacts import replace_artifacts, trial_factors
from tune.record.page_server import serve_page
from tune.record.parent import finish_parent, reopen_parent, start_parent
from tune.record.pruning import PruneRule, Removal, plan_pruning, protected_trials, prune
from tune.record.recorder import MlflowRecord
from tune.record.run_writing import log_dataset
from tune.record.runs import client_of, tracking_of
from tune.record.store_problems import first_line, is_server
from tune.record.study_view import experiment_link, links_of
from tune.record.tracking import Tracking

__all__ = [
    "MlflowRecord",
    "PruneRule",
    "Removal",
    "Tracking",
    "client_of",
    "experiment_link",
    "finish_parent",
    "first_line",
    "is_server",
    "links_of",
    "log_dataset",
    "plan_pruning",
    "protected_trials",
    "prune",
    "reopen_parent",
    "replace_artifacts",
    "serve_page",
    "start_parent",
    "tracking_of",
    "trial_factors",
]
