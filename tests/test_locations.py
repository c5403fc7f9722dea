"""Every location of a study passes the suite that the package ships."""

from __future__ import annotations

import json
import time
import uuid

import pytest
from forks import Forked

from toolkit.errors import StudyError
from tune.conformance import LocationConformance
from tune.study import Study, location_of, mirror, store_lock

SPEC = {"space": {"factors": {"low": 2, "high": 6}, "iterations": 3}, "trials": 4}


@pytest.fixture
def short_waits(monkeypatch):
    """Locks that expire within seconds."""
    monkeypatch.setattr(store_lock, "HEARTBEAT", 0.1)
    monkeypatch.setattr(store_lock, "EXPIRY", 3.0)
    monkeypatch.setattr(mirror, "_PAUSE", 0.02)


class Addressed(LocationConformance):
    """A location that its label finds again, below a root of its own."""

    root: str

    def new_location(self):
        return location_of(f"{self.root}/{uuid.uuid4().hex}/first")

    def same_location(self, location):
        return location_of(location.label)


class TestFolder(Addressed):
    @pytest.fixture(autouse=True)
    def _root(self, tmp_path):
        self.root = str(tmp_path)


@pytest.mark.usefixtures("short_waits")
class TestMemory(Addressed):
    root = "memory:/"


class OnS3(Addressed):
    root = "s3://bucket"


# The same code asks a store of S3 and that in memory. What is S3's own are conditional writes, and lists of
# folders, which s3fs remembers.
@pytest.mark.integration
@pytest.mark.parametrize(
    "law",
    [
        OnS3.test_a_later_holder_adds_to_what_there_is,
        OnS3.test_factors_that_mlflow_does_not_have_are_kept,
    ],
)
@pytest.mark.usefixtures("short_waits", "s3")
def test_a_store_of_s3_keeps_what_is_written_to_it(law):
    law(OnS3())


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.usefixtures("short_waits", "s3")
class TestS3(OnS3):
    pass


def test_lock_that_another_client_took_since_is_seen(s3, short_waits):
    """What s3fs remembers of a folder must not hide it."""
    import s3fs

    study = Study.create("s3://bucket/kept/first", spec=SPEC, tracking_uri="x")
    with study.locked():
        pass
    found = Study.open("s3://bucket/kept/first")
    elsewhere = s3fs.S3FileSystem(skip_instance_cache=True)
    for number in (2, 3, 4):
        mark = {"holder": "another", "pid": number, "host": "elsewhere", "at": time.time() + 60, "beats": 0}
        elsewhere.pipe_file(f"bucket/kept/first/lock/{number:08d}.json", json.dumps(mark).encode())
        assert found.status() == "running"
        assert Study.open("s3://bucket/kept/first").trials() == []


RACING = """
import pathlib, sys, time
from toolkit.errors import StudyError
from toolkit.files import ObjectStore
from tune.study.store_lock import StoreLock
for turn in range(4):
    while not pathlib.Path(sys.argv[1], str(turn)).exists():
        time.sleep(0.005)
    lock = StoreLock(ObjectStore(f"s3://bucket/races/{turn}", StudyError), "study")
    print("made" if lock._create(1) else "refused", flush=True)
"""


@pytest.mark.integration
def test_of_two_processes_the_store_lets_one_through(s3, tmp_path):
    imports = ["s3fs", "toolkit.files", "tune.study.store_lock"]
    with Forked(RACING, tmp_path, imports=imports) as one, Forked(RACING, tmp_path, imports=imports) as other:
        for turn in range(4):
            (tmp_path / str(turn)).touch()
            assert sorted([one.stdout.readline(), other.stdout.readline()]) == ["made\n", "refused\n"]


def test_bucket_that_is_not_there_is_told(object_store):
    with pytest.raises(
        StudyError, match=r"s3://no-such-bucket/first cannot be written to: .* does not exist"
    ):
        Study.create("s3://no-such-bucket/first", spec=SPEC)
