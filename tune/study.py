"""The directory of one search: what was asked, where it is recorded, and every finished trial."""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from toolkit import atomic
from toolkit.errors import StudyError, did_you_mean
from toolkit.factors import Factors
from tune.journal import Journal
from tune.results import TrialResult, best_first, loss
from tune.spec import SearchSpec
from tune.tracking import DatasetFacts

STUDIES = Path("studies")
_FORMAT = "walslab-study"
_VERSION = 2


@dataclass
class Study:
    """A study directory: ``study.json``, ``journal.jsonl``, and the factors that MLflow does not have yet.

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
        made = {"format": _FORMAT, "format_version": _VERSION, "id": uuid.uuid4().hex, "created": time.time()}
        every = {**made, **facts, "status": "running"}
        # Complete or not there: a kill must not leave a folder that is neither a study nor free.
        with atomic.directory(path) as part:
            (part / "study.json").write_text(json.dumps(every, indent=2) + "\n", encoding="utf-8")
        return cls(path.resolve(), every)

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
                f"{path} must be of format {_FORMAT} version {_VERSION}, but states {found[0]} {found[1]}: "
                "start a new study (its trials are in MLflow as they were)"
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

    @property
    def data(self) -> DatasetFacts:
        """What it says of its dataset."""
        facts = self.facts
        return DatasetFacts(dataset=facts["dataset"], digest=facts["digest"], counts=facts["counts"])

    def extend(self, trials: int) -> None:
        """Ask for so many trials more, which the next run of the study does."""
        spec = {**self.facts["spec"], "trials": self.spec.trials + trials}
        self.update(spec=spec, status="interrupted")

    @cached_property
    def journal(self) -> Journal:
        """What happened in this study, event by event.

        ``proposed`` (trial, number, sampled, source), ``ended`` (a `TrialResult`), ``run`` (trial, run_id: it
        has a run in MLflow), ``recorded`` (trial: its run has all of it).
        """
        return Journal(self.path / "journal.jsonl")

    def trials(self) -> list[TrialResult]:
        """Return the trials that ended, best first, failed ones last, each with its MLflow run."""
        runs = self.runs()
        found: dict[str, TrialResult] = {}
        for event in self.journal.events("ended"):
            del event["event"]
            found[event["trial"]] = cast("TrialResult", {**event, "run_id": runs.get(event["trial"])})
        return best_first(found.values(), self.spec.metric)

    def proposed(self) -> dict[str, dict[str, Any]]:
        """Return what was proposed, by trial, in the order of the proposals."""
        found = {event["trial"]: event for event in self.journal.events("proposed")}
        return dict(sorted(found.items(), key=lambda entry: entry[1]["number"]))

    def runs(self) -> dict[str, str]:
        """Return the MLflow run of each trial that has one."""
        return {event["trial"]: event["run_id"] for event in self.journal.events("run")}

    def recorded(self) -> set[str]:
        """Return the trials that MLflow has all of."""
        return {event["trial"] for event in self.journal.events("recorded")}

    def factors_folder(self, trial: str) -> Path:
        """Return where a trial's factors are kept until MLflow has them."""
        return self.path / "factors" / trial

    def keep_factors(self, trial: str, factors: Factors) -> None:
        """Write a trial's factors, complete or not at all."""
        folder = self.factors_folder(trial)
        part = folder.with_name(f".{trial}.partial")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        factors.save(part)
        shutil.rmtree(folder, ignore_errors=True)
        part.replace(folder)

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

    def best(self) -> TrialResult:
        """Return the trial that is best by the metric of the search.

        Raises
        ------
        StudyError
            When no trial finished.
        """
        trials = self.trials()
        if not trials or loss(trials[0], self.spec.metric) == math.inf:
            reason = next((t["reason"] for t in trials if t["reason"]), "none has finished")
            raise StudyError(f"study {self.name} has no finished trial: {reason}")
        return trials[0]
