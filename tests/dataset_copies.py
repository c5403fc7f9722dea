"""A dataset of several shards, and a copy of it for each test that damages one."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from toolkit import RatingsSource, ingest_ratings
from toolkit.ingest import SplitRule


@pytest.fixture(scope="module", name="made")
def made_fixture(tmp_path_factory):
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
    ingest_ratings(source, root / "data", split=SplitRule(valid=0.2, seed=5), shard_ratings=90)
    return root / "data", dense


@pytest.fixture(name="copy")
def copy_fixture(made, tmp_path):
    return shutil.copytree(made[0], tmp_path / "copy")
