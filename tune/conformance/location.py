"""Suite for locations: where a study is kept, and how one process at a time gets the right to write there."""

from __future__ import annotations

import shutil
import threading
import time
from typing import Any

import numpy as np
import pytest

from toolkit.config import WALSConfig
from toolkit.errors import StudyError
from toolkit.predictor import Side
from toolkit.solver import Factors
from tune.study import Location, Study

_ENDED: dict[str, Any] = {
    "number": 1,
    "status": "FINISHED",
    "stopped": None,
    "valid_rmse": 0.9,
    "train_rmse": 0.8,
    "ranking": {},
    "iterations": 1,
    "seconds": 0.1,
    "history": {"valid_rmse": [0.9], "train_rmse": [0.8], "seconds": [0.1]},
    "sampled": {"factors": 2},
    "config": {"factors": 2},
    "source": "random",
    "reason": None,
    "started": 1000.0,
    "ended": 1001.0,
    "attempts": 1,
    "system": None,
}
_SPEC = {"space": {"factors": {"low": 2, "high": 8}}, "trials": 3}


class LocationConformance:
    """What every `tune.study.Location` must do; override `new_location` and `same_location`.

    Examples
    --------
    >>> import uuid
    >>> from tune.conformance import LocationConformance
    >>> from tune.study import location_of
    >>> class TestMemory(LocationConformance):
    ...     def new_location(self):
    ...         return location_of(f"memory://{uuid.uuid4().hex}/studies/first")
    ...
    ...     def same_location(self, location):
    ...         return location_of(location.label)
    >>> TestMemory().test_a_new_location_is_free()
    """

    def new_location(self) -> Location:
        """Return a location where there is nothing, another one at each call."""
        raise NotImplementedError

    def same_location(self, location: Location) -> Location:
        """Return a location as another process finds it."""
        raise NotImplementedError

    def made(self) -> Study:
        """Return a study at a new location."""
        return Study.create_at(self.new_location(), spec=_SPEC)

    def opened(self, study: Study) -> Study:
        """Return a study as another process opens it."""
        location = self.same_location(study.location)
        assert location.fetch()
        return Study(location)

    def test_a_new_location_is_free(self) -> None:
        """Nothing is there, nobody runs it, and it is not refused."""
        location = self.new_location()
        location.require_free()
        assert not location.fetch()
        assert not location.is_locked()
        assert location.read("study.json") is None

    def test_a_study_is_found_and_not_made_twice(self) -> None:
        """Another process finds the study with its facts, and is refused to make one there."""
        study = self.made()
        assert self.opened(study).facts == study.facts
        with pytest.raises(StudyError, match="already"):
            self.same_location(study.location).require_free()

    def test_one_process_at_a_time_holds_a_study(self) -> None:
        """A second process is refused while one holds the study, and not afterwards."""
        study = self.made()
        with study.locked():
            study.location.require_lock()
            assert not study.location.taken_over
            with pytest.raises(StudyError, match="is being run by process"), self.opened(study).locked():
                pass
        with self.opened(study).locked():
            pass

    def test_of_several_at_the_same_moment_one_gets_the_study(self) -> None:
        """Processes that ask at once are one holder and otherwise refused."""
        study = self.made()
        outcomes: list[str] = []

        def take() -> None:
            try:
                with self.opened(study).locked():
                    outcomes.append("held")
                    time.sleep(1.5)
            except StudyError as error:
                outcomes.append(str(error))

        threads = [threading.Thread(target=take) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert outcomes.count("held") == 1, outcomes

    def test_a_look_takes_no_lock_and_needs_none(self) -> None:
        """A held study can be looked at; a study that is looked at can be held."""
        study = self.made()
        looker = self.opened(study)
        assert not looker.location.is_locked()
        with study.locked():
            assert looker.location.is_locked()
            assert looker.status() == "running"
            assert looker.location.fetch()
        assert not looker.location.is_locked()
        assert looker.status() == "interrupted"

    def test_what_was_written_is_known_afterwards(self) -> None:
        """Events and state that a holder wrote are there for the next process."""
        study = self.made()
        with study.locked():
            study.journal.append("run", trial="trial-001", run_id="r1")
            study.journal.append("ended", trial="trial-001", **_ENDED)
            study.journal.append("recorded", trial="trial-001")
            study.update(status="finished", seconds=1.5)
        other = self.opened(study)
        assert other.status() == "finished"
        assert [(trial["trial"], trial["run_id"]) for trial in other.trials()] == [("trial-001", "r1")]
        assert other.recorded() == {"trial-001"}
        assert other.facts["seconds"] == 1.5

    def test_a_later_holder_adds_to_what_there_is(self) -> None:
        """The journal of two runs has the events of both, once each and in their order."""
        study = self.made()
        for number in (1, 2, 3):
            holder = self.opened(study)
            with holder.locked():
                holder.journal.append("run", trial=f"trial-{number:03d}", run_id=f"r{number}")
        runs = self.opened(study).runs()
        assert list(runs.items()) == [(f"trial-{n:03d}", f"r{n}") for n in (1, 2, 3)]

    def test_a_file_is_published_beside_a_run(self) -> None:
        """A refit by another process and the run that ends meanwhile lose nothing of each other."""
        study = self.made()
        with study.locked():
            study.update(status="running")
            other = self.opened(study)
            study.update(status="finished")
            other.keep_refit({"trial": "trial-001"})
        facts = self.opened(study).facts
        assert (facts["status"], facts["refit"]) == ("finished", {"trial": "trial-001"})

    def test_factors_that_mlflow_does_not_have_are_kept(self) -> None:
        """Factors of a trial that MLflow did not take are there for the next process."""
        study = self.made()
        side = Side(np.ones((3, 2), np.float32), np.zeros(3, np.float32))
        factors = Factors(mean=3.0, users=side, items=side, iterations=1, config=WALSConfig(factors=2))
        with study.locked():
            study.keep_factors("trial-001", factors)
            study.journal.append("ended", trial="trial-001", **_ENDED)
        other = self.opened(study)
        assert len(other.trials()) == 1
        np.testing.assert_array_equal(
            Factors.load(other.factors_folder("trial-001")).users.factors, side.factors
        )

    def test_checkpoints_of_long_trials_are_kept(self) -> None:
        """The next holder goes on from a trial's checkpoint, and what one holder removed is gone."""
        study = self.made()
        with study.locked():
            for iterations in (7, 8):
                self._write_checkpoint(study, iterations)
            shutil.rmtree(study.path / "checkpoints/trial-001/7")
        other = self.opened(study)
        with other.locked():
            other.location.bring_checkpoint("trial-001")
            other.location.bring_checkpoint("trial-002")
            assert self._checkpoints(other) == {"trial-001/8/factors/users": b"8"}
            self._write_checkpoint(other, 9)
        third = self.opened(study)
        with third.locked():
            third.location.bring_checkpoint("trial-001")
            assert self._checkpoints(third)["trial-001/9/factors/users"] == b"9"
            shutil.rmtree(third.path / "checkpoints/trial-001")
        last = self.opened(study)
        with last.locked():
            last.location.bring_checkpoint("trial-001")
            assert self._checkpoints(last) == {}

    @staticmethod
    def _write_checkpoint(study: Study, iterations: int) -> None:
        folder = study.path / f"checkpoints/trial-001/{iterations}/factors"
        folder.mkdir(parents=True)
        (folder / "users").write_bytes(b"%d" % iterations)

    @staticmethod
    def _checkpoints(study: Study) -> dict[str, bytes]:
        top = study.path / "checkpoints"
        return {
            path.relative_to(top).as_posix(): path.read_bytes() for path in top.rglob("*") if path.is_file()
        }

    def test_a_study_is_removed_by_its_identity(self) -> None:
        """A study of another identity stays; the study itself goes entirely."""
        study = self.made()
        self.opened(study).location.remove("another")
        again = self.opened(study)
        with again.locked():
            again.remove()
        location = self.same_location(study.location)
        assert not location.fetch()
        location.require_free()

    def test_a_study_is_called_by_its_name_where_studies_are_kept(self) -> None:
        """The reference is the name below the root of studies, and finds the study elsewhere, too."""
        study = self.made()
        label = study.location.label
        assert study.location.reference(label.rpartition("/")[0]) == study.name
        assert study.name in study.location.reference("/elsewhere")
