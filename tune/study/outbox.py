"""Choose which lines of a journal may be copied elsewhere, and which must wait for factors."""

from __future__ import annotations

from collections.abc import Callable

from tune.study.journal import Journal, ended_trial, recorded_trial


class Outbox:
    """The lines of a journal that its copy does not have yet.

    A trial whose factors are on this machine alone has not ended for others: a process that takes the study
    up elsewhere must run the trial again. So its line waits until MLflow has the trial, or until the factors
    are copied, too.

    Parameters
    ----------
    journal : Journal
        The journal here.
    has_factors : callable
        Takes a trial's name, and returns whether its factors are on this machine.

    Attributes
    ----------
    ready : list of bytes
        Lines that may be copied now, in their order.
    waiting : dict of str to bytes
        Lines that wait, by trial.
    """

    def __init__(self, journal: Journal, has_factors: Callable[[str], bool]) -> None:
        self._journal, self._has_factors = journal, has_factors
        self._position = 0
        self.ready: list[bytes] = []
        self.waiting: dict[str, bytes] = {}

    def start_after(self, position: int) -> None:
        """Forget all lines, and take up those that come after a position in bytes."""
        self._position, self.ready, self.waiting = position, [], {}

    def collect(self) -> None:
        """Take up the complete lines that the journal got since the last time."""
        for line, event in self._journal.lines_after(self._position):
            self._position += len(line)
            if event is None:
                continue
            ended, recorded = ended_trial(event), recorded_trial(event)
            if ended and self._has_factors(ended):
                self.waiting[ended] = line
                continue
            if recorded in self.waiting:
                self.ready.append(self.waiting.pop(recorded))
            self.ready.append(line)

    def release(self, trial: str) -> None:
        """Let the line of a trial go, because its factors are copied."""
        self.ready.append(self.waiting.pop(trial))
