"""Runs the trials of a study in this process, one after another, each on all processors and without Ray."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from tune.executors.trial_worker import TrialWorker

if TYPE_CHECKING:
    from tune.executors.laid_out import TrialRatings
    from tune.search import StudyRun


def run_in_process(run: StudyRun, ratings: TrialRatings) -> None:
    """Run a study's trials until it is over; Ctrl-C leaves it interrupted."""
    if run.over:
        return
    worker = TrialWorker(ratings, replace(run.settings, threads=0))
    try:
        while (trial := run.next()) is not None:
            worker.begin(
                trial.config,
                to_beat=trial.to_beat,
                checkpoint=trial.checkpoint,
                with_baselines=run.baselines is None,
            )
            while run.report(trial.trial, worker.advance()):
                pass
    except KeyboardInterrupt:
        run.interrupted = True
