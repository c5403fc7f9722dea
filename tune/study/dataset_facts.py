"""The facts of a dataset that a study and its runs in MLflow keep."""

from __future__ import annotations

from typing import TypedDict


class DatasetFacts(TypedDict):
    """Path and digest of a dataset, and its counts of ratings, users and items."""

    dataset: str
    digest: str
    counts: dict[str, int]
