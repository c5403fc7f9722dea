"""The dataset directory as its readers see it: `RatingsDataset`, and SciPy and pandas alone."""

from __future__ import annotations

import doctest
import hashlib
import json
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp
from dataset_copies import copy_fixture, made_fixture  # noqa: F401 - fixtures
from memory_peaks import peak_of

import toolkit.datasets.dataset
from toolkit import RatingsDataset
from toolkit.errors import ConfigError, DatasetError


def dense_of(matrix):
    matrix = sp.coo_matrix(matrix)
    dense = np.full(matrix.shape, np.nan)
    dense[matrix.row, matrix.col] = matrix.data
    return dense


def test_the_parts_make_up_the_ratings(made):
    path, dense = made
    data = RatingsDataset.open(path, verify=True)
    assert len(data.shards("train/rows")) > 2
    parts = np.stack([dense_of(m) for m in (data.train, data.valid, data.test)])
    assert ((~np.isnan(parts)).sum(axis=0) <= 1).all()
    np.testing.assert_array_equal(
        np.where(np.isnan(parts).all(axis=0), np.nan, np.nansum(parts, axis=0)), dense
    )
    np.testing.assert_array_equal(dense_of(data.train_by_item).T, parts[0])
    both = data.train_and_valid()
    assert both.nnz == data.counts["train"] + data.counts["valid"]  # zeros among them
    np.testing.assert_array_equal(dense_of(both), np.where(np.isnan(parts[0]), parts[1], parts[0]))
    for matrix in (data.train, data.train_by_item, both):
        assert (matrix.dtype, matrix.indices.dtype, matrix.has_sorted_indices) == (np.float32, np.int32, True)
    assert data.user_ids.tolist() == list(range(100, 140))
    assert data.item_ids.tolist() == [f"item {i:02}" for i in range(30)]
    assert data.user_ids.dtype == np.int64
    assert all(isinstance(one, str) for one in data.item_ids.tolist())
    assert data.train is data.train


def test_reading_it_with_scipy_and_pandas_alone(made):
    path, _ = made
    data = RatingsDataset.open(path)
    manifest = json.loads((path / "manifest.json").read_text())
    for kind, matrix in (("train", data.train), ("valid", data.valid), ("test", data.test)):
        shards = [sp.load_npz(file) for file in sorted(path.glob(f"{kind}/rows-*.npz"))]
        assert (sp.vstack(shards) != matrix).nnz == 0
        assert sum(shard.nnz for shard in shards) == manifest["counts"][kind]
    users, items = (pd.read_parquet(path / f"{name}.parquet") for name in ("users", "items"))
    assert users.id.tolist() == data.user_ids.tolist()
    assert users.n_train.tolist() == np.diff(data.train.indptr).tolist()
    assert items.n_train.tolist() == np.diff(data.train_by_item.indptr).tolist()


def test_the_manifest_tells_the_truth(made):
    path, _ = made
    manifest = json.loads((path / "manifest.json").read_text())
    listed = {entry["path"]: entry for entry in manifest["files"]}
    there = {p.relative_to(path).as_posix() for p in path.rglob("*") if p.is_file()}
    assert there == {*listed, "manifest.json"}
    for name, entry in listed.items():
        raw = (path / name).read_bytes()
        assert (len(raw), hashlib.sha256(raw).hexdigest()) == (entry["bytes"], entry["sha256"])
    lines = sorted(f"{n} {e['content_sha256']}\n" for n, e in listed.items())
    assert manifest["digest"] == hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
    assert str(path) not in json.dumps(manifest)


def read_all(path):
    data = RatingsDataset.open(path)
    for name in ("train", "train_by_item", "valid", "test", "user_ids", "item_ids"):
        getattr(data, name)


@pytest.mark.parametrize("name", ["train/rows-00001.npz", "train/cols-00000.npz", "valid/rows-00000.npz"])
@pytest.mark.parametrize("place", [0, 300, -400, -1])
def test_a_changed_shard_is_found(copy, name, place):
    raw = bytearray((copy / name).read_bytes())
    raw[place] ^= 0xFF
    (copy / name).write_bytes(raw)
    message = (
        rf"{re.escape(name)} was changed since it was written: its SHA-256 must be .* ingest the ratings"
    )
    with pytest.raises(DatasetError, match=message):
        RatingsDataset.open(copy, verify=True)
    with pytest.raises(DatasetError, match=message):
        read_all(copy)


@pytest.mark.parametrize("name", ["users", "items"])
def test_a_changed_id_table_is_found(copy, name):
    raw = bytearray((copy / f"{name}.parquet").read_bytes())
    raw[20] ^= 0x01
    (copy / f"{name}.parquet").write_bytes(raw)
    with pytest.raises(DatasetError, match=rf"{name}\.parquet was changed"):
        read_all(copy)
    with pytest.raises(DatasetError, match=rf"{name}\.parquet was changed"):
        RatingsDataset.open(copy).training_counts(name)


