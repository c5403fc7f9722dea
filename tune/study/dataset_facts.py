"""What a study and its runs say of their dataset."""

from __future__ import annotations

from typing import TypedDict


class DatasetFacts(TypedDict):
    """What a run says of its dataset: path, digest, and counts of ratings, users and items."""

    dataset: str
    digest: str
    counts: dict[str, int]
