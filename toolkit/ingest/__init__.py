"""Ingest: here ratings files become a dataset. Its rooms read, sort and split; its files run the job."""

from __future__ import annotations

from toolkit.ingest.dataset_files import digest_of, write_id_table, write_shard
from toolkit.ingest.engine_choice import chosen_engine
from toolkit.ingest.file_scales import different_scales, far_ratings
from toolkit.ingest.file_times import different_units
from toolkit.ingest.job import ingest_ratings
from toolkit.ingest.memory import keep_freed_memory, parse_size
from toolkit.ingest.ratings_frame import read_ratings
from toolkit.ingest.reading import RatingsSource, example_ratings, rating_apart
from toolkit.ingest.splitting import SplitRule
from toolkit.ingest.user_sample import sample_users

__all__ = [
    "RatingsSource",
    "SplitRule",
    "chosen_engine",
    "different_scales",
    "different_units",
    "digest_of",
    "example_ratings",
    "far_ratings",
    "ingest_ratings",
    "keep_freed_memory",
    "parse_size",
    "rating_apart",
    "read_ratings",
    "sample_users",
    "write_id_table",
    "write_shard",
]
