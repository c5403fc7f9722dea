"""A dataset directory as its readers see it: shards, ids, titles and statistics."""

from toolkit.datasets.dataset import RatingsDataset
from toolkit.datasets.ids import IdTable
from toolkit.datasets.titles import read_titles

__all__ = ["IdTable", "RatingsDataset", "read_titles"]
