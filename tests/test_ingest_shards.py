"""How large the shards of a dataset are, and what of the lists of pieces a task gets."""

from __future__ import annotations

import pickle

import pytest
from ingesting import walslab
from ratings_files import ROWS, text_of

from toolkit import RatingsDataset, RatingsSource, ingest_ratings
from toolkit.engines import Threads
from toolkit.errors import ConfigError
from toolkit.ingest import shards


@pytest.fixture
def ratings(tmp_path):
    path = tmp_path / "r.csv"
    path.write_bytes(text_of(ROWS))
    return path


def ingested(ratings, name, **options):
    return ingest_ratings(RatingsSource.detect([ratings]), ratings.with_name(name), **options)


@pytest.mark.parametrize(
    ("n", "size"), [(1, 1), (10**8, 1), (10**8 + 1, 2), (4 * 10**8, 2), (10**9, 4), (10**10, 16)]
)
def test_shards_grow_with_the_square_root_from_100_million_ratings_on(n, size):
    assert shards.automatic_shard_ratings(n) == size << 19


@pytest.mark.parametrize("n", [10**8, 10**9, 10**10, 10**11])
def test_pieces_grow_with_the_ratings(n):
    assert (n / shards.automatic_shard_ratings(n)) ** 2 <= n / 2500


def test_larger_shards_are_chosen_when_all_ratings_are_counted(ratings, monkeypatch):
    monkeypatch.setattr(shards, "SHARD_RATINGS", 40)
    monkeypatch.setattr(shards, "GROWS_ABOVE", len(ROWS) // 5)
    large = ingested(ratings, "large")
    assert large.digest == ingested(ratings, "asked", shard_ratings=160).digest
    assert large.digest != ingested(ratings, "other", shard_ratings=40).digest
    # Memory, threads and blocks do not decide.
    assert large.digest == ingested(ratings, "blocks", block_bytes=300, engine=Threads(1)).digest


def test_the_command_takes_a_size_of_shards(ratings, tmp_path):
    done = walslab("ingest", ratings, "--out", tmp_path / "out", "--shard-ratings", "50")
    assert done.exit_code == 0, done.output
    data = RatingsDataset.open(tmp_path / "out")
    assert data.digest == ingested(ratings, "python", shard_ratings=50).digest
    assert len(data.shards("train/rows")) == -(-len(ROWS) // 50)
    assert "--shard-ratings" in walslab("ingest", ratings, "--out", "x", "--shard-ratings", "0").output


def test_memory_that_is_too_small_for_a_shard_is_refused_with_both_ways_out(ratings, tmp_path):
    with pytest.raises(ConfigError, match=r"shards of 10,000,000 ratings, .* or a smaller --shard-ratings"):
        ingested(ratings, "out", shard_ratings=10_000_000, memory_bytes=400 << 20)
    assert not (tmp_path / "out").exists()


class Weighing(Threads):
    """Threads that weigh what they would send to another process."""

    def __init__(self):
        super().__init__(1)
        self.most = 0

    def map(self, function, items, tick):
        self.most = max([self.most, *(len(pickle.dumps(item)) for item in items)])
        return super().map(function, items, tick)


def test_a_task_gets_the_pieces_of_its_own_range(ratings):
    """Eight times as many ranges make each task's part of the lists at most about eight times as long."""
    few, many = Weighing(), Weighing()
    ingested(ratings, "few", shard_ratings=len(ROWS) // 5, block_bytes=100_000, engine=few)
    ingested(ratings, "many", shard_ratings=len(ROWS) // 40, block_bytes=100_000, engine=many)
    assert many.most < few.most + 40 * 8 * 5
