"""The trials of a study: as they are, as a table, and as a notebook shows them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from toolkit.errors import StudyError
from tune.spec import SearchSpec
from tune.study.journal import Journal
from tune.study.study_html import study_html
from tune.study.trial import TrialResult, best_first, loss
from tune.study.trial_table import flat_rows

if TYPE_CHECKING:
    import pandas as pd


class StudyTrials(ABC):
    """What a study answers of its trials, which its journal holds."""

    @property
    @abstractmethod
    def name(self) -> str:
        """Name of the study."""

    @property
    @abstractmethod
    def facts(self) -> Mapping[str, Any]:
        """What its files of facts say."""

    @property
    @abstractmethod
    def spec(self) -> SearchSpec:
        """What is searched."""

    @property
    @abstractmethod
    def journal(self) -> Journal:
        """Its events."""

    @abstractmethod
    def status(self) -> str:
        """Return how it is now."""

    def best(self) -> TrialResult:
        """Return the trial that is best by the metric of the search.

        Raises
        ------
        StudyError
            When no trial finished.
        """
        trials = self.trials()
        if not trials or loss(trials[0], self.spec.metric) == math.inf:
            reason = next((trial["reason"] for trial in trials if trial["reason"]), "none has finished")
            raise StudyError(f"study {self.name} has no finished trial: {reason}")
        return trials[0]

    def trials(self) -> list[TrialResult]:
        """Return the trials that ended, best first, failed ones last, each with its MLflow run."""
        return best_first(self.journal.ended(), self.spec.metric)

    def to_pandas(self) -> pd.DataFrame:
        """Return a table of the trials that ended, best first, failed ones last.

        Returns
        -------
        pandas.DataFrame
            A row for each trial: its figures, ``config.NAME`` for each hyperparameter, and ``system.NAME``
            for where it ran, as `TrialResult` describes them. Figures by iteration are in `trials` only.
        """
        import pandas as pd

        columns, rows = flat_rows(self.trials(), self.spec.metric)
        return pd.DataFrame(rows, columns=columns)

    def _repr_html_(self) -> str:
        """Return the study for a notebook: how far it is, and its best trials."""
        known = self.facts.get("baselines")
        return study_html(self.name, self.status(), self.spec, self.trials(), known)

    def proposed(self) -> dict[str, dict[str, Any]]:
        """Return the proposals by trial, in their order."""
        return self.journal.proposed()

    def runs(self) -> dict[str, str]:
        """Return the MLflow run of each trial that has one."""
        return self.journal.runs()

    def recorded(self) -> set[str]:
        """Return the trials that MLflow has everything of."""
        return self.journal.recorded()
