"""Ratings files of this machine: patterns, folders, packed files, damaged ones; the digest is the same."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ratings_files import PACKED, PARTS, ROWS, TEXT, digest_of_all, put, read, refused, zip_of

from toolkit.errors import ConfigError
from toolkit.ingest import RatingsSource, SplitRule
from toolkit.ingest.reading.file_listing import find_files


@pytest.fixture(scope="module")
def digest(tmp_path_factory):
    return digest_of_all(tmp_path_factory.mktemp("plain"))


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


def test_a_zip_made_on_a_mac_holds_one_file(tmp_path):
    path = tmp_path / "mine.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("scores.csv", "1,2,3\n4,5,6\n")
        archive.writestr("__MACOSX/._scores.csv", b"\0\5\x16\7")
    assert RatingsSource.detect([path]).paths == (f"{path}/scores.csv",)


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
        with refused(r"r\.csv: a file was written"):
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


def test_options_for_text_are_refused_for_parquet(tmp_path):
    pq.write_table(pa.table({"user": [1], "item": [2], "rating": [3.0]}), tmp_path / "r.parquet")
    for option in (
        {"delimiter": ","},
        {"header": False},
        {"quotes": False},
        {"decimal": ","},
        {"wide": True},
    ):
        with pytest.raises(ConfigError, match=r"is Parquet: --delimiter, .* are for text"):
            RatingsSource.detect([tmp_path / "r.parquet"], **option)
