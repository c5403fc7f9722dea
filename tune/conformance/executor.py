"""Frame of the suite for executors: what runs the trials of a study."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset
    from tune.search.study_run import StudyRun


class ExecutorConformance:
    """What every executor must do; override `execute`."""

    def execute(self, run: StudyRun, data: RatingsDataset) -> None:
        """Run the trials of a study on a dataset, until the study is over."""
        raise NotImplementedError
