"""The directory of one search: what was asked, where it is recorded, and every finished trial."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from toolkit import atomic
from toolkit.errors import StudyError, did_you_mean
from tune.metric import SearchMetric
from tune.spec import SearchSpec

STUDIES = Path("studies")
_FORMAT = "walslab-study"
_VERSION = 1


class TrialResult(TypedDict):
    """One finished trial.

    ``status`` is MLflow's: FINISHED (also when stopped early, see ``stopped``), FAILED, or KILLED. RMSE is in
    rating units, ``seconds`` is training time. ``ranking`` has what a search for a ranking measures beside.
    """

    trial: str
    run_id: str
    status: str
    stopped: str | None
    valid_rmse: float | None
    ranking: dict[str, float]
    train_rmse: float | None
    iterations: int
    seconds: float
    config: dict[str, Any]
    reason: str | None


@dataclass
class Study:
    """A study directory: ``study.json``, ``runs.jsonl``, ``trials.jsonl``, and Ray Tune's ``ray/``.

    Attributes
    ----------
    path : Path
        The directory, absolute.
    facts : dict
        Content of ``study.json``: name, status, dataset, digest, spec, tracking_uri, experiment,
        parent_run_id, seconds.
    """

    path: Path
    facts: dict[str, Any]

    @classmethod
    def create(cls, path: Path, **facts: Any) -> Study:
        """Make a new study directory.

        Raises
        ------
        StudyError
            When there is one of that name.
        """
        if path.exists() and not (path / "study.json").exists():
            raise StudyError(f"{path} exists already and is no study: choose another --name, or remove it")
        if path.exists():
            raise StudyError(
                f"there is a study {path} already: choose another --name, or `walslab resume {path}`"
            )
        path.mkdir(parents=True)
        study = cls(
            path.resolve(), {"format": _FORMAT, "format_version": _VERSION, "created": time.time(), **facts}
        )
        study.update(status="running")
        return study

    @classmethod
    def open(cls, name: str | Path) -> Study:
        """Open a study by its directory, or by its name below ``studies/``.

        Raises
        ------
        StudyError
            When there is none, or it is of another format version.
        """
        path = next((p for p in (Path(name), STUDIES / name) if (p / "study.json").is_file()), None)
        if path is None:
            known = [p.parent.name for p in STUDIES.glob("*/study.json")]
            hint = did_you_mean(Path(name).name, known) or (
                f": known are {', '.join(sorted(known)[:8])}" if known else ""
            )
            raise StudyError(f"there is no study {str(name)!r}{hint}")
        try:
            facts = json.loads((path / "study.json").read_text(encoding="utf-8"))
        except ValueError as error:
            raise StudyError(f"{path / 'study.json'} is not valid JSON: {error}") from error
        if not isinstance(facts, dict):
            raise StudyError(
                f"{path / 'study.json'} must hold a JSON object, but holds {type(facts).__name__}"
            )
        found = (facts.get("format"), facts.get("format_version"))
        if found != (_FORMAT, _VERSION):
            raise StudyError(
                f"{path} must be of format {_FORMAT} version {_VERSION}, but states {found[0]} {found[1]}"
            )
        return cls(path.resolve(), facts)

    def update(self, **facts: Any) -> None:
        """Change facts and write them in one step."""
        self.facts.update(facts)
        atomic.write_text(self.path / "study.json", json.dumps(self.facts, indent=2) + "\n")

    @property
    def name(self) -> str:
        """Name of the study: that of its directory."""
        return self.path.name

    @property
    def shown(self) -> str:
        """The shortest text that `open` finds this study by from here."""
        if self.path.parent == STUDIES.resolve():
            return self.name
        here = Path.cwd()
        return str(self.path.relative_to(here) if self.path.is_relative_to(here) else self.path)

    @property
    def spec(self) -> SearchSpec:
        """The resolved specification."""
        return SearchSpec.from_dict(self.facts["spec"], source=str(self.path / "study.json"))

    def add(self, result: TrialResult) -> None:
        """Append a finished trial: one line, so that a killed process loses no more than that."""
        self._append("trials.jsonl", result)

    def trials(self) -> list[TrialResult]:
        """Return the finished trials, best first, unscored ones last; the last record of each counts."""
        found: dict[str, TrialResult] = {}
        for result in self._lines("trials.jsonl"):
            if "run_id" in result:
                found[result["run_id"]] = result
        metric = self.spec.metric
        return sorted(found.values(), key=lambda result: (_loss(result, metric), result["trial"]))

    def add_run(self, trial_id: str, name: str, run_id: str) -> None:
        """Note which MLflow run, of which name, a trial of Ray Tune is recorded in."""
        self._append("runs.jsonl", {"trial_id": trial_id, "trial": name, "run_id": run_id})

    def runs(self) -> dict[str, tuple[str, str]]:
        """Return name and MLflow run of each trial of Ray Tune that was ever started."""
        return {r["trial_id"]: (r["trial"], r["run_id"]) for r in self._lines("runs.jsonl") if "run_id" in r}

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the study for this process; the system lets go of it when the process ends, however it ends.

        Raises
        ------
        StudyError
            When another process holds it.
        """
        with (self.path / ".lock").open("a") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise StudyError(f"study {self.name} is being run by another process: wait for it") from error
            yield

    def status(self) -> str:
        """Return running, finished, interrupted or failed; a killed process leaves it interrupted."""
        status = str(self.facts["status"])
        if status == "running":
            try:
                with self.locked():
                    return "interrupted"
            except StudyError:
                pass
        return status

    def _append(self, name: str, entry: Any) -> None:
        with (self.path / name).open("a+b") as file:
            # A line that a killed process left half-written must not take this one with it.
            if file.tell() and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                file.write(b"\n")
            file.write(json.dumps(entry).encode() + b"\n")

    def _lines(self, name: str) -> Iterator[Any]:
        path = self.path / name
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:  # the line that a killed process was writing
                continue
            if isinstance(entry, dict):
                yield entry

    def best(self) -> TrialResult:
        """Return the trial that is best by the metric of the search.

        Raises
        ------
        StudyError
            When no trial finished.
        """
        trials = self.trials()
        if not trials or _loss(trials[0], self.spec.metric) == math.inf:
            reason = next((t["reason"] for t in trials if t["reason"]), "none has finished")
            raise StudyError(f"study {self.name} has no finished trial: {reason}")
        return trials[0]


def _loss(result: TrialResult, metric: SearchMetric) -> float:
    """Return what is smaller the better a trial is; infinite for one that did not finish."""
    figures = {"valid_rmse": result["valid_rmse"], **result.get("ranking", {})}
    return metric.loss(metric.value(figures) if result["status"] == "FINISHED" else None)
