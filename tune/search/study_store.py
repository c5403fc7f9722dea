"""What a run reads and writes of its study; `tune.study.study.Study` has it, and so has a study in memory."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from toolkit.solver import Factors
    from tune.spec import SearchSpec
    from tune.study import TrialResult


class EventLog(Protocol):
    """A journal that events are appended to."""

    def append(self, event: str, *, durable: bool = False, **facts: Any) -> None:
        """Write an event; a durable one survives a power cut."""


class Lock(Protocol):
    """The right of this process to write to a study, and what others wrote there before."""

    def require_lock(self) -> None:
        """Raise StudyError when another process writes to the study by now."""

    def bring_checkpoint(self, trial: str) -> None:
        """Bring the checkpoints of a trial into the folder of the study, where it lacks them."""


class StudyStore(Protocol):
    """A study as a run needs it."""

    @property
    def facts(self) -> Mapping[str, Any]:
        """Return what the study's files of facts say."""

    @property
    def name(self) -> str:
        """Return the name of the study."""

    @property
    def where(self) -> str:
        """Return where the study is, in words for an error."""

    @property
    def path(self) -> Path | None:
        """Return the folder of the study; None where it is only in memory."""

    @property
    def spec(self) -> SearchSpec:
        """Return what is searched."""

    @property
    def journal(self) -> EventLog:
        """Return the journal."""

    @property
    def location(self) -> Lock:
        """Return the lock."""

    def trials(self) -> list[TrialResult]:
        """Return the trials that ended."""

    def proposed(self) -> Mapping[str, Mapping[str, Any]]:
        """Return the event of each proposal by trial, in the order of their numbers."""

    def update(self, **state: Any) -> None:
        """Change facts of the study's state."""

    def keep_factors(self, trial: str, factors: Factors) -> None:
        """Write the factors of a trial, complete or not at all."""
