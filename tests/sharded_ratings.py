"""A dataset of many small shards, and trainings of it whose ratings lie in different places."""

from __future__ import annotations

import numpy as np

from toolkit import RatingsDataset, RatingsSource, ingest_ratings
from toolkit.config import WALSConfig
from toolkit.sharded import OpenSource, ShardedRatings, Source, StreamRunner

BASE = WALSConfig(factors=9, iterations=3)
# Each kind of thing that rows are solved with.
CONFIGS = {
    "default": BASE,
    "plain": BASE.replace(pattern_weight=0.0, bias="none"),
    "weights": BASE.replace(unobserved_weight=0.1, weight_exponent=0.4),
    "momentum": BASE.replace(momentum=0.3, pattern_weight=1.0),
}


def write_dataset(folder, seed=0, *, n_users=160, n_items=70, nnz=2400, shard_ratings=500):
    """Ingest made-up ratings of a few popular items into shards of a few hundred ratings."""
    rng = np.random.default_rng(seed)
    users, items = rng.integers(0, n_users, nnz), (rng.random(nnz) ** 2 * n_items).astype(int)
    pairs = np.unique(np.stack([users, items]), axis=1)
    stars = rng.integers(1, 11, pairs.shape[1]) / 2
    lines = (f"{u},{i},{r}\n" for u, i, r in zip(*pairs, stars, strict=True))
    (folder / "ratings.csv").write_text("user,item,rating\n" + "".join(lines))
    source = RatingsSource.detect([folder / "ratings.csv"])
    return ingest_ratings(source, folder / "dataset", shard_ratings=shard_ratings)


def in_shards(dataset, *, backend, dtype="float32", threads=2, runner=None):
    """Return the training ratings of a dataset, left in its shards."""
    source = Source(dataset.where, dataset.digest, backend.name, dtype)
    return ShardedRatings(
        OpenSource(RatingsDataset.open(dataset.where), backend, dtype),
        StreamRunner(source, threads) if runner is None else runner(source),
    )


def arrays_of(factors):
    return [np.asarray(array) for array in (*factors.users, *factors.items)]


def assert_same_factors(first, second, exact=True):
    for a, b in zip(arrays_of(first), arrays_of(second), strict=True):
        if exact:
            np.testing.assert_array_equal(a, b)
        else:
            np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4)
