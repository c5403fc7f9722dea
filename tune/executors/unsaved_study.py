"""A study in memory, for runs that leave no files."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from tune.study import TrialResult, best_first

if TYPE_CHECKING:
    from toolkit.solver import Factors
    from tune.spec import SearchSpec


class UnsavedStudy:
    """A study without a folder; several runs may follow one another on it.

    Parameters
    ----------
    spec : SearchSpec
        What is searched.
    **facts
        What ``study.json`` would hold beside, such as ``start``.

    Attributes
    ----------
    lines : list of dict
        The events of its journal.
    """

    name = "unsaved"
    where = "memory"
    path = None

    def __init__(self, spec: SearchSpec, **facts: Any) -> None:
        self.spec = spec
        self.facts: dict[str, Any] = {"seconds": 0.0, **facts}
        self.lines: list[dict[str, Any]] = []

    @property
    def journal(self) -> UnsavedStudy:
        """Return what events are appended to."""
        return self

    @property
    def location(self) -> UnsavedStudy:
        """Return the lock."""
        return self

    def require_lock(self) -> None:
        """Do nothing, because no other process can reach the study."""

    def bring_checkpoint(self, trial: str) -> None:
        """Do nothing, because a study in memory keeps no checkpoints."""

    def append(self, event: str, *, durable: bool = False, **facts: Any) -> None:
        """Add an event to the journal."""
        self.lines.append({"event": event, **facts})

    def trials(self) -> list[TrialResult]:
        """Return the trials that ended, best first, failed ones last."""
        ended = [{**line, "run_id": None} for line in self.lines if line["event"] == "ended"]
        return best_first((cast("TrialResult", line) for line in ended), self.spec.metric)

    def proposed(self) -> dict[str, dict[str, Any]]:
        """Return what was proposed, by trial, in the order of the proposals."""
        return {line["trial"]: line for line in self.lines if line["event"] == "proposed"}

    def update(self, **state: Any) -> None:
        """Change facts of the study."""
        self.facts.update(state)

    def keep_factors(self, trial: str, factors: Factors) -> None:
        """Drop the factors."""
