"""Ratings files to a dataset directory: out of core, on Dask."""

from __future__ import annotations

from toolkit.ingest.job import ingest_ratings
from toolkit.ingest.source import RatingsSource
from toolkit.ingest.split import SplitRule

__all__ = ["RatingsSource", "SplitRule", "ingest_ratings"]
