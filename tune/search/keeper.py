"""The thread that writes what a running study keeps, so that a slow disk does not hold up its trials."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING

from toolkit.errors import StudyError
from tune.search.checkpoint import Checkpoint, Checkpoints, History

if TYPE_CHECKING:
    from toolkit.solver import Factors
    from tune.search.study_store import StudyStore
    from tune.study import TrialResult


class Keeper:
    """Writes trials that ended, and checkpoints of those that run long.

    Parameters
    ----------
    study : StudyStore
        Where it writes.
    ended : callable
        Called with each trial once it is written.
    failed : callable
        Called with the error when something cannot be written.
    in_background : bool, default True
        Whether a thread of its own writes; otherwise each call returns when it has written.
    """

    def __init__(
        self,
        study: StudyStore,
        ended: Callable[[TrialResult], None],
        failed: Callable[[StudyError], None],
        *,
        in_background: bool = True,
    ) -> None:
        self._study, self._ended, self._failed = study, ended, failed
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="keeper") if in_background else None
        self._checkpoints = Checkpoints(study.path / "checkpoints") if study.path else None

    def keep(self, result: TrialResult, factors: Factors | None) -> None:
        """Write a trial that ended, and its factors where they are given."""

        def write() -> None:
            if factors is not None:
                self._study.keep_factors(result["trial"], factors)
            # The trial has ended from this line on: after a kill before it, the trial runs once more.
            facts = {key: value for key, value in result.items() if key != "run_id"}
            self._study.journal.append("ended", durable=True, **facts)
            if self._checkpoints:
                self._checkpoints.remove(result["trial"])
            self._ended(result)

        self._do(write)

    def save(self, trial: str, checkpoint: Checkpoint, history: History) -> None:
        """Write a checkpoint with the history of the trial until then."""
        if self._checkpoints is None:
            return
        checkpoints = self._checkpoints
        # Copied now: the trial goes on while this waits.
        complete = replace(checkpoint, history={key: list(figures) for key, figures in history.items()})
        self._do(lambda: checkpoints.save(trial, complete))

    def checkpoint(self, trial: str) -> Checkpoint | None:
        """Return the last checkpoint of a trial, or None; it may wait for earlier ones to be written."""
        if self._checkpoints is None:
            return None
        if self._thread is None:
            return self._load(self._checkpoints, trial)
        return self._thread.submit(self._load, self._checkpoints, trial).result()

    def forget(self, trials: Iterable[str]) -> None:
        """Remove the checkpoints that a kill left of trials that ended."""
        if self._checkpoints:
            for trial in self._checkpoints.trials() & set(trials):
                self._checkpoints.remove(trial)

    def close(self) -> None:
        """Wait until everything is written."""
        if self._thread:
            self._thread.shutdown(wait=True)

    def _load(self, checkpoints: Checkpoints, trial: str) -> Checkpoint | None:
        self._study.location.bring_checkpoint(trial)
        return checkpoints.load(trial)

    def _do(self, write: Callable[[], None]) -> None:
        if self._thread:
            self._thread.submit(self._write, write)
        else:
            self._write(write)

    def _write(self, write: Callable[[], None]) -> None:
        try:
            self._study.location.require_lock()
            write()
        except StudyError as error:
            self._failed(error)
        except Exception as error:  # noqa: BLE001 - handed to the thread that runs the study
            self._failed(
                StudyError(
                    f"study {self._study.name} cannot keep what its trials find: {error}; see that "
                    f"{self._study.where} can be written to"
                )
            )
