"""Ratings files to a dataset directory: out of core, on Dask."""

from __future__ import annotations

from toolkit.ingest.job import ingest_ratings
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.splitting.rule import SplitRule

__all__ = ["RatingsSource", "SplitRule", "ingest_ratings"]
