"""Where ratings files lie: patterns, folders, archives, stores and servers; the digest is the same."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import io
import json
import lzma
import os
import re
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from fsspec.implementations.memory import MemoryFileSystem
from fsspec.registry import _registry
from hypothesis import given
from hypothesis import strategies as st

from toolkit.commands.ingest import ingest
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.ingest.blocks import Unit, count_lines, cut_lines, pieces, units
from toolkit.ingest.files import RatingsFile, find_files
from toolkit.ingest.places import lines_before

ROWS = [(u, i, (u * i) % 5 + 0.5) for u in range(1, 31) for i in range(u % 3, 40, 3)]


def text_of(rows):
    return ("userId,movieId,rating\n" + "".join(f"{u},{i},{r}\n" for u, i, r in rows)).encode()


def zip_of(members):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return packed.getvalue()


def parquet_of(rows):
    packed = io.BytesIO()
    columns = zip(("userId", "movieId", "rating"), map(list, zip(*rows, strict=True)), strict=True)
    pq.write_table(pa.table(dict(columns)), packed, row_group_size=99)
    return packed.getvalue()


TEXT = text_of(ROWS)
PARTS = {f"part-{k}.csv": text_of(ROWS[k::3]) for k in range(3)}
PACKED = {
    "plain": TEXT,
    "gzip": gzip.compress(TEXT),
    "bzip2": bz2.compress(TEXT),
    "xz": lzma.compress(TEXT),
    "zip": zip_of({"scores.csv": TEXT}),
    "parquet": parquet_of(ROWS),
}


def read(out, *paths, detect=None, split=None, **options):
    source = RatingsSource.detect(paths, **(detect or {}))
    rule = split or SplitRule(valid=0.1, test=0.1)
    return ingest_ratings(source, out, split=rule, overwrite=True, **options)


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    """The digest of all ratings, from one plain file of this machine."""
    root = tmp_path_factory.mktemp("plain")
    (root / "r.csv").write_bytes(TEXT)
    return read(root / "out", root / "r.csv").digest


def source_of(*files):
    return RatingsSource(files=files, delimiter=",", header=False, columns=(0, 1, 2), fields=3)


def refused(text):
    return pytest.raises(RatingsError, match=text)


def put(root, files):
    for name, data in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


@pytest.fixture
def memory():
    MemoryFileSystem.store.clear()
    yield fsspec.filesystem("memory")
    MemoryFileSystem.store.clear()


# On this machine


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The current folder, with one in it such as Spark leaves."""
    seen = ("data/b/part-2.csv", "data/part-0.csv", "data/part-1.csv", "other.csv")
    hidden = ("data/.part-0.csv.crc", "data/_SUCCESS", "data/_tmp/part-9.csv", "data/.git/part-9.csv")
    put(tmp_path, dict.fromkeys(seen + hidden, TEXT))
    monkeypatch.chdir(tmp_path)
    return tmp_path.resolve()


BELOW = ["data/b/part-2.csv", "data/part-0.csv", "data/part-1.csv"]


@pytest.mark.parametrize(
    ("paths", "wanted"),
    [
        (["other.csv"], ["other.csv"]),
        (["other.csv", "data/part-0.csv"], ["other.csv", "data/part-0.csv"]),
        (["data/part-?.csv"], BELOW[1:]),
        (["data/part-[1-9].csv"], BELOW[2:]),
        (["**/part-*.csv"], ["data/_tmp/part-9.csv", *BELOW]),
        (["data"], BELOW),
        (["data/"], BELOW),
        (["./data"], BELOW),
        (["./data//"], BELOW),
        (["."], [*BELOW, "other.csv"]),
        (["data/../data"], BELOW),
        (["d*"], BELOW),
        (["data/b", "other.csv"], [BELOW[0], "other.csv"]),
    ],
)
def test_paths_patterns_and_folders(folder, paths, wanted):
    def names(given):
        files = find_files(given)
        assert all(Path(file.path).is_file() for file in files)
        return [Path(file.path).resolve().relative_to(folder).as_posix() for file in files]

    assert sorted(names(paths)) == sorted(wanted)
    assert sorted(names([str(folder / path) for path in paths])) == sorted(wanted)
    assert names([Path(path) for path in paths]) == names(paths)


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("data/part-7.csv", r"there is no ratings file data/part-7\.csv \(did you mean 'part-[01]\.csv'\?\)"),
        ("data/q-*.csv", r"there is no ratings file data/q-\*\.csv"),
        ("nowhere/part-0.csv", r"there is no ratings file nowhere/part-0\.csv$"),
        ("data/.git/../_tmp/none", "there is no ratings file"),
        ("empty", "the folder empty holds no file"),
        ("hidden", "the folder hidden holds no file"),
        ("pipe", "pipe must be a file, which is read more than once, but is a pipe or a device: write it to"),
    ],
)
def test_files_that_are_not_there(folder, path, text):
    (folder / "empty").mkdir()
    put(folder, {"hidden/_SUCCESS": b""})
    os.mkfifo(folder / "pipe")
    with refused(text):
        find_files([path])


