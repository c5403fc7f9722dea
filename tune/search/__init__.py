"""Who is tried next, and who goes on: proposals, starting points, halving, and the run of a study."""

from __future__ import annotations

from tune.search.checkpoint import Checkpoint, History
from tune.search.clock import Clock
from tune.search.proposer import Proposer, Sampler
from tune.search.running_trial import RunningTrial
from tune.search.segment import Segment, TrialSettings
from tune.search.starting_points import resolve
from tune.search.study_run import Listener, StudyRun
from tune.search.study_store import StudyStore

__all__ = [
    "Checkpoint",
    "Clock",
    "History",
    "Listener",
    "Proposer",
    "RunningTrial",
    "Sampler",
    "Segment",
    "StudyRun",
    "StudyStore",
    "TrialSettings",
    "resolve",
]
