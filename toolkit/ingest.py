"""Ratings files to a dataset directory: read by Dask, checked, numbered, split, written as shards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import numpy as np

from toolkit import atomic
from toolkit.dataset import RatingsDataset
from toolkit.errors import ConfigError, DatasetError, RatingsError
from toolkit.reading import BLOCK_BYTES, blocks, parse, place, read
from toolkit.source import RatingsSource
from toolkit.split import check_seed, check_shares, random_split
from toolkit.writing import SHARD_RATINGS, Ratings, write_dataset

Duplicates = Literal["last", "mean", "sum", "error"]
DUPLICATES: tuple[Duplicates, ...] = ("last", "mean", "sum", "error")
_Array = np.ndarray[Any, Any]


def ingest_ratings(
    source: RatingsSource,
    out: str | Path,
    *,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
    duplicates: Duplicates = "last",
    overwrite: bool = False,
    block_bytes: int = BLOCK_BYTES,
    shard_ratings: int = SHARD_RATINGS,
    progress: Callable[[str], None] | None = None,
) -> RatingsDataset:
    """Make a dataset directory from ratings files.

    The result depends on the ratings, the split and the seed, and on nothing else: not on the order of files
    or lines (unless ``duplicates="last"`` finds duplicates), nor on the size of blocks.

    Parameters
    ----------
    source : RatingsSource
        The files and how to read them.
    out : str or Path
        The directory to make; it is complete or not there.
    valid, test : float
        Shares of all ratings to hold out: for tuning, and for one test at the end.
    seed : int
        Another seed gives another split.
    duplicates : {"last", "mean", "sum", "error"}
        What becomes of several ratings of a pair; ``last`` is the last in input order.
    overwrite : bool, default False
        Whether an existing dataset is replaced, once the new one is complete.
    block_bytes, shard_ratings : int
        Size of the blocks that are read side by side, and of the shards that are written.
    progress : callable, optional
        Told what is being done.

    Returns
    -------
    RatingsDataset
        The new dataset, opened.

    Raises
    ------
    RatingsError
        When a file cannot be read as ratings; the text names file, line, field and value.
    DatasetError
        When `out` exists and `overwrite` is false, or is something else than a dataset.
    ConfigError
        When shares, `seed` or `duplicates` are out of range, or no rating is left to train on.
    """
    check_shares(valid, test)
    check_seed(seed)
    if duplicates not in DUPLICATES:
        raise ConfigError(f"duplicates must be one of {', '.join(DUPLICATES)}, but got {duplicates!r}")
    out = Path(out)
    if out.exists() and not overwrite:
        raise DatasetError(f"{out} exists already: give another --out, or --overwrite")
    if out.exists() and not (out / "manifest.json").is_file():
        raise DatasetError(f"{out} exists and is not a dataset, so it is not overwritten: give another --out")
    tell = progress or (lambda _: None)
    tell("reading")
    ratings = _read_all(source, duplicates, block_bytes, tell)
    tell("splitting")
    n_items = len(ratings.item_ids)
    assigned = random_split(ratings.users, ratings.items, n_items, valid=valid, test=test, seed=seed)
    tell("writing")
    with atomic.directory(out, overwrite=overwrite) as part:
        write_dataset(
            part,
            ratings,
            assigned,
            shard_ratings=shard_ratings,
            split={"kind": "random", "valid": valid, "test": test, "seed": seed},
            duplicates=duplicates,
            source=source,
        )
    return RatingsDataset.open(out)


def _read_all(
    source: RatingsSource, duplicates: Duplicates, block_bytes: int, tell: Callable[[str], None]
) -> Ratings:
    frames = _frames(source, block_bytes)
    tell("mapping ids")
    users, user_ids = _to_rows([frame["user"].array for frame in frames])
    items, item_ids = _to_rows([frame["item"].array for frame in frames])
    values = np.concatenate([frame["rating"].to_numpy() for frame in frames])
    if len(values) == 0:
        raise RatingsError(f"{', '.join(source.paths)} holds no rating: there is nothing below the header")
    key = np.multiply(users, len(item_ids), dtype=np.int64)
    key += items
    del users, items
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    repeated = len(key) - len(first)
    if repeated and duplicates == "error":
        # The repeat that comes first in the input, and the rating that it repeats.
        repeats = np.flatnonzero(key[1:] == key[:-1]) + 1
        at = int(repeats[np.argmin(order[repeats])])
        pair = divmod(int(key[at]), len(item_ids))
        one, two = (_place(source, block_bytes, frames, int(order[k])) for k in (at - 1, at))
        raise RatingsError(
            f"{two}: user {user_ids[pair[0]]} rates item {item_ids[pair[1]]} again, after {one} "
            f"({repeated:,} such lines in all): mend the file, or say which counts with --duplicates last, "
            "mean or sum"
        )
    if repeated and duplicates == "last":
        values = values[np.concatenate([first[1:], [len(key)]]) - 1]
    elif repeated:
        values = np.add.reduceat(values, first)
        if duplicates == "mean":
            values /= np.diff(np.concatenate([first, [len(key)]]))
    key = key[first]
    rows, columns = np.divmod(key, len(item_ids))
    with np.errstate(over="ignore"):
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise RatingsError(
            f"the ratings of item {item_ids[columns[at]]} by user {user_ids[rows[at]]} add up to more than "
            "float32 holds: choose another of --duplicates"
        )
    return Ratings(rows.astype(np.int32), columns.astype(np.int32), values, user_ids, item_ids, repeated)


def _frames(source: RatingsSource, block_bytes: int) -> list[Any]:
    from dask.base import compute

    try:
        # Parsing releases the interpreter lock, and frames need not travel between processes.
        return list(compute(*read(source, block_bytes).to_delayed(), scheduler="threads"))
    except RatingsError:
        # Blocks are read in no order; the line to name is the first bad one of the input.
        for block in blocks(source, block_bytes):
            parse(block, source)
        raise


def _place(source: RatingsSource, block_bytes: int, frames: list[Any], row: int) -> str:
    ends = np.cumsum([len(frame) for frame in frames])
    number = int(np.searchsorted(ends, row, side="right"))
    return place(blocks(source, block_bytes)[number], source, row - int(ends[number]) + len(frames[number]))


def _to_rows(parts: list[Any]) -> tuple[_Array, _Array]:
    """Return each rating's row number and the id of each row; rows are in the order of the ids.

    Parameters
    ----------
    parts : list of pandas.Categorical
        The ids of each block.
    """
    import pandas as pd

    words = [np.asarray(part.categories) for part in parts]
    # Integers of one block are text where another block has text; written the usual way, nothing is lost.
    if any(word.dtype == object for word in words):
        words = [word.astype(str).astype(object) if word.dtype != object else word for word in words]
        ids = np.array(sorted(set().union(*words)), dtype=object)
    else:
        ids = np.unique(np.concatenate(words))
    index = pd.Index(ids)
    rows = [
        index.get_indexer(pd.Index(word)).astype(np.int32)[part.codes]
        for word, part in zip(words, parts, strict=True)
    ]
    return np.concatenate(rows), ids if ids.dtype != object else ids.astype(np.str_)
