"""The rule by which trials stop other trials."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from tune.search.halving import Halving
from tune.search.scheduled import Scheduled
from tune.spec import OwnScheduler

if TYPE_CHECKING:
    from tune.spec import SearchSpec
    from tune.study import TrialResult


class StoppingRule(Protocol):
    """Decides from the losses of all trials which of them go on."""

    @property
    def name(self) -> str:
        """What the journal says of a trial that the rule stopped."""

    @property
    def rungs(self) -> Sequence[int]:
        """The iterations after which a verdict is due."""

    def verdict(self, trial: str, iterations: int, loss: float) -> bool:
        """Tell whether a trial is stopped after so many iterations."""

    def end(self, trial: str, iterations: int, loss: float | None) -> None:
        """Note that a trial ended; its loss is None where it failed."""

    def recall(self, trial: str, losses: Sequence[float], result: TrialResult | None = None) -> None:
        """Note the iterations of an earlier run, and how the trial ended where it did."""


def stopping_rule(spec: SearchSpec) -> StoppingRule:
    """Return the rule that a specification states.

    Raises
    ------
    StudyError
        When it names a scheduler that cannot be made here.
    """
    rule = spec.early_stopping
    if isinstance(rule, OwnScheduler):
        return Scheduled(rule, spec.metric, spec.max_iterations)
    return Halving(rule, spec.max_iterations)