@pytest.mark.parametrize("block_bytes", [300, 1 << 20])
@pytest.mark.parametrize("kind", PACKED)
def test_what_a_file_holds_says_what_it_is_and_not_its_name(tmp_path, digest, kind, block_bytes):
    put(tmp_path, {"ratings.txt": PACKED[kind]})
    made = read(tmp_path / "out", tmp_path / "ratings.txt", block_bytes=block_bytes)
    assert made.digest == digest
    (fact,) = made.manifest["source"]["files"]
    assert fact["bytes"] == len(PACKED[kind])
    assert fact["name"] == "ratings.txt" + ("/scores.csv" if kind == "zip" else "")
    (file,) = find_files([tmp_path / "ratings.txt"])
    assert (file.kind, file.remote) == (kind, False)
    assert file.expanded_size() == {
        "plain": len(TEXT),
        "zip": len(TEXT),
        "parquet": len(PACKED["parquet"]),
    }.get(kind, 4 * len(PACKED[kind]))


def test_files_of_many_kinds_are_one_input(tmp_path, digest):
    pack = [bytes, gzip.compress, lambda data: zip_of({"x": data})]
    put(tmp_path, {f"{k}": pack[k](data) for k, data in enumerate(PARTS.values())})
    put(tmp_path, {"3.csv": PARTS["part-0.csv"].partition(b"\n")[0] + b"\n"})
    made = read(tmp_path / "out", *(tmp_path / name for name in "012"), tmp_path / "3.csv", block_bytes=100)
    assert made.digest == digest


# Zip files


@pytest.mark.parametrize(
    ("members", "chosen"),
    [
        (["scores.csv"], "scores.csv"),
        (["a/b/scores.csv"], "a/b/scores.csv"),
        (["ml/README.txt", "ml/ratings.dat", "ml/movies.dat"], "ml/ratings.dat"),
        (["ml-100k/u.item", "ml-100k/u.data", "ml-100k/u1.base"], "ml-100k/u.data"),
    ],
)
def test_a_zip_stands_for_its_ratings(tmp_path, digest, members, chosen):
    path = tmp_path / "z.zip"
    path.write_bytes(zip_of({name: TEXT if name == chosen else b"x" for name in members} | {"empty/": b""}))
    (file,) = find_files([path])
    assert str(file) == f"{path}/{chosen}"
    assert find_files([f"{path}/{chosen}"]) == (file,)
    assert read(tmp_path / "out", path).digest == digest


@pytest.mark.parametrize(
    ("members", "inside", "text"),
    [
        (["a.csv", "b.csv"], "", r"z\.zip holds a\.csv, b\.csv: say which, as .*z\.zip/MEMBER"),
        (["1/ratings.csv", "2/ratings.csv"], "", r"z\.zip holds 1/ratings\.csv, 2/ratings\.csv: say which"),
        ([f"{k}.csv" for k in range(20)], "", r"holds 0\.csv, .*, 7\.csv: say which"),
        ([], "", r"z\.zip holds nothing: say which"),
        (["a.csv"], "/b.csv", r"z\.zip has no member 'b\.csv' \(did you mean 'a\.csv'\?\)"),
        (["a.csv"], "/sub/deep", r"z\.zip has no member 'sub/deep'$"),
    ],
)
def test_a_member_that_is_not_clear(tmp_path, members, inside, text):
    # A zip of nothing is known as one only where something stands before its end.
    (tmp_path / "z.zip").write_bytes(b"PK\3\4" + zip_of(dict.fromkeys(members, TEXT)))
    with refused(text):
        find_files([f"{tmp_path / 'z.zip'}{inside}"])


