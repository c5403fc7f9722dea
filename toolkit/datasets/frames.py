"""The ratings of a dataset with their ids, as DataFrames of pandas and Dask."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.datasets.ids import IdTable
from toolkit.datasets.shards import Shard
from toolkit.datasets.splits import SPLITS
from toolkit.datasets.texts import Texts
from toolkit.errors import DatasetError
from toolkit.inputs import checked_word
from toolkit.tables import DistinctIds, ids_for_pandas

if TYPE_CHECKING:
    import pandas as pd


def shards_of_split(split: str) -> str:
    """Return the kind of the shards of a split.

    Raises
    ------
    ConfigError
        When there is no such split.
    """
    return f"{checked_word('split', split, SPLITS)}/rows"


def frame_of_shard(users: IdTable, items: IdTable, start: int, shard: Shard) -> pd.DataFrame:
    """Return the ratings of a shard, in the order of their rows and columns.

    Parameters
    ----------
    users, items : IdTable
        The ids of all rows and columns.
    start : int
        The first row of the shard.
    shard : tuple of arrays
        Row limits, columns and ratings.
    """
    import pandas as pd

    starts, columns, ratings = shard
    rows = np.repeat(np.arange(start, start + len(starts) - 1), np.diff(starts))
    ids = [ids_for_pandas(_distinct(table.stored), at) for table, at in ((users, rows), (items, columns))]
    return pd.DataFrame({"user": ids[0], "item": ids[1], "rating": ratings})


def dask_frame(dataset: Any, kind: str) -> Any:
    """Return the ratings of one kind of shards of a `RatingsDataset`, a partition for each shard."""
    import dask.dataframe as dd

    start = dataset.shards(kind)[0]["start"]
    nothing = np.zeros(1, np.int32), np.zeros(0, np.int32), np.zeros(0, np.float32)
    meta = frame_of_shard(dataset.users, dataset.items, start, nothing)
    part = functools.partial(_partition, type(dataset).open, dataset.where, dataset.digest, kind)
    return dd.from_map(part, range(len(dataset.shards(kind))), meta=meta, label="walslab-ratings")


def _partition(opener: Any, where: str, digest: str, kind: str, at: int) -> pd.DataFrame:
    dataset = _opened(opener, where, digest)
    entry = dataset.shards(kind)[at]
    return frame_of_shard(dataset.users, dataset.items, entry["start"], dataset.read_shard(kind, entry))


@functools.lru_cache(maxsize=2)
def _opened(opener: Any, where: str, digest: str) -> Any:
    """Return a dataset, opened once for all partitions that a process computes."""
    dataset = opener(where)
    if dataset.digest != digest:
        raise DatasetError(f"{where} is another dataset by now: open it again")
    return dataset


def _distinct(stored: Any) -> DistinctIds:
    import pyarrow as pa

    if not isinstance(stored, Texts):
        return np.asarray(stored)
    ends = np.concatenate([np.zeros(1, np.int64), stored.ends])
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(np.ascontiguousarray(stored.data))]
    return pa.Array.from_buffers(pa.large_string(), len(stored), buffers)
