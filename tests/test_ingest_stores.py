"""Ratings files in stores: what is read of them, what is said of one that fails, and no password anywhere."""

from __future__ import annotations

import json
import sys

import fsspec
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from ratings_files import PACKED, PARTS, TEXT, digest_of_all, read, refused, source_of, zip_of

from toolkit.commands.ingest import ingest
from toolkit.ingest import RatingsSource, ingest_ratings
from toolkit.ingest.reading.blocks import Unit, pieces, units
from toolkit.ingest.reading.file_listing import find_files
from toolkit.ingest.reading.ratings_file import RatingsFile


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    return digest_of_all(tmp_path_factory.mktemp("plain"))


# A store in memory


@pytest.mark.parametrize("kind", PACKED)
def test_a_store_gives_the_same(tmp_path, digest, memory, kind):
    memory.pipe("/bucket/r", PACKED[kind])
    made = read(tmp_path / "out", "memory://bucket/r", block_bytes=700)
    assert made.digest == digest
    (fact,) = made.manifest["source"]["files"]
    name = "r/scores.csv" if kind == "zip" else "r"
    told = {"name": name, "path": "memory://bucket/r", "bytes": len(PACKED[kind]), "etag": ""}
    assert fact == {**told, "mean": pytest.approx(2.1), "deviation": pytest.approx(2.24**0.5)}


def test_blocks_of_a_store_are_read_as_ranges(tmp_path, digest, memory, monkeypatch):
    asked = []
    whole = MemoryFileSystem.cat_file

    def cat_file(self, path, start=None, end=None, **options):
        asked.append((start, end))
        return whole(self, path, start, end, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    monkeypatch.setattr("toolkit.ingest.reading.blocks._TAIL", 16)
    memory.pipe("/r.csv", TEXT)
    assert read(tmp_path / "out", "memory://r.csv", block_bytes=500).digest == digest
    assert sorted(asked) == [
        (max(begin - 1, 0), min(begin + 500, len(TEXT)) + 16) for begin in range(0, len(TEXT), 500)
    ]


def test_patterns_folders_and_zip_members_of_a_store(tmp_path, digest, memory):
    for name, data in PARTS.items():
        memory.pipe(f"/set/a/{name}", data)
    memory.pipe("/set/a/_SUCCESS", b"")
    memory.pipe("/set/.hidden/part-9.csv", TEXT)
    names = [f"memory://set/a/{name}" for name in PARTS]
    for address in ("memory://set/a/part-*.csv", "memory://set", "memory://set/", "memory://s*"):
        assert [file.path for file in find_files([address])] == names, address
        assert read(tmp_path / "out", address).digest == digest
    assert len(find_files(["memory://"])) == 3
    with refused("the folder memory://set/.hidden/.deep holds no file"):
        memory.pipe("/set/.hidden/.deep/_SUCCESS", b"")
        find_files(["memory://set/.hidden/.deep"])
    # Found again, although it was listed before.
    memory.rm("/set/a/part-0.csv")
    assert len(find_files(["memory://set"])) == 2
    memory.pipe("/two.zip", zip_of({"a.csv": TEXT, "b.csv": b"x"}))
    with refused(r"two\.zip holds a\.csv, b\.csv: say which, as memory://two\.zip/MEM"):
        find_files(["memory://two.zip"])
    assert read(tmp_path / "out", "memory://two.zip/a.csv").digest == digest
    with refused(r"memory://two\.zip has no member 'c\.csv' \(did you mean"):
        find_files(["memory://two.zip/c.csv"])


@pytest.mark.parametrize("address", ["memory://none.csv", "memory://none-*.csv", "memory://r.csv/deep/er"])
def test_what_is_not_in_a_store(memory, address):
    memory.pipe("/q.csv", TEXT)
    with refused(r"there is no ratings file memory://"):
        find_files([address])


def test_the_command_takes_addresses(tmp_path, digest, memory):
    memory.pipe("/r.csv.gz", PACKED["gzip"])
    done = CliRunner().invoke(ingest, ["memory://r.csv.gz", "--out", str(tmp_path / "out"), "--json"])
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout.splitlines()[-1])["digest"] == digest


def test_text_and_parquet_are_not_mixed(memory):
    memory.pipe("/r.csv", TEXT)
    memory.pipe("/r.parquet", PACKED["parquet"])
    with refused(r"memory://r\.csv and memory://r\.parquet must"):
        RatingsSource.detect(["memory://r.csv", "memory://r.parquet"])


# A store with a password


class LostError(Exception):
    """An error of a store's own."""


