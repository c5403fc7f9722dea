"""Datasets that are made at an address: a reader finds a complete one or none, whatever fails."""

from __future__ import annotations

import itertools
import json

import pytest
from ingesting import names, walslab
from ratings_files import ROWS, text_of

from toolkit import RatingsDataset, RatingsSource, ingest_ratings
from toolkit.errors import ConfigError, DatasetError, RatingsError
from toolkit.files import ObjectStore


@pytest.fixture
def ratings(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(text_of(ROWS))
    return path


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    """What an ingest into a directory makes."""
    folder = tmp_path_factory.mktemp("expected")
    (folder / "r.csv").write_bytes(text_of(ROWS))
    return made(folder / "r.csv", folder / "here", None)


@pytest.fixture
def scratch(tmp_path):
    return tmp_path / "scratch"


@pytest.fixture(params=["memory", pytest.param("s3", marks=pytest.mark.slow)])
def address(request):
    """The address of a dataset in a store that is empty; a server of S3 is slow, and one test meets it."""
    request.getfixturevalue(request.param)
    return f"{request.param}://bucket/deep/set"


@pytest.fixture
def stores(address, scratch):
    return address, scratch


def made(ratings, out, scratch, **options):
    source = RatingsSource.detect([ratings])
    return ingest_ratings(source, out, scratch=scratch, **{"shard_ratings": 100, **options})


def objects(address):
    return ObjectStore(address, DatasetError).names()


@pytest.mark.parametrize("address", ["memory", "s3"], indirect=True)
def test_a_dataset_at_an_address_is_that_of_a_directory(ratings, expected, address, scratch):
    there = made(ratings, address, scratch)
    assert there.digest == expected.digest
    assert RatingsDataset.open(address, verify=True).train.nnz == expected.train.nnz
    # Nothing else is left, there or here.
    assert objects(address) == sorted(
        ["manifest.json", *(entry["path"] for entry in there.manifest["files"])]
    )
    assert list(scratch.iterdir()) == []


def test_the_command_takes_an_address(ratings, memory, scratch):
    done = walslab("ingest", ratings, "--out", "memory://b/set", "--scratch", scratch, "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["digest"] == RatingsDataset.open("memory://b/set").digest


def test_without_a_scratch_folder_it_works_in_one_that_nobody_else_may_enter(
    ratings, memory, tmp_path, monkeypatch
):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    made(ratings, "memory://b/set", None)
    (root,) = tmp_path.glob("walslab-*")
    assert root.stat().st_mode & 0o777 == 0o700
    root.chmod(0o777)
    with pytest.raises(DatasetError, match="must be a folder that only this user may enter"):
        made(ratings, "memory://b/other", None)


def test_what_is_there_is_replaced_only_when_asked(ratings, address, scratch):
    before = made(ratings, address, scratch)
    with pytest.raises(DatasetError, match="exists already: give another --out, or --overwrite"):
        made(ratings, address, scratch, shard_ratings=300)
    after = made(ratings, address, scratch, shard_ratings=300, overwrite=True)
    assert after.digest != before.digest
    # The shards of the one before, which were more, are gone.
    assert objects(address) == sorted(
        ["manifest.json", *(entry["path"] for entry in after.manifest["files"])]
    )


def test_what_is_no_dataset_stays(ratings, memory, scratch):
    memory.pipe("/bucket/set/thesis.txt", b"important")
    with pytest.raises(DatasetError, match=r"holds other things .* such as thesis.txt"):
        made(ratings, "memory://bucket/set", scratch, overwrite=True)
    assert objects("memory://bucket/set") == ["thesis.txt"]


def test_an_ingest_that_fails_leaves_the_dataset_before_it(ratings, address, scratch):
    before = made(ratings, address, scratch)
    ratings.write_bytes(text_of(ROWS) + b"7,8,nonsense\n")
    with pytest.raises(RatingsError, match="nonsense"):
        made(ratings, address, scratch, overwrite=True)
    assert RatingsDataset.open(address, verify=True).digest == before.digest
    assert "upload.txt" not in objects(address)


def test_a_bucket_that_is_not_there_is_refused_before_anything_is_read(ratings, s3, scratch):
    def show(stage, done, total):
        raise AssertionError(stage)

    with pytest.raises(DatasetError, match="s3://nowhere/set cannot be"):
        made(ratings, "s3://nowhere/set", scratch, progress=show)


def lost(monkeypatch, after, *, cleaned=True):
    """Break the connection when so many files have been sent, for good or until the cleaning."""
    left = after
    send, remove = ObjectStore.upload, ObjectStore.remove

    def upload(self, name, path):
        nonlocal left
        left -= 1
        if left < 0:
            raise DatasetError("the connection is lost")
        send(self, name, path)

    def cleaning(self, name=""):
        if left < 0 and not cleaned:
            raise DatasetError("the connection is lost")
        remove(self, name)

    monkeypatch.setattr(ObjectStore, "upload", upload)
    monkeypatch.setattr(ObjectStore, "remove", cleaning)


FAULTS = [*itertools.product([0, 3, -1], [True, False], [True, False])]
# Any two of the three in every combination.
QUICK = [(0, True, False), (0, False, True), (3, True, True), (3, False, False), (-1, True, False)]
QUICK += [(-1, False, True)]


def marked(store, fault, *, quick):
    return pytest.param(store, fault, marks=[] if quick else pytest.mark.slow)


@pytest.mark.parametrize(
    ("address", "fault"),
    # The faults are of one class for both stores; a request to a server takes a hundredth of a second.
    [
        *(marked("memory", fault, quick=fault in QUICK) for fault in FAULTS),
        *(marked("s3", fault, quick=False) for fault in ((-1, False, True), (3, True, False))),
    ],
    indirect=["address"],
)
def test_a_connection_that_is_lost_in_the_middle(ratings, expected, stores, monkeypatch, fault):
    (address, scratch), (after, cleaned, overwrite) = stores, fault
    if overwrite:
        made(ratings, address, scratch, shard_ratings=75)
    files = len(expected.manifest["files"]) + 1
    with monkeypatch.context() as patch:
        lost(patch, after % files, cleaned=cleaned)
        with pytest.raises(DatasetError, match=r"connection is lost; .* goes on with sending it"):
            made(ratings, address, scratch, overwrite=overwrite)
    with pytest.raises(DatasetError, match="is not a dataset"):
        RatingsDataset.open(address)
    if cleaned and not overwrite:
        assert objects(address) == []
    stages = []
    again = made(ratings, address, scratch, progress=lambda stage, done, _: stages.append((stage, done)))
    assert again.digest == expected.digest
    # All was done already but the sending.
    assert ("reading", 0) not in stages
    assert ("sending", 1) in stages
    assert objects(address) == sorted(
        ["manifest.json", *(entry["path"] for entry in again.manifest["files"])]
    )
    assert list(scratch.iterdir()) == []


def test_of_two_that_write_to_one_address_the_last_goes_on(ratings, memory, scratch, monkeypatch):
    address, send = "memory://bucket/set", ObjectStore.upload
    second = []

    def upload(self, name, path):
        send(self, name, path)
        if not second and name == "items.parquet":
            second.append(True)
            second[0] = made(ratings, address, scratch.with_name("other"))

    monkeypatch.setattr(ObjectStore, "upload", upload)
    with pytest.raises(DatasetError, match="another process has begun to write to memory://bucket/set"):
        made(ratings, address, scratch)
    assert RatingsDataset.open(address, verify=True).digest == second[0].digest


@pytest.mark.parametrize("out", ["memory://", "memory:///", "s3://"])
def test_an_address_of_no_folder(ratings, scratch, out):
    with pytest.raises(DatasetError, match="must be the address of a folder, such as s3://bucket/mine"):
        made(ratings, out, scratch)
    with pytest.raises(DatasetError, match="must be the address of a folder, such as s3://bucket/mine"):
        RatingsDataset.open(out)


@pytest.mark.parametrize(
    ("scratch", "text"),
    [
        ("memory://bucket/work", "--scratch must be a folder of this machine, but got memory://bucket/work"),
        ("ratings.csv/below", "--scratch must be a folder of this machine, but .* cannot be made: Not a dir"),
    ],
)
@pytest.mark.usefixtures("memory")
def test_a_scratch_that_is_no_folder(ratings, monkeypatch, scratch, text):
    monkeypatch.chdir(ratings.parent)
    before = names(ratings.parent)
    with pytest.raises(ConfigError, match=text):
        made(ratings, "memory://bucket/mine", scratch.replace("ratings.csv", ratings.name))
    assert names(ratings.parent) == before


def test_a_scratch_that_nothing_needs_is_refused(ratings, scratch):
    with pytest.raises(ConfigError, match=r"--scratch is where a dataset is made before it is sent.*leave"):
        made(ratings, ratings.with_name("here"), scratch)


def test_ratings_inside_the_dataset_that_they_would_replace(ratings, tmp_path):
    first = made(ratings, tmp_path / "mine", None)
    inside = tmp_path / "mine" / "more.csv"
    inside.write_bytes(ratings.read_bytes())
    with pytest.raises(DatasetError, match=r"--out .*mine would replace .*more\.csv, which the dataset is"):
        made(inside, tmp_path / "mine", None, overwrite=True)
    assert inside.exists()
    assert RatingsDataset.open(tmp_path / "mine").digest == first.digest
