"""The directory of one search: what was asked, where it is recorded, and every finished trial."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

from toolkit import atomic
from toolkit.errors import StudyError, did_you_mean
from tune.spec import SearchSpec

STUDIES = Path("studies")
_FORMAT = "walslab-study"
_VERSION = 1


class TrialResult(TypedDict):
    """One finished trial.

    ``status`` is MLflow's: FINISHED (also when stopped early, see ``stopped``), FAILED, or KILLED. RMSE is in
    rating units, ``seconds`` is training time.
    """

    trial: str
    run_id: str
    status: str
    stopped: str | None
    valid_rmse: float | None
    train_rmse: float | None
    iterations: int
    seconds: float
    config: dict[str, Any]
    reason: str | None


@dataclass
class Study:
    """A study directory: ``study.json``, ``trials.jsonl``, and Ray Tune's own state below ``ray/``.

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
        with (self.path / "trials.jsonl").open("a+b") as file:
            # A line that a killed process left half-written must not take this one with it.
            if file.tell() and file.seek(-1, os.SEEK_END) and file.read(1) != b"\n":
                file.write(b"\n")
            file.write(json.dumps(result).encode() + b"\n")

    def trials(self) -> list[TrialResult]:
        """Return the finished trials, best first, unscored ones last; the last record of each counts."""
        path = self.path / "trials.jsonl"
        found: dict[str, TrialResult] = {}
        for line in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
            try:
                result: TrialResult = json.loads(line)
            except ValueError:  # the line that a killed process was writing
                continue
            if isinstance(result, dict) and "trial" in result:
                found[result["trial"]] = result
        return sorted(found.values(), key=_rank)

    def best(self) -> TrialResult:
        """Return the trial with the lowest validation RMSE.

        Raises
        ------
        StudyError
            When no trial finished.
        """
        trials = self.trials()
        if not trials or _rank(trials[0])[0] == math.inf:
            reason = next((t["reason"] for t in trials if t["reason"]), "none has finished")
            raise StudyError(f"study {self.name} has no finished trial: {reason}")
        return trials[0]


def _rank(result: TrialResult) -> tuple[float, str]:
    score = result["valid_rmse"] if result["status"] == "FINISHED" else None
    # NaN compares with nothing, and would leave the order to chance.
    return math.inf if score is None or math.isnan(score) else score, result["trial"]
