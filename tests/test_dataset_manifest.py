"""Manifests that are none, contradict themselves, or hold more than is known."""

from __future__ import annotations

import hashlib
import json
import re

import pytest
from dataset_copies import copy_fixture, made_fixture  # noqa: F401 - fixtures

from toolkit import RatingsDataset
from toolkit.errors import DatasetError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no manifest.json; make one with `walslab ingest"),
        ("{", "not valid JSON"),
        ("[" * 100_000, "not valid JSON"),
        ("[]", "states None None"),
        ('{"format": "walslab-dataset", "format_version": 2}', "version 1, but states walslab-dataset 2"),
        ('{"format": "walslab-dataset", "format_version": 1}', "lacks digest, counts, split, source, files"),
    ],
)
def test_what_is_no_dataset(tmp_path, text, message):
    if text is not None:
        (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(DatasetError, match=re.escape(message)):
        RatingsDataset.open(tmp_path)


def key_of(manifest, key):
    """Return the innermost container and the last step of a key such as files[2].path."""
    *outer, last = [int(step) if step.isdigit() else step for step in re.findall(r"\w+", key)]
    for step in outer:
        manifest = manifest[step]
    return manifest, last


# Absent: the key is taken out.
ABSENT = object()


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        *(
            ("files[2].path", path, "must have a path inside the dataset as files[2].path, but has")
            for path in ("../x.npz", "/etc/passwd", "train/../../x", "a//b", "./a", "C:x", "a\\b", "a\0b")
        ),
        *(
            ("files[2].path", path, "must have a path inside the dataset as files[2].path, but has")
            for path in ("", "train/", "a\nb", "a\x1b[31mb", None, 7, ["a"], ABSENT)
        ),
        ("files[2].bytes", ABSENT, "must have a whole number as files[2].bytes, but has None"),
        ("files[2].bytes", -1, "must have a whole number as files[2].bytes, but has -1"),
        ("files[2].sha256", ABSENT, "must have 64 hexadecimal digits as files[2].sha256, but has None"),
        ("files[2].sha256", "0" * 63, "must have 64 hexadecimal digits as files[2].sha256"),
        ("files[2].nnz", ABSENT, "must have a whole number as files[2].nnz, but has None"),
        ("files[2].nnz", "9", "must have a whole number as files[2].nnz, but has '9'"),
        ("files[2].nnz", True, "must have a whole number as files[2].nnz, but has True"),
        ("files[2].nnz", 2**64, "must have a whole number as files[2].nnz, but has 18446744073709551616"),
        ("files[2].start", 0.0, "must have a whole number as files[2].start, but has 0.0"),
        ("files[2].stop", None, "must have a whole number as files[2].stop"),
        ("files[0].rows", 39, "must list users.parquet with 40 rows in files, but has 39 (counts.users)"),
        ("files[0].rows", ABSENT, "must have a whole number as files[0].rows, but has None"),
        ("files[0]", ABSENT, "must list users.parquet with 40 rows in files, but has None"),
        ("files[2]", "x", "must have an object as files[2], but has 'x'"),
        ("files[2]", ABSENT, "must list shards that join, but train/rows-00001.npz has start"),
        ("files[2].start", 1, "must list shards that join, but train/rows-00000.npz has start 1 and stop"),
        ("files[2].stop", 0, "must list shards that join, but train/rows-00000.npz has start 0 and stop 0"),
        ("files[2].nnz", 1, "ratings (counts.train) in files, but has"),
        ("files[-1]", ABSENT, "must list test/rows shards of 40 rows (counts.users)"),
        (
            "files[2].path",
            "train/rows-00001.npz",
            "must list each file once in files, but has train/rows-00001",
        ),
        ("files", {}, "must have a list as files, but has {}"),
        ("files", [], "must list users.parquet with 40 rows"),
        ("counts", [], "must have an object as counts, but has []"),
        ("counts.train", ABSENT, "must have a whole number from 0 as counts.train, but has None"),
        ("counts.train", 5, "and 5 ratings (counts.train) in files"),
        ("counts.users", 0, "must have a whole number from 1 as counts.users, but has 0"),
        ("counts.items", 2**31, "must have a whole number from 1 as counts.items, but has 2147483648"),
        ("counts.items", 31, "must list items.parquet with 31 rows in files, but has 30 (counts.items)"),
        ("digest", 5, "must have text as digest, but has 5"),
        ("split", "random", "must have an object as split, but has 'random'"),
        ("source", None, "must have an object as source, but has None"),
    ],
)
def test_a_manifest_that_contradicts_itself(copy, key, value, message):
    manifest = json.loads((copy / "manifest.json").read_text())
    inner, last = key_of(manifest, key.replace("[-1]", f"[{len(manifest['files']) - 1}]"))
    if value is ABSENT:
        del inner[last]
    else:
        inner[last] = value
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match=r"manifest\.json .*" + re.escape(message)) as caught:
        RatingsDataset.open(copy)
    assert "ingest the ratings again" in str(caught.value)
    assert str(caught.value).isprintable()


def test_mistakes_of_a_manifest_are_told_together(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    for entry in manifest["files"]:
        del entry["bytes"]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    more = len(manifest["files"]) - 5
    with pytest.raises(
        DatasetError, match=rf"files\[0\]\.bytes.*files\[4\]\.bytes.*and {more} more mistakes"
    ):
        RatingsDataset.open(copy)


def test_a_manifest_may_hold_more(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest |= {"rejections": {"policy": "drop"}, "split": {"kind": "per-user-last", "test": 1}}
    (copy / "notes.txt").write_text("x")
    manifest["files"].append({"path": "notes.txt", "bytes": 1, "sha256": hashlib.sha256(b"x").hexdigest()})
    for entry in manifest["files"]:
        entry.pop("content_sha256", None)
    (copy / "manifest.json").write_text(json.dumps(manifest))
    assert RatingsDataset.open(copy, verify=True).train.nnz == manifest["counts"]["train"]
