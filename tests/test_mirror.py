"""Studies at an address: the same as in a folder, whoever comes next, and whatever dies."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from memory_addresses import address_fixture, data_address_fixture, dataset_fixture, store_fixture  # noqa: F401 - fixtures
from processes import wait_for
from trials import end, result

from cluster.cli import main
from toolkit.errors import StudyError
from toolkit.files import ObjectStore
from toolkit.predictor import Side
from toolkit.solver import Factors
from tune.lifecycle import create_study, require_same
from tune.record import client_of
from tune.record.runs import children
from tune.spec import SearchSpec
from tune.study import Study, mirror, store_lock
from tune.study.store_lock import StoreLock

SPEC = SearchSpec.from_dict(
    {"space": {"factors": {"low": 2, "high": 6}, "iterations": 3}, "trials": 4, "concurrency": 1}
)


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty current folder, and locks whose holders show every moment that they live."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WALSLAB_STUDIES", raising=False)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/mlflow.db")
    monkeypatch.setattr(store_lock, "HEARTBEAT", 0.1)
    # Long enough for a holder that a busy machine lets wait.
    monkeypatch.setattr(store_lock, "EXPIRY", 15.0)
    monkeypatch.setattr(mirror, "_PAUSE", 0.02)
    return tmp_path


def made(address):
    return Study.create(address, name="first", spec=SPEC.to_dict(), tracking_uri="x")


def keep(study, trial):
    side = Side(np.ones((3, 2), np.float32), np.zeros(3, np.float32))
    study.keep_factors(
        trial, Factors(mean=3.0, users=side, items=side, iterations=3, config=SPEC.config({"factors": 2}))
    )
    end(study, result(trial))


# Studies


def test_study_is_found_again_from_elsewhere(address):
    study = made(address)
    with study.locked():
        study.journal.append("proposed", trial="trial-001", number=1, sampled={"factors": 2}, source="random")
        end(study, result("trial-001"))
    found = Study.open(address)
    assert found.path != study.path
    assert found.facts == study.facts
    assert found.proposed() == study.proposed()
    assert found.trials() == study.trials()
    assert (found.name, found.where, found.reference) == ("first", address, address)


def test_study_is_found_by_name_where_studies_are_kept(address, monkeypatch):
    made(address)
    monkeypatch.setenv("WALSLAB_STUDIES", address.rpartition("/")[0])
    assert Study.open("first").where == address
    assert Study.open("first").reference == "first"
    with pytest.raises(StudyError, match=r"no study 'frist' \(did you mean 'first'\?\)"):
        Study.open("frist")


def test_second_study_of_a_name_is_refused(address):
    made(address)
    with pytest.raises(StudyError, match=r"there is a study memory://.*/first already"):
        made(address)


def test_study_that_another_process_made_meanwhile_is_not_written_over(address, monkeypatch):
    study = made(address)
    with study.locked():
        pass
    monkeypatch.setattr(mirror.Mirror, "exists", lambda _: False)
    with pytest.raises(StudyError, match="another process just made it"):
        made(address)
    assert Study.open(address).facts["id"] == study.facts["id"]
    with study.locked():  # and it is free
        pass


def test_what_happens_is_there_while_the_study_runs(address):
    study = made(address)
    with study.locked():
        end(study, result("trial-001"))
        wait_for(lambda: len(Study.open(address).trials()) == 1)
        end(study, result("trial-002"))
        wait_for(lambda: len(Study.open(address).trials()) == 2)


def test_trial_counts_once_its_factors_are_in_mlflow(address):
    study = made(address)
    with study.locked():
        keep(study, "trial-001")
        end(study, result("trial-002"))
        wait_for(lambda: Study.open(address).trials())
        # A process that is killed now leaves its factors behind on its machine.
        assert [trial["trial"] for trial in Study.open(address).trials()] == ["trial-002"]
        # What the record does: it moves them, and says so.
        study.factors_folder("trial-001").rename(study.path / "elsewhere")
        study.journal.append("recorded", trial="trial-001")
        wait_for(lambda: len(Study.open(address).trials()) == 2)


def test_factors_that_mlflow_did_not_take_lie_at_the_address_until_it_does(address, store):
    study = made(address)
    with study.locked():
        keep(study, "trial-001")
    again = Study.open(address)
    kept = Factors.load(again.factors_folder("trial-001"))
    np.testing.assert_array_equal(kept.users.factors, np.ones((3, 2)))
    with again.locked():
        again.factors_folder("trial-001").rename(again.path / "elsewhere")
        again.journal.append("recorded", trial="trial-001")
    assert not store.exists(address.removeprefix("memory:/") + "/factors/trial-001")
    assert len(Study.open(address).trials()) == 1
    assert Study.open(address).recorded() == {"trial-001"}


@pytest.mark.parametrize("obeyed", [False, True])
@pytest.mark.parametrize("calls", [1, 3])
def test_request_that_fails_loses_and_repeats_nothing(address, monkeypatch, calls, obeyed):
    study, failed = made(address), []
    write = MemoryFileSystem.pipe_file

    def failing(self, path, value, **options):
        if "journal" in path and len(failed) < calls:
            failed.append(path)
            if obeyed:
                write(self, path, value, **options)
            raise ConnectionError("reset by peer")
        return write(self, path, value, **options)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", failing)
    with study.locked():
        for number in range(1, 6):
            end(study, result(f"trial-{number:03d}"))
            time.sleep(0.05)
    assert failed
    found = Study.open(address)
    lines = found.journal.path.read_text().splitlines()
    assert len(lines) == 5
    assert len(set(lines)) == 5


def test_study_whose_store_stays_away_is_kept_here_and_says_where(address, monkeypatch):
    study = made(address)
    monkeypatch.setattr(mirror, "_PATIENCE", 0.2)

    def failing(self, *args, **options):
        raise ConnectionError("reset by peer")

    held = study.locked()
    held.__enter__()
    end(study, result("trial-001"))
    monkeypatch.setattr(MemoryFileSystem, "pipe_file", failing)
    with pytest.raises(StudyError, match=r"not all of .* is at memory://") as raised:
        held.__exit__(None, None, None)
    assert str(study.path) in str(raised.value)
    assert not study.location._copy.cleaner.alive
    assert (study.path / "journal.jsonl").exists()
    monkeypatch.undo()


# One process at a time


def lock_at(address):
    return StoreLock(ObjectStore(address, StudyError), f"study {address}")


def test_study_that_another_process_runs_is_refused(address):
    study = made(address)
    with study.locked():
        assert Study.open(address).status() == "running"
        with (
            pytest.raises(StudyError, match=r"is being run by process \d+ of .*: wait for it"),
            Study.open(address).locked(),
        ):
            pass
    with Study.open(address).locked():  # it was let go of
        pass


def test_study_of_a_process_that_died_is_taken_over(address, monkeypatch):
    monkeypatch.setattr(store_lock, "EXPIRY", 0.6)
    made(address)
    lock_at(address).acquire()  # and the process dies
    time.sleep(0.7)
    assert Study.open(address).status() == "interrupted"
    began = time.monotonic()
    with Study.open(address).locked():
        assert time.monotonic() - began > 0.5
    assert not lock_at(address).seems_held()


def test_process_that_was_taken_for_dead_gives_up(address, monkeypatch):
    monkeypatch.setattr(store_lock, "EXPIRY", 0.6)
    study, other = made(address), lock_at(address)

    def work():
        with study.locked():
            monkeypatch.setattr(StoreLock, "beat", lambda _: None)  # as in a process that is suspended
            other.acquire()
            wait_for(lambda: study.location.taken_over)
            end(study, result("trial-001"))

    with pytest.raises(StudyError, match="was taken over by process"):
        work()
    with pytest.raises(StudyError):
        study.location.require_lock()
    assert Study.open(address).trials() == []
    other.require()  # and the other has it still


def test_of_two_at_the_same_moment_one_gets_the_study(address):
    made(address)
    won, lost = [], []

    def take():
        try:
            with Study.open(address).locked():
                won.append(1)
                wait_for(lambda: len(lost) == 2)
        except StudyError as error:
            lost.append(str(error))

    threads = [threading.Thread(target=take) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 2), lost


def test_lock_says_who_holds_it(address, store, monkeypatch):
    made(address)
    monkeypatch.setenv("RAY_JOB_SUBMISSION_ID", "raysubmit_x")
    lock = lock_at(address)
    lock.acquire()
    mark = json.loads(store.cat(f"{address.removeprefix('memory:/')}/lock/00000001.json"))
    assert (mark["pid"], mark["job"], mark["released"]) == (os.getpid(), "raysubmit_x", False)
    assert mark.keys() >= {"host", "boot", "since", "beats", "at", "holder"}
    lock.release()
    assert not lock.seems_held()


def test_lost_answer_of_the_store_is_no_lost_lock(address, monkeypatch):
    """A request that was obeyed, and repeated as its answer was lost, is refused by the store."""
    made(address)
    write = MemoryFileSystem.pipe_file

    def repeated(self, path, value, **options):
        write(self, path, value, **options)
        if options.get("mode") == "create":
            raise FileExistsError(path)

    monkeypatch.setattr(MemoryFileSystem, "pipe_file", repeated)
    lock = lock_at(address)
    lock.acquire()
    lock.require()


def test_parts_of_two_writers_are_both_kept(address):
    study = made(address)
    other = Study.open(address)
    end(study, result("trial-001"))
    end(other, result("trial-002"))
    study.location.push()
    other.location.push()
    assert len(Study.open(address).trials()) == 2


def test_study_is_removed_by_whoever_made_it_alone(address):
    study = made(address)
    other = Study.open(address)
    other.location.remove("another")
    assert Study.find(address)
    study.remove()
    assert Study.find(address) is None


def test_time_that_a_killed_study_ran_is_not_that_of_all_its_trials(address):
    from tune.search import StudyRun

    spec = SearchSpec.from_dict({**SPEC.to_dict(), "max_seconds": 100})
    study = Study.create(address, spec=spec.to_dict(), digest="x")
    for number in range(3):  # at the same time
        end(study, result(f"trial-00{number}", started=1000.0, ended=1060.0))
    assert not StudyRun(study, 1).over


# A whole search


@pytest.mark.integration
@pytest.mark.slow
def test_search_goes_on_where_a_killed_process_left_it(folder, dataset, repo_root, s3):
    words = [sys.executable, "-m", "tune", "tune", str(dataset.path), "--studies", "s3://bucket/kept"]
    words += ["--name", "first", "--trials", "12", "--in-process", "--json"]
    environment = {**os.environ, "PYTHONPATH": str(repo_root)}
    began = subprocess.Popen(words, env=environment, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)

    def recorded():
        s3.invalidate_cache()
        names = [name for name in s3.find("bucket/kept/first") if name.endswith(".jsonl")]
        return b"recorded" in b"".join(s3.cat_file(name) for name in names)

    try:
        wait_for(recorded, 120)
    finally:
        began.kill()
        began.wait()
    found = Study.open("s3://bucket/kept/first")
    before = {trial["trial"]: trial["ended"] for trial in found.trials()}
    assert 1 <= len(before) < 12
    again = subprocess.run(words, env=environment, capture_output=True, check=True, text=True)
    assert json.loads(again.stdout.splitlines()[-1])["trials"] == 12
    after = {trial["trial"]: trial["ended"] for trial in Study.open("s3://bucket/kept/first").trials()}
    assert before.items() <= after.items()  # not run again
    assert len(after) == 12
    client = client_of(found)
    assert sorted(run.data.tags["walslab.trial"] for run in children(client, found)) == sorted(after)


def test_asked_for_once_more_a_study_goes_on_and_runs_nothing_twice(
    folder, empty_store, undrawn, address, data_address
):
    shutil.copyfile(empty_store, folder / "mlflow.db")
    words = ["tune", data_address, "--name", "first", "--studies", address.rpartition("/")[0]]
    (folder / "search.yaml").write_text("space: {factors: {low: 2, high: 4}, iterations: 2}\ntrials: 2\n")
    words += ["--spec", "search.yaml", "--in-process"]
    first = CliRunner().invoke(main, words)
    assert first.exit_code == 0, first.output
    trials = Study.open(address).trials()
    again = CliRunner().invoke(main, words)
    assert again.exit_code == 0, again.output
    assert f"study {address} goes on: 2 trials have ended" in again.stderr
    assert Study.open(address).trials() == trials
    other = CliRunner().invoke(main, [*words, "--seed", "7"])
    assert other.exit_code == 1
    listed = CliRunner().invoke(main, ["results", address])
    assert listed.exit_code == 0
    assert "finished, 2/2 trials" in listed.stdout


def test_another_dataset_is_not_the_same_study(folder, empty_store, address, dataset):
    shutil.copyfile(empty_store, folder / "mlflow.db")
    study = create_study(address, dataset, SPEC)
    study.facts["digest"] = "0" * 32
    with pytest.raises(StudyError, match="with another dataset"):
        require_same(study, dataset, SPEC)


def test_study_that_cannot_begin_leaves_nothing_at_its_address(address, dataset, monkeypatch, store):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    with pytest.raises(StudyError, match="no MLflow server answers"):
        create_study(address, dataset, SPEC)
    assert not store.exists(address.removeprefix("memory:/"))
