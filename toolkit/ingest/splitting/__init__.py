"""Splitting: here ratings are held out for validation and test. The room knows sorted ratings, not files."""

from __future__ import annotations

from toolkit.ingest.splitting.rule import KINDS, SplitRule

__all__ = ["KINDS", "SplitRule"]
