"""Ratings that tests of engines ingest, and what threads make of them."""

from __future__ import annotations

import numpy as np
import pytest

from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings

N_RATINGS = 1500
SMALL = {"block_bytes": 1000, "shard_ratings": 300, "split": SplitRule(kind="temporal")}


@pytest.fixture(scope="module", name="ratings")
def ratings_fixture(tmp_path_factory):
    """A file of ratings with times, in a folder of its own."""
    rng = np.random.default_rng(0)
    pairs = rng.choice(60 * 50, N_RATINGS, replace=False)
    columns = zip(
        *divmod(pairs, 50), rng.integers(1, 11, N_RATINGS), rng.integers(0, 900, N_RATINGS), strict=True
    )
    path = tmp_path_factory.mktemp("ratings") / "r.csv"
    path.write_text("".join(f"{u * 1000 + 3},{i},{r / 2},{t}\n" for u, i, r, t in columns))
    return path


@pytest.fixture(scope="module", name="wanted")
def wanted_fixture(ratings, tmp_path_factory):
    """What threads make of it."""
    source = RatingsSource.detect([ratings], timestamp=True)
    return ingest_ratings(source, tmp_path_factory.mktemp("threads") / "out", **SMALL)
