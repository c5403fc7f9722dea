"""The directory of one search: what was asked, where it is recorded, and every finished trial."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from toolkit.errors import StudyError, did_you_mean
from toolkit.files import as_path, atomic, is_address, mask, store_errors
from toolkit.solver import Factors
from tune.spec.search_spec import SearchSpec
from tune.study.dataset_facts import DatasetFacts
from tune.study.journal import Journal
from tune.study.location import Place, place_of
from tune.study.trial import TrialResult, best_first, loss

# Where studies are kept, unless WALSLAB_STUDIES names another folder or an address.
STUDIES = "studies"
_FORMAT = "walslab-study"
_VERSION = 2


@dataclass
class Study:
    """A study directory: ``study.json``, ``journal.jsonl``, and the factors that MLflow does not have yet.

    Attributes
    ----------
    place : Place
        Where it is.
    facts : dict
        Content of ``study.json``: name, status, dataset, digest, spec, tracking_uri, experiment,
        parent_run_id, seconds.
    """

    place: Place
    facts: dict[str, Any]

    @classmethod
    def create(cls, path: str | Path, **facts: Any) -> Study:
        """Make a new study directory, or one at an address.

        Raises
        ------
        StudyError
            When there is one of that name.
        """
        place = place_of(path)
        place.require_free()
        made = {"format": _FORMAT, "format_version": _VERSION, "id": uuid.uuid4().hex, "created": time.time()}
        every = {**made, **facts, "status": "running"}
        # Complete or not there: a kill must not leave a folder that is neither a study nor free.
        with atomic.directory(place.folder) as part:
            (part / "study.json").write_text(json.dumps(every, indent=2) + "\n", encoding="utf-8")
        place.create()
        return cls(place, every)

    @classmethod
    def open(cls, name: str | Path) -> Study:
        """Open a study by its directory or address, or by its name where studies are kept.

        Raises
        ------
        StudyError
            When there is none, or it is of another format version.
        """
        found = cls.find(name) or (None if is_address(name) else cls.find(f"{kept_in()}/{name}"))
        if found is None:
            root = as_path(kept_in(), StudyError)
            with store_errors(kept_in(), StudyError, "check WALSLAB_STUDIES"):
                known = [p.parent.name for p in root.glob("*/study.json")]
            hint = did_you_mean(Path(name).name, known) or (
                f": known are {', '.join(sorted(known)[:8])}" if known else ""
            )
            raise StudyError(f"there is no study {mask(str(name))!r}{hint}")
        return found

    @classmethod
    def find(cls, path: str | Path) -> Study | None:
        """Open the study of a directory or an address, or return None where there is none."""
        place = place_of(path)
        return cls(place, _read(place)) if place.fetch() else None

    def update(self, **facts: Any) -> None:
        """Change facts and write them in one step."""
        self.facts.update(facts)
        atomic.write_text(self.path / "study.json", json.dumps(self.facts, indent=2) + "\n")

    @property
    def path(self) -> Path:
        """The directory, absolute; of a study at an address, the one that stands for it here."""
        return self.place.folder

    @property
    def name(self) -> str:
        """Name of the study: that of its directory."""
        return self.path.name

    @property
    def where(self) -> str:
        """The directory, or the address."""
        return self.place.shown

    @property
    def shown(self) -> str:
        """The shortest text that `open` finds this study by from here."""
        return self.place.within(kept_in())

    @property
    def spec(self) -> SearchSpec:
        """The resolved specification."""
        return SearchSpec.from_dict(self.facts["spec"], source=f"{self.where}/study.json", stored=True)

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
        """Hold the study for this process, as it is now.

        Raises
        ------
        StudyError
            When another process holds it.
        """
        with self.place.held():
            # What another process wrote since this one looked.
            self.facts.update(_read(self.place))
            yield

    def status(self) -> str:
        """Return running, finished, interrupted or failed; a killed process leaves it interrupted."""
        status = str(self.facts["status"])
        return "interrupted" if status == "running" and not self.place.being_run() else status

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


def kept_in() -> str:
    """Return the folder or address where studies are kept."""
    return (os.environ.get("WALSLAB_STUDIES") or STUDIES).rstrip("/")


def _read(place: Place) -> dict[str, Any]:
    where = place.shown
    try:
        facts = json.loads((place.folder / "study.json").read_text(encoding="utf-8"))
    except ValueError as error:
        raise StudyError(f"{where}/study.json is not valid JSON: {error}") from error
    if not isinstance(facts, dict):
        raise StudyError(f"{where}/study.json must hold a JSON object, but holds {type(facts).__name__}")
    found = (facts.get("format"), facts.get("format_version"))
    if found != (_FORMAT, _VERSION):
        raise StudyError(
            f"{where} must be of format {_FORMAT} version {_VERSION}, but states {found[0]} {found[1]}: "
            "start a new study (its trials are in MLflow as they were)"
        )
    return facts
