"""A dataset directory as its readers see it: shards, ids, titles and statistics."""

from toolkit.datasets import statistics
from toolkit.datasets.dataset import RatingsDataset
from toolkit.datasets.id_values import LONGEST_ID
from toolkit.datasets.ids import IdTable
from toolkit.datasets.manifest import FORMAT, FORMAT_VERSION, SHARDS, FileEntry
from toolkit.datasets.picture import check_picture, draw
from toolkit.datasets.shard_reader import ShardReader
from toolkit.datasets.shards import Shard
from toolkit.datasets.splits import SPLIT_NAMES, SPLITS, TEST, TRAIN, VALID, split_number
from toolkit.datasets.texts import Texts, as_objects
from toolkit.datasets.titles import read_titles

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "LONGEST_ID",
    "SHARDS",
    "SPLITS",
    "SPLIT_NAMES",
    "TEST",
    "TRAIN",
    "VALID",
    "FileEntry",
    "IdTable",
    "RatingsDataset",
    "Shard",
    "ShardReader",
    "Texts",
    "as_objects",
    "check_picture",
    "draw",
    "read_titles",
    "split_number",
    "statistics",
]
