"""The dataset directory as its readers see it: `RatingsDataset`, and SciPy and pandas alone."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp

from toolkit.dataset import RatingsDataset
from toolkit.errors import DatasetError
from toolkit.ingest import ingest_ratings
from toolkit.source import RatingsSource


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of several shards with ratings of zero, and its ratings as a dense array, NaN where none."""
    root = tmp_path_factory.mktemp("dataset")
    rng = np.random.default_rng(0)
    dense = np.where(rng.random((40, 30)) < 0.4, rng.integers(0, 6, (40, 30)), np.nan)
    dense[:, 0], dense[0] = 0, 1
    rows = [
        f"{u + 100},item {i:02},{dense[u, i]}" for u, i in zip(*np.nonzero(~np.isnan(dense)), strict=True)
    ]
    (root / "r.csv").write_text("user,item,rating\n" + "\n".join(rows))
    source = RatingsSource.detect([root / "r.csv"])
    ingest_ratings(source, root / "data", valid=0.2, test=0.1, seed=5, shard_ratings=90)
    return root / "data", dense


@pytest.fixture
def copy(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "copy")


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
    assert data.item_ids.dtype.kind == "U"
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


def test_the_documented_example_runs(made, repo_root, tmp_path):
    (tmp_path / "dataset").symlink_to(made[0])
    text = (repo_root / "docs" / "dataset-format.md").read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, check=True
    )
    assert "(40, 30)" in done.stdout


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


def test_a_changed_file_is_found(copy):
    file = copy / "train" / "rows-00001.npz"
    raw = bytearray(file.read_bytes())
    raw[-400] ^= 0xFF
    file.write_bytes(raw)
    with pytest.raises(DatasetError, match=r"rows-00001\.npz was changed"):
        RatingsDataset.open(copy, verify=True)
    with pytest.raises(DatasetError, match=r"a shard of .* cannot be read"):
        _ = RatingsDataset.open(copy).train


def test_a_file_that_is_short_or_missing_is_found(copy):
    file = copy / "valid" / "rows-00000.npz"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(DatasetError, match=r"rows-00000\.npz has \d+ bytes instead of"):
        RatingsDataset.open(copy)
    file.unlink()
    with pytest.raises(DatasetError, match=r"rows-00000\.npz is missing"):
        RatingsDataset.open(copy)


def test_a_broken_id_table_is_found(copy):
    file = copy / "users.parquet"
    file.write_bytes(b"\0" * file.stat().st_size)
    with pytest.raises(DatasetError, match=r"users\.parquet cannot be read"):
        _ = RatingsDataset.open(copy).user_ids


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "has no manifest.json; make one with `walslab ingest"),
        ("{", "not valid JSON"),
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


def test_opening_is_light():
    program = (
        "import sys, toolkit.dataset; print([m for m in ('pandas', 'dask', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
