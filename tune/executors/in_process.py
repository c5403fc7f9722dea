"""Trials one after another in this process, each on all its processors: no Ray, the same study."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tune.executors.trial_worker import TrialWorker

if TYPE_CHECKING:
    from tune.executors.trial_worker import TrialRatings
    from tune.search.study_run import StudyRun


def run_in_process(run: StudyRun, ratings: TrialRatings) -> None:
    """Run a study's trials until it is over; Ctrl-C leaves it interrupted."""
    if run.over:
        return
    worker = TrialWorker(ratings, replace(run.settings, threads=0))
    try:
        while (trial := run.next()) is not None:
            worker.begin(trial.config)
            while run.report(trial.trial, worker.advance()):
                pass
    except KeyboardInterrupt:
        run.interrupted = True
