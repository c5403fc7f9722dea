"""Prune a study: remove the MLflow runs, artifacts and factors of trials that nobody needs any more.

The journal keeps what a trial reached, so that results, report and resume work as before. Each step may be
repeated, and the journal says that a trial is pruned once nothing of it is left: after a kill, the next
pruning removes the rest.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from toolkit.errors import ConfigError, StudyError, WalslabError
from toolkit.files import process_settings
from tune.record.artifacts import delete_artifacts
from tune.record.moved_store import local_path
from tune.record.runs import children, client_of, tracking_of
from tune.record.store_problems import first_line
from tune.study import Study, TrialResult, loss

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run


@dataclass(frozen=True)
class PruneRule:
    """Which trials are removed: exactly one of the three.

    Attributes
    ----------
    keep : int or None
        Remove all but the `keep` best trials.
    failed : bool
        Remove the trials that failed.
    older_than : float or None
        Remove the trials that ended more than this many seconds ago.

    Raises
    ------
    ConfigError
        When none or several of them are given.
    """

    keep: int | None = None
    failed: bool = False
    older_than: float | None = None

    def __post_init__(self) -> None:
        if (self.keep is not None) + self.failed + (self.older_than is not None) != 1:
            raise ConfigError(
                "pruning needs exactly one rule: keep the N best trials (--keep N), remove the failed ones "
                "(--failed), or those that ended some time ago (--older-than 30d)"
            )

    def matches(self, place: int, trial: TrialResult, now: float) -> bool:
        """Return whether a trial, in this place of the ranking (0 is the best), is to be removed."""
        if self.keep is not None:
            return place >= self.keep
        if self.older_than is not None:
            return trial["ended"] < now - self.older_than
        return trial["status"] == "FAILED"


@dataclass(frozen=True)
class Removal:
    """One trial that is removed.

    Attributes
    ----------
    trial : str
    runs : tuple of Run
        Its MLflow runs, also those that were deleted before.
    n_bytes : int
        Size of its files on this disk.
    """

    trial: str
    runs: tuple[Run, ...]
    n_bytes: int


def protected_trials(study: Study) -> set[str]:
    """Return the trials that no pruning removes: the best, and those behind the study's refit."""
    trials, refit = study.trials(), study.facts.get("refit") or {}
    best = [trial["trial"] for trial in trials[:1] if loss(trial, study.spec.metric) < math.inf]
    members = [trial for trial, _ in refit.get("members", ())]
    return {*best, *members, *([refit["trial"]] if refit else [])}


def pruned_trials(study: Study) -> set[str]:
    """Return the trials that were pruned before."""
    return {event["trial"] for event in study.journal.events("pruned")}


@process_settings()
def plan_pruning(study: Study, rule: PruneRule) -> list[Removal]:
    """Return the trials that pruning would remove now, in the order of their numbers; change nothing.

    Raises
    ------
    StudyError
        When the study's MLflow store does not answer.
    """
    return _plan(study, rule, client_of(study))


@process_settings()
def prune(
    study: Study, rule: PruneRule, tell: Callable[[str, int, int], None] = lambda *_: None
) -> list[Removal]:
    """Remove the MLflow runs, artifacts and factors of the trials that a rule names.

    The best trial and the members of a refit stay. Trials that were pruned before are passed over.

    Parameters
    ----------
    study : Study
        A study that no process runs.
    rule : PruneRule
    tell : callable, optional
        Called with the stage, the number of trials that are removed, and of all that will be.

    Returns
    -------
    list of Removal
        The trials that were removed.

    Raises
    ------
    StudyError
        When a process runs the study, the MLflow store does not answer, or it did not let go of some trials;
        the others are removed, and the next call tries again.
    """
    with study.locked():
        client = client_of(study)
        removals, problems = _plan(study, rule, client), list[str]()
        for done, removal in enumerate(removals):
            tell("pruning", done, len(removals))
            study.location.require_lock()
            try:
                _remove(study, client, removal)
            except WalslabError:
                raise
            except Exception as error:  # noqa: BLE001 - stores and disks each have errors of their own
                problems.append(f"{removal.trial}: {first_line(error)}")
        tell("pruning", len(removals), len(removals))
        if removals:
            with tracking_of(study).errors():
                count = str(len(pruned_trials(study)))
                client.set_tag(study.facts["parent_run_id"], "walslab.pruned", count)
    if problems:
        raise StudyError(
            f"{len(problems)} of {len(removals)} trials could not be pruned ({problems[0]}): the others are "
            "removed; see to it, and prune again"
        )
    return removals


def _plan(study: Study, rule: PruneRule, client: MlflowClient) -> list[Removal]:
    stay, now = protected_trials(study) | pruned_trials(study), time.time()
    chosen = sorted(
        trial["trial"]
        for place, trial in enumerate(study.trials())
        if rule.matches(place, trial, now) and trial["trial"] not in stay
    )
    if not chosen:
        return []
    runs: dict[str, list[Run]] = {trial: [] for trial in chosen}
    with tracking_of(study).errors():
        for run in children(client, study, deleted=True):
            runs.get(run.data.tags.get("walslab.trial", ""), []).append(run)
    return [
        Removal(trial, tuple(runs[trial]), _size(_folders(study, trial, runs[trial]))) for trial in chosen
    ]


def _remove(study: Study, client: MlflowClient, removal: Removal) -> None:
    """Remove one trial. The journal says so last, so that a process killed before is no harm."""
    for run in removal.runs:
        delete_artifacts(client, run.info.artifact_uri)
        if run.info.lifecycle_stage != "deleted":
            client.delete_run(run.info.run_id)
    for folder in _study_folders(study, removal.trial):
        shutil.rmtree(folder, ignore_errors=True)
    if removal.trial not in study.recorded():
        # Else a resume would write the trial to MLflow once more.
        study.journal.append("recorded", trial=removal.trial)
    study.journal.append("pruned", trial=removal.trial)


def _study_folders(study: Study, trial: str) -> list[Path]:
    """Return the folders of a trial in the study: its factors, and those that a kill left half-written."""
    folder = study.factors_folder(trial)
    return [folder, folder.with_name(f".{trial}.partial"), study.path / "checkpoints" / trial]


def _folders(study: Study, trial: str, runs: Sequence[Run]) -> list[Path]:
    places = [local_path(run.info.artifact_uri) for run in runs]
    return [*_study_folders(study, trial), *(place for place in places if place is not None)]


def _size(folders: Sequence[Path]) -> int:
    return sum(
        file.stat().st_size
        for folder in folders
        if folder.is_dir()
        for file in folder.rglob("*")
        if file.is_file()
    )