def test_members_of_one_zip_as_files_of_their_own(tmp_path, digest):
    (tmp_path / "z.zip").write_bytes(zip_of(PARTS))
    made = read(tmp_path / "out", *(f"{tmp_path}/z.zip/{name}" for name in PARTS))
    assert made.digest == digest
    assert [fact["name"] for fact in made.manifest["source"]["files"]] == [f"z.zip/{name}" for name in PARTS]


def flipped(data, at, by=0xFF):
    return data[:at] + bytes([data[at] ^ by]) + data[at + 1 :]


LONG = TEXT + b"".join(b"%d,%d,1\n" % (u, i) for u in range(100, 400) for i in range(u % 7, 900, 7))
DAMAGED = {
    "zip without an end": (PACKED["zip"][:-30], "as a zip file: .*"),
    "zip with another byte": (flipped(PACKED["zip"], 200), "to its end: .*"),
    # The flags of the file and of the table of contents say that it is encrypted.
    "encrypted zip": (
        flipped(flipped(PACKED["zip"], 6, 1), PACKED["zip"].index(b"PK\1\2") + 8, 1),
        "to its end: .*encrypted",
    ),
    "short gzip": (gzip.compress(LONG)[:-500], "to its end: "),
    "short bzip2": (bz2.compress(LONG)[:-500], "to its end: "),
    "short xz": (lzma.compress(LONG)[:-500], "to its end: "),
    "xz with another byte": (flipped(PACKED["xz"], 100), "to its end: "),
    "short parquet": (PACKED["parquet"][:-50], "as Parquet: "),
}


@pytest.mark.parametrize("store", ["local", "memory"])
@pytest.mark.parametrize("name", DAMAGED)
def test_damaged_files_are_named(tmp_path, memory, name, store):
    data, text = DAMAGED[name]
    put(tmp_path, {"r": data})
    memory.pipe("/r", data)
    where = tmp_path / "r" if store == "local" else "memory://r"
    with refused(rf"{where}.* cannot be read {text}.*; if it was downloaded, download"):
        read(tmp_path / "out", where, block_bytes=10_000)
    assert not (tmp_path / "out").exists()


def test_a_file_that_changes_while_it_is_read(tmp_path, memory):
    put(tmp_path, {"r.csv": TEXT})
    memory.pipe("/r.csv", TEXT)

    def change(stage, *_):
        if stage == "sorting":
            put(tmp_path, {"r.csv": TEXT + b"99,1,1\n"})
            memory.pipe("/r.csv", TEXT)

    for where in (tmp_path / "r.csv", "memory://r.csv"):
        with refused(r"r\.csv: a file was written while it was read"):
            read(tmp_path / "out", where, progress=change)


def test_files_of_a_published_split(tmp_path):
    put(tmp_path, PARTS)
    base, valid, test = (tmp_path / name for name in PARTS)
    given = SplitRule(kind="given")
    made = read(
        tmp_path / "out", base, detect={"split_files": {"valid": [valid], "test": [test]}}, split=given
    )
    assert [made.counts[part] for part in ("train", "valid", "test")] == [len(ROWS[k::3]) for k in range(3)]
    assert [fact["split"] for fact in made.manifest["source"]["files"]] == ["train", "valid", "test"]
    with refused(r"part-0\.csv is given twice, for training and held out"):
        RatingsSource.detect([base, valid], split_files={"test": [base]})
    with pytest.raises(ConfigError, match="--split-file must be valid=FILE or test=FILE, but got train="):
        RatingsSource.detect([base], split_files={"train": [valid]})
    with refused(r"part-0\.csv has no column 'fold': its header has userId, movieId, rating"):
        RatingsSource.detect([base], split_column="fold")
    with refused(r"part-0\.csv has no header to find fold in: give --split-column as positions"):
        RatingsSource.detect([base], header=False, split_column="fold")
    with pytest.raises(ConfigError, match="--ids must be one of auto, integer, text, but got 'uuid'"):
        RatingsSource.detect([base], ids="uuid")


# Blocks

LINES = st.lists(st.text("ab,é\r", max_size=9), max_size=12).map(lambda lines: "\n".join(lines).encode())


