"""A study on disk or at an address: its facts, its journal, its trials, and the lock of its run."""

from tune.study.changes import CHANGEABLE
from tune.study.dataset_facts import DatasetFacts, facts_of_dataset
from tune.study.journal import Journal
from tune.study.kept import STUDIES, kept_in
from tune.study.location import Location, location_of
from tune.study.study import Study
from tune.study.trial import System, TrialResult, best_first, best_so_far, loss, value
from tune.study.trial_table import EARLY, cells, flat_rows, headings

__all__ = [
    "CHANGEABLE",
    "EARLY",
    "STUDIES",
    "DatasetFacts",
    "Journal",
    "Location",
    "Study",
    "System",
    "TrialResult",
    "best_first",
    "best_so_far",
    "cells",
    "facts_of_dataset",
    "flat_rows",
    "headings",
    "kept_in",
    "location_of",
    "loss",
    "value",
]
