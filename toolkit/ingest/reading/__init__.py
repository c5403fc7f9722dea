"""Reading: here ratings files become columns. The room knows files, lines and fields, not numbers of ids."""

from __future__ import annotations

from toolkit.ingest.reading.examples import example_ratings
from toolkit.ingest.reading.source import ID_KINDS, IdKind, RatingsSource
from toolkit.ingest.reading.stand_ins import rating_apart

__all__ = ["ID_KINDS", "IdKind", "RatingsSource", "example_ratings", "rating_apart"]
