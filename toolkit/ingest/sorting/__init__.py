"""Sorting: here columns become sorted ratings with numbers for ids. The room knows pairs, not files."""

from __future__ import annotations

from toolkit.ingest.sorting.merging import DUPLICATES, Duplicates
from toolkit.ingest.sorting.transform import TRANSFORMS, Transform

__all__ = ["DUPLICATES", "TRANSFORMS", "Duplicates", "Transform"]