@given(data=LINES, block_bytes=st.integers(1, 40), tail=st.integers(1, 9))
def test_blocks_are_all_lines_once_wherever_they_lie(tmp_path_factory, data, block_bytes, tail):
    root = tmp_path_factory.getbasetemp() / "blocks"
    put(root, {"r.csv": data, "r.csv.gz": gzip.compress(data)})
    MemoryFileSystem.store.clear()
    fsspec.filesystem("memory").pipe("/r.csv", data)
    files = (
        RatingsFile(f"{root}/r.csv"),
        RatingsFile(f"{root}/r.csv.gz", "gzip"),
        RatingsFile("memory://r.csv"),
    )
    source = source_of(*files)
    read_of = dict.fromkeys(range(len(files)), b"")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("toolkit.ingest.blocks._TAIL", tail)
        for unit in units(source, block_bytes):
            for piece in pieces(unit, source, block_bytes):
                before = read_of[unit.file]
                assert not before or before.endswith(b"\n") or not piece.data
                if piece.data and b"\r" not in data:
                    assert lines_before(source, unit) + piece.line == 1 + before.count(b"\n")
                read_of[unit.file] += piece.data
    assert set(read_of.values()) == {data}


@given(data=LINES, parts=st.integers(1, 9))
def test_lines_are_counted_and_cut(data, parts):
    cut = cut_lines(data, parts)
    assert b"".join(cut) == data
    assert all(part.endswith(b"\n") for part in cut[:-1])
    # A carriage return ends lines only where nothing else does.
    ends = data.count(b"\n") + (not data.endswith(b"\n"))
    assert count_lines(data) == (ends if b"\n" in data else len(data.splitlines()))


