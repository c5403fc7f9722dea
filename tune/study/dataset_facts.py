"""The facts of a dataset that a study and its runs in MLflow keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from toolkit.datasets import RatingsDataset


class DatasetFacts(TypedDict):
    """Path and digest of a dataset, its counts of ratings, users and items, and what it is a sample of."""

    dataset: str
    digest: str
    counts: dict[str, int]
    derived: list[dict[str, Any]]


def facts_of_dataset(data: RatingsDataset) -> DatasetFacts:
    """Return the facts of an opened dataset."""
    return DatasetFacts(dataset=data.where, digest=data.digest, counts=data.counts, derived=data.derived)