class GuardedStore(MemoryFileSystem):
    """As SFTP is: the address holds a user, a password and a host, and names within have none of them."""

    protocol = "guarded"
    cachable = False
    broken = ""

    def __init__(self, username=None, password=None, host=None, **options):
        super().__init__(**options)
        self.known = (username, password, host) == ("ada", "pass/word", "vault:22")
        self.password = password

    @staticmethod
    def _get_kwargs_from_urls(address):
        user, _, host = address.removeprefix("guarded://").rpartition("@")
        return dict(
            zip(("username", "password", "host"), (*user.split(":"), host.partition("/")[0]), strict=False)
        )

    @classmethod
    def _strip_protocol(cls, path):
        path = path.removeprefix("guarded://").rpartition("@")[2]
        return "/" + path.partition("/")[2].rstrip("/") if not path.startswith("/") else path.rstrip("/")

    @staticmethod
    def checked(act):
        def method(self, *args, **options):
            if not self.known or act == GuardedStore.broken:
                raise LostError("" if act == "cat_file" else f"{self.password}@vault is closed")
            return getattr(MemoryFileSystem, act)(self, *args, **options)

        return method

    info, _open, cat_file, glob = map(checked, ("info", "_open", "cat_file", "glob"))


@pytest.fixture
def guarded(memory):
    fsspec.register_implementation("guarded", GuardedStore, clobber=True)
    for name, data in PARTS.items():
        memory.pipe(f"/d/{name}", data)
    yield "guarded://ada:pass/word@vault:22"
    del _registry["guarded"]


@pytest.mark.parametrize("names", ["d/part-*.csv", "d", "d/"])
def test_user_and_host_stay_in_the_address_and_the_password_out_of_sight(tmp_path, digest, guarded, names):
    made = read(tmp_path / "out", f"{guarded}/{names}", block_bytes=900)
    assert made.digest == digest
    facts = made.manifest["source"]["files"]
    assert [fact["path"] for fact in facts] == [f"guarded://ada:***@vault:22/d/{name}" for name in PARTS]
    assert "pass/word" not in json.dumps(made.manifest)


@pytest.mark.parametrize(
    ("broken", "name", "look"),
    [
        ("info", "part-0.csv", lambda address: find_files([address])),
        ("glob", "part-*.csv", lambda address: find_files([address])),
        ("_open", "part-0.csv", lambda address: find_files([address])),
        ("_open", "r", lambda address: units(source_of(RatingsFile(address, "parquet")), 100)),
        (
            "cat_file",
            "part-0.csv",
            lambda address: list(pieces(Unit(0, 0, 0, 9), source_of(RatingsFile(address)), 9)),
        ),
    ],
)
def test_what_a_store_says_is_passed_on_without_the_password(guarded, monkeypatch, broken, name, look):
    monkeypatch.setattr(GuardedStore, "broken", broken)
    with refused("LostError" if broken == "cat_file" else r"\*\*\*@vault is closed") as caught:
        look(f"{guarded}/d/{name}")
    assert str(caught.value).startswith(f"guarded://ada:***@vault:22/d/{name} cannot be ")
    assert "word" not in str(caught.value)


def test_a_wrong_password_is_not_shown_either(guarded):
    for path in ("d", "d/part-*.csv", "d/part-0.csv"):
        with refused(r"^guarded://ada:\*\*\*@vault:22/d") as caught:
            find_files([f"guarded://ada:secret@vault:22/{path}"])
        assert "secret" not in str(caught.value)


def test_bad_rows_of_a_guarded_file(tmp_path, guarded, memory):
    memory.pipe("/d/part-0.csv", PARTS["part-0.csv"] + b"1,2,bad\n")
    with refused(r"guarded://ada:\*\*\*@vault:22/d/part-0\.csv, line \d+: the rating"):
        read(tmp_path / "out", f"{guarded}/d")
    made = read(tmp_path / "out", f"{guarded}/d", bad_rows="drop")
    assert "pass/word" not in json.dumps(made.manifest)


def test_what_is_left_on_disk_during_an_ingest_holds_no_password(tmp_path):
    (tmp_path / "r.csv").write_text("1,2,3\n4,5,6\n")
    kept = []

    def look(*_):
        kept.extend(path.read_text() for path in tmp_path.rglob(".out.partial-*/new/.work/plan*"))

    ingest_ratings(
        RatingsSource.detect([f"file://{tmp_path}/r.csv"]),
        tmp_path / "out",
        progress=look,
    )
    assert kept
    assert not any(str(tmp_path) in text for text in kept)


# What cannot be reached


def test_an_unknown_scheme():
    with refused(r"s4://b/r\.csv cannot be reached: .*s4.*; check the part before ://"):
        find_files(["s4://b/r.csv"])


@pytest.mark.parametrize(
    ("scheme", "package"), [("s3", "s3fs"), ("s3a", "s3fs"), ("gs", "gcsfs"), ("abfs", "adlfs")]
)
def test_a_store_whose_package_is_missing(monkeypatch, scheme, package):
    monkeypatch.delitem(_registry, scheme, raising=False)
    monkeypatch.setitem(sys.modules, package, None)
    with refused(rf"{scheme}://b/r\.csv cannot be reached: .*; pip install {package}$"):
        find_files([f"{scheme}://b/r.csv"])
