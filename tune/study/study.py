"""One search and what it left: what was asked, where it is recorded, and every trial that ended.

A study has one writer for each of its files. `tune.study.facts` names the three files of facts; the journal
is written by the run that holds the lock. Commands that only look take no lock.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import time
import uuid
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from toolkit.errors import StudyError
from toolkit.files import atomic, is_address, mask
from toolkit.inputs import checked_path
from toolkit.solver import Factors
from tune.spec import SearchSpec
from tune.study import relative_paths
from tune.study.changes import changed_spec
from tune.study.dataset_facts import DatasetFacts
from tune.study.fact_files import FactFiles
from tune.study.facts import FORMAT, VERSION, Facts
from tune.study.journal import Journal
from tune.study.kept import hint_of, kept_in
from tune.study.location import Location, location_of
from tune.study.study_trials import StudyTrials


class Study(StudyTrials):
    """A study in a directory or at an address.

    Parameters
    ----------
    location : Location
        Where it is.

    Attributes
    ----------
    location : Location
    facts : Facts
        What the three files of facts say: name, status, seconds, dataset, digest, counts, spec (with what
        was changed since), start, versions, tracking_uri, experiment, experiment_id, parent_run_id,
        baselines, refit.

    Raises
    ------
    StudyError
        When the files are damaged, or of another format version.

    Examples
    --------
    >>> import tempfile
    >>> from tune import SearchSpec, Study
    >>> spec = SearchSpec.load(trials=3)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = Study.create(f"{folder}/first", spec=spec.to_dict())
    ...     study.name, study.spec.trials, study.trials()
    ('first', 3, [])
    """

    def __init__(self, location: Location) -> None:
        self.location = location
        self._holds_lock = False
        self._files = FactFiles(location)

    @classmethod
    def create(cls, path: str | Path, **asked: Any) -> Study:
        """Make a new study.

        Parameters
        ----------
        path : str or Path
            Directory or address.
        **asked
            Facts for ``study.json``, which are never changed.

        Raises
        ------
        StudyError
            When there is a study of that name.
        """
        return cls.create_at(location_of(path), **asked)

    @classmethod
    def create_at(cls, location: Location, **asked: Any) -> Study:
        """Make a new study at a location of any class.

        Parameters
        ----------
        location : Location
            Where there is nothing yet.
        **asked
            Facts for ``study.json``, which are never changed.

        Raises
        ------
        StudyError
            When there is a study at the location.
        """
        location.require_free()
        made = {"format": FORMAT, "format_version": VERSION, "id": uuid.uuid4().hex, "created": time.time()}
        if location.is_permanent:
            asked = relative_paths.kept(asked, location.folder)
        # Complete or not there: a kill must not leave a folder that is neither a study nor free.
        with atomic.directory(location.folder) as part:
            (part / "study.json").write_text(json.dumps({**made, **asked}, indent=2) + "\n", encoding="utf-8")
        location.create()
        return cls(location)

    @classmethod
    def open(cls, name: str | Path) -> Study:
        """Open a study by its directory or address, or by its name where studies are kept.

        Raises
        ------
        StudyError
            When there is none, or it is of another format version.
        """
        checked_path("name", name)
        study = cls.find(name) or (None if is_address(name) else cls.find(f"{kept_in()}/{name}"))
        if study is None:
            raise StudyError(f"there is no study {mask(str(name))!r}{hint_of(name)}")
        return study

    @classmethod
    def find(cls, path: str | Path) -> Study | None:
        """Open the study of a directory or an address, or return None where there is none."""
        location = location_of(path)
        return cls(location) if location.fetch() else None

    def update(self, **state: Any) -> None:
        """Change facts of ``state.json`` in one step, under the lock.

        Raises
        ------
        StudyError
            When another process holds the study, or a fact is not one of the state.
        """
        with contextlib.nullcontext() if self._holds_lock else self.locked():
            self._files.write_state(state)

    def change(self, **keys: Any) -> None:
        """Change keys of the specification for the next runs.

        Parameters
        ----------
        **keys
            As in a specification: trials, concurrency, resources, max_seconds, max_failures.

        Raises
        ------
        StudyError
            When a key must not change, as trials with another value would not be comparable; or the number
            of trials would become smaller than it is; or another process runs the study.
        SpecError
            When a value is not valid.
        """
        with self.locked():
            after = changed_spec(self.name, self.facts["spec"], keys)
            more = {"status": "interrupted"} if after.trials > self.spec.trials else {}
            if after != self.spec:
                written = after.to_dict()
                self.update(changed={**self._files.changed, **{key: written[key] for key in keys}}, **more)

    def keep_refit(self, facts: dict[str, Any]) -> None:
        """Write ``refit.json`` in one step: what `docs/journal.md` says of the last refit.

        Raises
        ------
        StudyError
            When the store does not take it.
        """
        self._files.write_refit(facts)

    @property
    def facts(self) -> dict[str, Any]:
        """What the three files of facts say, as they were read or written last."""
        return self._files.joined

    def __repr__(self) -> str:
        """Return what it is, and where."""
        return f"<Study {self.where}>"

    @property
    def path(self) -> Path:
        """The directory, absolute; of a study at an address, the copy on this machine."""
        return self.location.folder

    @property
    def name(self) -> str:
        """Name of the study, which is that of its directory."""
        return self.path.name

    @property
    def where(self) -> str:
        """The directory, or the address."""
        return self.location.label

    @property
    def reference(self) -> str:
        """The shortest text by which `open` finds this study from here."""
        return self.location.reference(kept_in())

    @property
    def spec(self) -> SearchSpec:
        """The resolved specification, with what was changed since."""
        return SearchSpec.from_dict(self.facts["spec"], source=f"{self.where}/study.json", stored=True)

    @property
    def asked_spec(self) -> dict[str, Any]:
        """The specification as it was asked for when the study was made."""
        spec: dict[str, Any] = Facts(self.where, self._files.asked)["spec"]
        return spec

    @property
    def data(self) -> DatasetFacts:
        """Path, digest and counts of the dataset, and what it is a sample of."""
        facts = self.facts
        return DatasetFacts(
            dataset=facts["dataset"],
            digest=facts["digest"],
            counts=facts["counts"],
            # A study of before there were samples does not say.
            derived=facts.get("derived", []),
        )

    @cached_property
    def journal(self) -> Journal:
        """The events of this study, as ``docs/journal.md`` describes them."""
        return Journal(self.path / "journal.jsonl", f"{self.where}/journal.jsonl")

    def factors_folder(self, trial: str) -> Path:
        """Return the folder that keeps a trial's factors until MLflow has them."""
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
        """Hold the study for this process, with the facts as they are now.

        Raises
        ------
        StudyError
            When another process holds it.
        """
        with self.location.lock():
            self._holds_lock = True
            try:
                # Another process may have written since this one looked.
                self._files.load()
                yield
            finally:
                self._holds_lock = False

    def remove(self) -> None:
        """Remove the study that this process made."""
        self.location.remove(self.facts["id"])

    def status(self) -> str:
        """Return running, finished, interrupted or failed as it is now, without taking the lock.

        A killed process leaves a study that is interrupted.
        """
        status = self._files.status(now=not self._holds_lock)
        if status != "running" or self._holds_lock or self.location.is_locked():
            return status
        # The run may have ended between the two looks; then it wrote how.
        status = self._files.status(now=True)
        return "interrupted" if status == "running" else status