def seal(path, name):
    """Make size and checksum in the manifest those of the file as it is now."""
    manifest = json.loads((path / "manifest.json").read_text())
    raw = (path / name).read_bytes()
    (entry,) = (entry for entry in manifest["files"] if entry["path"] == name)
    entry |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
    (path / "manifest.json").write_text(json.dumps(manifest))


def two_in_a_row(arrays):
    row = int(np.argmax(np.diff(arrays["indptr"]) > 1))
    return slice(arrays["indptr"][row], arrays["indptr"][row] + 2)


def same_column_twice(arrays):
    arrays["indices"][two_in_a_row(arrays)] = 3


def columns_out_of_order(arrays):
    arrays["indices"][two_in_a_row(arrays)] = [5, 4]


def indptr_that_falls(arrays):
    arrays["indptr"][1] = arrays["indptr"][-1] + 1


SHARD = "train/rows-00001.npz"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a.pop("indices"), "cannot be read as a shard: .*indices"),
        (lambda a: a.update(format=b"csc"), r"must be CSR of shape \(\d+, 30\), but is b'csc'"),
        (lambda a: a.update(shape=[1, 30]), r"must be CSR of shape .* but is b'csr' of \[1, 30\]"),
        (lambda a: a.update(shape=a["shape"] + [0, 1]), r"but is b'csr' of \[\d+, 31\]"),
        (lambda a: a.update(data=a["data"][1:]), r"must hold \d+ float32 ratings of \d+ rows, but has"),
        (lambda a: a.update(data=a["data"].astype("f8")), "but has arrays of .*float64"),
        (lambda a: a.update(indptr=a["indptr"].astype("f8")), "but has arrays of float64"),
        (lambda a: a.update(indptr=a["indptr"][:-1]), "but has arrays of"),
        (lambda a: a.update(data=a["data"].astype(object)), "cannot be read as a shard: .*allow_pickle"),
        (lambda a: a.update(data=np.zeros(10**6, "f4")), "unpacked it is larger than"),
        (indptr_that_falls, "must have an indptr that rises from 0 to"),
        (lambda a: a["indptr"].__setitem__(0, 1), "must have an indptr that rises from 0 to"),
        (lambda a: a["indices"].__setitem__(-1, 30), "must have column numbers of 0 to 29, but has .* to 30"),
        (lambda a: a["indices"].__setitem__(0, -1), "must have column numbers of 0 to 29, but has -1 to"),
        (same_column_twice, "must have column numbers that rise within each row"),
        (columns_out_of_order, "must have column numbers that rise within each row"),
        (lambda a: a["data"].__setitem__(3, np.nan), "must have finite ratings"),
    ],
)
def test_a_shard_with_a_right_checksum_and_wrong_content(copy, change, message):
    with np.load(copy / SHARD) as archive:
        arrays = dict(archive)
    change(arrays)
    with (copy / SHARD).open("wb") as file:
        np.savez_compressed(file, **arrays)
    seal(copy, SHARD)
    data = RatingsDataset.open(copy, verify=True)
    with pytest.raises(DatasetError, match=rf"{re.escape(SHARD)} .*{message}"):
        _ = data.train


def test_bytes_that_are_no_shard(copy):
    intact = (copy / SHARD).read_bytes()
    rng = np.random.default_rng(0)
    changed = [b"", b"PK", intact[:-30], (copy / "users.parquet").read_bytes()]
    for _ in range(60):
        raw = bytearray(intact)
        for place in rng.integers(0, len(raw), 3):
            raw[place] = rng.integers(0, 256)
        changed.append(bytes(raw))
    with (copy / "array.npy").open("wb") as file:
        np.save(file, np.arange(3))
    changed.append((copy / "array.npy").read_bytes())
    refused = 0
    for raw in changed:
        (copy / SHARD).write_bytes(raw)
        seal(copy, SHARD)
        try:
            _ = RatingsDataset.open(copy).train  # three bytes in unused parts of a zip file do no harm
        except DatasetError as error:
            assert SHARD in str(error)  # noqa: PT017
            refused += 1
    assert refused > 20


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"id": range(39), "n_train": range(39)}, "must have 40 rows without gaps, but has 39, of which 0"),
        ({"id": [None, *range(39)]}, "of which 1 lack id"),
        ({"id": [0.5] * 40}, "must have whole numbers or text as id, but has double"),
        ({"name": range(40)}, "cannot be read: .*id"),
    ],
)
def test_an_id_table_with_a_right_checksum_and_wrong_content(copy, table, message):
    pq.write_table(pa.table({name: list(values) for name, values in table.items()}), copy / "users.parquet")
    seal(copy, "users.parquet")
    with pytest.raises(DatasetError, match=rf"users\.parquet .*{message}"):
        _ = RatingsDataset.open(copy).user_ids


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ([-1] * 40, "must count the .* training ratings in n_train, but they are from -1"),
        ([1] * 40, "from 1 and add up to 40"),
        (["x"] * 40, "must have whole numbers as n_train, but has string"),
    ],
)
def test_training_counts_that_cannot_be(copy, counts, message):
    pq.write_table(pa.table({"id": range(40), "n_train": counts}), copy / "users.parquet")
    seal(copy, "users.parquet")
    with pytest.raises(DatasetError, match=rf"users\.parquet .*{message}"):
        RatingsDataset.open(copy).training_counts("users")