@pytest.mark.parametrize("before", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n \r\n"])
def test_a_mark_and_blank_lines_before_the_header(tmp_path, digest, memory, before):
    put(tmp_path, {"r.csv": before + TEXT})
    memory.pipe("/r.csv", before + TEXT)
    for where in (tmp_path / "r.csv", "memory://r.csv"):
        assert read(tmp_path / "out", where, block_bytes=400).digest == digest
    memory.pipe("/r.csv", before + TEXT + b"1,2\n")
    line = (before + TEXT).count(b"\n") + 1
    with refused(rf"memory://r\.csv, line {line} has 2 field"):
        read(tmp_path / "out", "memory://r.csv", block_bytes=400)


def test_a_character_that_ends_lines_in_unicode_alone_is_part_of_a_field(tmp_path):
    put(tmp_path, {"r.csv": "user,item,rating\n1,a\u2028b,3\n1,c\x85d,4\n2,c\x1cd,4\n".encode()})
    made = read(tmp_path / "out", tmp_path / "r.csv", split=SplitRule(valid=0, test=0))
    assert made.item_ids.tolist() == ["a\u2028b", "c\x1cd", "c\x85d"]


# A store in memory


@pytest.mark.parametrize("kind", PACKED)
def test_a_store_gives_the_same(tmp_path, digest, memory, kind):
    memory.pipe("/bucket/r", PACKED[kind])
    made = read(tmp_path / "out", "memory://bucket/r", block_bytes=100)
    assert made.digest == digest
    (fact,) = made.manifest["source"]["files"]
    name = "r/scores.csv" if kind == "zip" else "r"
    assert fact == {"name": name, "path": "memory://bucket/r", "bytes": len(PACKED[kind]), "etag": ""}


def test_blocks_of_a_store_are_read_as_ranges(tmp_path, digest, memory, monkeypatch):
    asked = []
    whole = MemoryFileSystem.cat_file

    def cat_file(self, path, start=None, end=None, **options):
        asked.append((start, end))
        return whole(self, path, start, end, **options)

    monkeypatch.setattr(MemoryFileSystem, "cat_file", cat_file)
    monkeypatch.setattr("toolkit.ingest.blocks._TAIL", 16)
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
    with pytest.raises(ConfigError, match="--out must be a directory of this machine"):
        read("memory://out", "memory://r.csv.gz")


def test_text_and_parquet_are_not_mixed(memory):
    memory.pipe("/r.csv", TEXT)
    memory.pipe("/r.parquet", PACKED["parquet"])
    with refused(r"memory://r\.csv and memory://r\.parquet must be both text or both"):
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
    made = read(tmp_path / "out", f"{guarded}/{names}", block_bytes=300)
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


# A server of HTTP


class Handler(BaseHTTPRequestHandler):
    """Serves one file, with ranges or without, and with its length or without."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        server, data = self.server, self.server.data
        begin, end = 0, len(data)
        asked = self.headers.get("Range")
        server.asked.append(asked)
        if not self.path.startswith("/r"):
            self.send_error(404)
            return
        if asked and server.ranges:
            first, _, last = asked.removeprefix("bytes=").partition("-")
            begin, end = int(first), min(int(last) + 1 if last else len(data), len(data))
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {begin}-{end - 1}/{len(data)}")
        else:
            self.send_response(200)
        if server.ranges:
            self.send_header("Accept-Ranges", "bytes")
        if server.length:
            self.send_header("Content-Length", str(end - begin))
        else:
            self.send_header("Connection", "close")
            self.close_connection = True
        self.end_headers()
        if self.command != "HEAD":
            with contextlib.suppress(ConnectionError):
                self.wfile.write(data[begin:end])

    do_HEAD = do_GET  # noqa: N815 - the name that the base class looks for

    def log_message(self, *args):
        pass


@pytest.fixture
def server():
    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    http.data, http.asked, http.ranges, http.length = TEXT, [], True, True
    http.address = f"http://127.0.0.1:{http.server_port}/r.csv"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield http
    http.shutdown()
    http.server_close()
    thread.join()


@pytest.mark.parametrize("kind", ["plain", "zip", "parquet"])
def test_a_server_of_http(tmp_path, digest, server, kind):
    server.data = PACKED[kind]
    assert read(tmp_path / "out", server.address, block_bytes=2000).digest == digest
    assert any(asked and asked != "bytes=0-" for asked in server.asked)


def test_a_server_that_sends_no_ranges(tmp_path, digest, server, monkeypatch):
    server.ranges = False
    assert read(tmp_path / "out", server.address).digest == digest
    monkeypatch.setattr("toolkit.ingest.blocks._TAIL", 16)
    with refused(r"r\.csv is on a server that sends no parts of files: download it"):
        read(tmp_path / "out", server.address, block_bytes=2000)
    server.data = PACKED["gzip"]
    assert read(tmp_path / "out", server.address, block_bytes=2000).digest == digest
    server.data = PACKED["zip"]
    with refused(r"r\.csv cannot be read as a zip file: "):
        find_files([server.address])


def test_a_server_that_does_not_know_the_length(tmp_path, server):
    server.ranges = server.length = False
    with refused(r"r\.csv: its server does not say how long it is: download it first"):
        read(tmp_path / "out", server.address)


def test_an_address_that_the_server_does_not_have(server):
    with refused(r"there is no ratings file http://127\.0\.0\.1:\d+/q\.csv"):
        find_files([server.address.replace("/r.", "/q.")])


# An object store


@pytest.mark.integration
def test_files_of_an_object_store(tmp_path, digest, s3):
    s3.pipe({f"bucket/year/{name}": data for name, data in PARTS.items()})
    made = read(tmp_path / "out", "s3://bucket/year/part-*.csv", block_bytes=2000)
    assert made.digest == digest
    facts = made.manifest["source"]["files"]
    names = [f"s3://bucket/year/{name}" for name in PARTS]
    assert [(fact["path"], fact["bytes"], len(fact["etag"])) for fact in facts] == [
        (name, len(data), 32) for name, data in zip(names, PARTS.values(), strict=True)
    ]
    for address in (
        "s3://bucket",
        "s3://bucket/",
        "s3://bucket/year",
        "s3://bucket/y*",
        "s3://bucket/year/*",
    ):
        assert [file.path for file in find_files([address])] == names


@pytest.mark.integration
def test_objects_of_every_kind(tmp_path, digest, s3):
    s3.pipe({f"bucket/{kind}": data for kind, data in PACKED.items()})
    for kind in PACKED:
        assert read(tmp_path / "out", f"s3://bucket/{kind}", block_bytes=4000).digest == digest


@pytest.mark.integration
def test_the_configuration_of_fsspec_may_say_where_the_store_is(
    tmp_path, digest, s3, object_store, monkeypatch
):
    s3.pipe("bucket/r.csv", TEXT)
    for name in ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    said = {"endpoint_url": object_store, "key": "somebody", "secret": "something"}
    monkeypatch.setitem(fsspec.config.conf, "s3", said)
    assert read(tmp_path / "out", "s3://bucket/r.csv").digest == digest


@pytest.mark.integration
@pytest.mark.parametrize("tail", [1, 64])
def test_ranges_of_an_object_end_where_it_ends(s3, monkeypatch, tail):
    # A line that goes over several requests, and a request that would begin where the object ends.
    data = b"1,2,3\n1,3,4\n" + b"1,%s,5\n" % (b"x" * 40) + b"2,3,4\n" + b"2,%s,4" % (b"y" * (16 * tail + 3))
    monkeypatch.setattr("toolkit.ingest.blocks._TAIL", tail)
    s3.pipe("bucket/r.csv", data)
    source = source_of(RatingsFile("s3://bucket/r.csv"))
    for block_bytes in (len(data) // 9, len(data) - tail, len(data)):
        found = [pieces(unit, source, block_bytes) for unit in units(source, block_bytes)]
        assert b"".join(piece.data for some in found for piece in some) == data


@pytest.mark.integration
def test_no_more_of_an_object_is_fetched_than_is_needed(s3, monkeypatch):
    big = TEXT * (1 + (4 << 20) // len(TEXT))
    s3.pipe({f"bucket/{k}.csv": big for k in range(2)})
    fetched = []
    call = type(s3)._call_s3

    async def spy(self, method, *args, **options):
        found = await call(self, method, *args, **options)
        if method == "get_object":
            fetched.append(found["ContentLength"])
        return found

    monkeypatch.setattr(type(s3), "_call_s3", spy)
    RatingsSource.detect(["s3://bucket"])
    assert sum(fetched) < 3 << 20


@pytest.mark.integration
def test_an_object_that_was_written_since_it_was_listed(tmp_path, s3, object_store):
    import boto3

    s3.pipe({f"bucket/d/{name}": data for name, data in PARTS.items()})
    somebody_else = boto3.client("s3", endpoint_url=object_store)

    def change(stage, *_):
        if stage == "sorting":
            somebody_else.put_object(Bucket="bucket", Key="d/part-1.csv", Body=TEXT)

    with refused("a file was written while it was read"):
        read(tmp_path / "out", "s3://bucket/d", progress=change)
    somebody_else.put_object(Bucket="bucket", Key="d/part-3.csv", Body=TEXT)
    assert len(find_files(["s3://bucket/d"])) == 4
    somebody_else.close()


@pytest.mark.integration
def test_what_an_object_store_does_not_have(s3):
    s3.touch("bucket/r.csv")
    for address in ("s3://bucket/none.csv", "s3://bucket/none-*.csv", "s3://nobody/r.csv"):
        with refused(rf"there is no ratings file {re.escape(address)}$"):
            find_files([address])
    with refused(r"s3://bucket/r\.csv is empty"):
        RatingsSource.detect(["s3://bucket/r.csv"])
    text = r"^s3://me:\*\*\*@bucket/r-\*\.csv cannot be listed: .*me:\*\*\*@bucket"
    with refused(text) as caught:
        find_files(["s3://me:hidden@bucket/r-*.csv"])
    assert "hidden" not in str(caught.value)


def test_a_zip_made_on_a_mac_holds_one_file(tmp_path):
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scores.csv", "1,2,3\n4,5,6\n")
        archive.writestr("__MACOSX/._scores.csv", b"\0\5\x16\7")
    assert RatingsSource.detect([path]).paths == (f"{path}/scores.csv",)


def test_options_for_text_are_refused_for_parquet(tmp_path):
    pq.write_table(pa.table({"user": [1], "item": [2], "rating": [3.0]}), tmp_path / "r.parquet")
    for option in ({"delimiter": ","}, {"header": False}):
        with pytest.raises(ConfigError, match=r"is Parquet: --delimiter and --header are for text"):
            RatingsSource.detect([tmp_path / "r.parquet"], **option)


def test_a_dataset_is_not_made_in_a_store(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "r.csv").write_text("1,2,3\n4,5,6\n")
    done = CliRunner().invoke(ingest, ["r.csv", "--out", "s3://bucket/out"])
    assert isinstance(done.exception, ConfigError)
    assert "must be a directory of this machine" in str(done.exception)
    assert [path.name for path in tmp_path.iterdir()] == ["r.csv"]


def test_what_is_left_on_disk_during_an_ingest_holds_no_password(tmp_path):
    (tmp_path / "r.csv").write_text("1,2,3\n4,5,6\n")
    kept = []

    def look(*_):
        kept.extend(path.read_text() for path in tmp_path.rglob(".out.partial-*/.work/plan*"))

    ingest_ratings(
        RatingsSource.detect([f"file://{tmp_path}/r.csv"]),
        tmp_path / "out",
        progress=look,
    )
    assert kept
    assert not any(str(tmp_path) in text for text in kept)
