"""What tests of an ingest that goes wrong have in common: ratings, and what comes of them undisturbed."""

from __future__ import annotations

import json

import numpy as np
import pytest

from toolkit.ingest import RatingsSource, ingest_ratings

# Some forty tasks.
SMALL = {"block_bytes": 4000, "shard_ratings": 800}
STAGES = ("reading", "numbering", "sorting", "writing by user", "writing by item")


def contents(path):
    """Return all files, and the manifest without its date."""
    found = {p.relative_to(path).as_posix(): p.read_bytes() for p in path.rglob("*") if p.is_file()}
    manifest = json.loads(found.pop("manifest.json"))
    del manifest["created"]
    return found, manifest


def write_ratings(path, n=4000, seed=0):
    rng = np.random.default_rng(seed)
    rows = zip(rng.integers(0, 300, n), rng.integers(0, 200, n), rng.integers(1, 6, n), strict=True)
    path.write_text("".join(f"{u},{i},{r}\n" for u, i, r in rows))
    return path


@pytest.fixture(scope="module", name="ratings")
def ratings_fixture(tmp_path_factory):
    """A file of ratings, in a folder of its own."""
    return write_ratings(tmp_path_factory.mktemp("ratings") / "r.csv")


@pytest.fixture(scope="module", name="undisturbed")
def undisturbed_fixture(ratings, tmp_path_factory):
    """What comes of it when nothing happens."""
    return ingest_ratings(RatingsSource.detect([ratings]), tmp_path_factory.mktemp("good") / "out", **SMALL)