def test_training_counts_are_those_of_the_shards(made):
    data = RatingsDataset.open(made[0])
    assert data.training_counts("users").tolist() == np.diff(data.train.indptr).tolist()
    assert data.training_counts("items").tolist() == np.diff(data.train_by_item.indptr).tolist()
    assert data.training_counts("users").dtype == np.int64


def test_the_matrices_are_those_that_scipy_stacks(made):
    path, _ = made
    data = RatingsDataset.open(path)
    for kind, matrix in (("train/rows", data.train), ("train/cols", data.train_by_item)):
        stacked = sp.vstack([sp.load_npz(path / entry["path"]) for entry in data.shards(kind)], format="csr")
        assert isinstance(matrix, sp.csr_matrix)
        for name in ("indptr", "indices", "data"):
            mine, theirs = getattr(matrix, name), getattr(stacked, name)
            assert mine.dtype == theirs.dtype
            np.testing.assert_array_equal(mine, theirs)


def test_reading_holds_the_ratings_once(tmp_path):
    rng = np.random.default_rng(0)
    matrix = sp.random(4000, 500, density=0.2, format="csr", dtype=np.float32, random_state=rng)
    matrix.sort_indices()
    (tmp_path / "train").mkdir()
    data, starts = RatingsDataset(tmp_path, {"files": []}), range(0, 4000, 200)
    for number, start in enumerate(starts):
        part, path = matrix[start : start + 200], f"train/rows-{number:05d}.npz"
        sp.save_npz(tmp_path / path, part, compressed=False)
        entry = {"path": path, "bytes": 0, "sha256": "", "nnz": part.nnz, "start": start, "stop": start + 200}
        raw = (tmp_path / path).read_bytes()
        entry |= {"bytes": len(raw), "sha256": hashlib.sha256(raw).hexdigest()}
        data.manifest["files"].append(entry)
    data.manifest["counts"] = {"users": 4000, "items": 500, "train": matrix.nnz}

    def read():
        vars(data).pop("train", None)  # is kept
        return data.train

    peak, train = peak_of(read), data.train
    assert (train != matrix).nnz == 0
    assert peak < 1.3 * (train.data.nbytes + train.indices.nbytes + train.indptr.nbytes)


def test_a_file_that_is_short_or_missing_is_found(copy):
    file = copy / "valid" / "rows-00000.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"rows-00000\.npz has \d+ bytes instead of"):
        RatingsDataset.open(copy)
    file.unlink()
    with pytest.raises(DatasetError, match=r"rows-00000\.npz is missing"):
        RatingsDataset.open(copy)


def test_more_ratings_than_memory(copy):
    manifest = json.loads((copy / "manifest.json").read_text())
    manifest["counts"]["valid"] = 2**62
    for entry in manifest["files"]:
        if entry["path"] == "valid/rows-00000.npz":
            entry["nnz"] += 2**62 - sum(e["nnz"] for e in manifest["files"] if e["path"].startswith("valid/"))
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(DatasetError, match="valid/rows states 4611686018427387904 ratings, which do not fit"):
        _ = RatingsDataset.open(copy).valid


def test_opening_is_light_and_ids_need_no_pandas(made):
    program = """
import sys, toolkit.datasets.dataset
print([m for m in ('pandas', 'dask', 'pyarrow') if m in sys.modules])
data = toolkit.datasets.dataset.RatingsDataset.open(sys.argv[1])
assert len(data.user_ids) == len(data.training_counts('users'))
print([m for m in ('pandas', 'dask') if m in sys.modules])
"""
    command = [sys.executable, "-c", program, str(made[0])]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n[]\n"


def test_the_example_of_the_class_runs():
    results = doctest.testmod(toolkit.datasets.dataset)
    assert (results.failed, results.attempted > 0) == (0, True)


@pytest.mark.parametrize("path", [None, 5, b"data", ["data"], object(), 1.5])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(DatasetError, match="a dataset must be given by its path or address, but got"):
        RatingsDataset.open(path)


@pytest.mark.parametrize(
    "path", ["", ".", "nothing", "a\0b", "x" * 300, "loop", "\ud800", "a file", "ftpx://a/b"]
)
def test_a_path_without_a_dataset_is_refused(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "a file").touch()
    with pytest.raises(DatasetError):
        RatingsDataset.open(path)


@pytest.mark.parametrize("kind", ["train", "train/row", "rows", "", None, 7, ["train/rows"]])
def test_kinds_that_there_are_not_are_refused(made, kind):
    data = RatingsDataset.open(made[0])
    with pytest.raises(ConfigError, match=r"kind must be one of train/rows, train/cols, .*, but got"):
        data.shards(kind)
    with pytest.raises(ConfigError, match="kind must be one of train/rows"):
        next(data.read_shards(kind))
    with pytest.raises(ConfigError, match="kind must be one of users, items, but got"):
        data.training_counts(kind)
