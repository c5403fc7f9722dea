"""Ingest: here ratings files become a dataset. Its rooms read, sort and split; its files run the job."""

from __future__ import annotations

from toolkit.ingest.job import ingest_ratings
from toolkit.ingest.reading import RatingsSource
from toolkit.ingest.splitting import SplitRule

__all__ = ["RatingsSource", "SplitRule", "ingest_ratings"]
