"""Ratings files to a dataset directory: read by Dask, checked, numbered, split, written as shards."""

from __future__ import annotations

import importlib.metadata
import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.sparse as sp

from toolkit import __version__, atomic
from toolkit.dataset import FORMAT, FORMAT_VERSION, RatingsDataset, digest_of, sha256_of
from toolkit.errors import ConfigError, DatasetError, RatingsError
from toolkit.reading import BLOCK_BYTES, IdKind, NotIntegersError, read
from toolkit.source import RatingsSource
from toolkit.split import SPLITS, check_shares, random_split

Duplicates = Literal["last", "mean", "sum", "error"]
DUPLICATES: tuple[Duplicates, ...] = ("last", "mean", "sum", "error")
# Small enough to be read at once anywhere, large enough that a dataset is not a crowd of files.
_SHARD_RATINGS = 4_000_000
_TABLE_STRETCH = 4
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class _Ratings:
    """All ratings, sorted by user and item, each pair once."""

    users: _Array
    items: _Array
    values: _Array
    user_ids: _Array
    item_ids: _Array
    duplicates: int


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
    shard_ratings: int = _SHARD_RATINGS,
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
        When shares or `duplicates` are out of range.
    """
    check_shares(valid, test)
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
    n_users, n_items = len(ratings.user_ids), len(ratings.item_ids)
    assigned = random_split(ratings.users, ratings.items, n_items, valid=valid, test=test, seed=seed)
    tell("writing")
    with atomic.directory(out, overwrite=overwrite) as part:
        files = _write_ids(part, ratings, assigned)
        ranges = _ranges(ratings.users[assigned == 0], n_users, shard_ratings)
        for number, name in enumerate(SPLITS):
            chosen = assigned == number
            matrix = sp.csr_matrix(
                (ratings.values[chosen], (ratings.users[chosen], ratings.items[chosen])),
                shape=(n_users, n_items),
            )
            files += _write_shards(part, f"{name}/rows", matrix, ranges)
            if name == "train":
                by_item = sp.csr_matrix(matrix.T)
                files += _write_shards(
                    part, "train/cols", by_item, _ranges(matrix.indices, n_items, shard_ratings)
                )
        manifest = {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "digest": digest_of(files),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "counts": {
                "ratings": len(ratings.values),
                "users": n_users,
                "items": n_items,
                **{name: int(np.count_nonzero(assigned == number)) for number, name in enumerate(SPLITS)},
                "duplicates": ratings.duplicates,
                "rejected": 0,
            },
            "ratings": _statistics(ratings.values),
            "split": {"kind": "random", "valid": valid, "test": test, "seed": seed},
            "duplicates": duplicates,
            "source": {
                **{key: value for key, value in asdict(source).items() if key != "paths"},
                "files": [
                    {"name": Path(p).name, "bytes": Path(p).stat().st_size, "sha256": sha256_of(Path(p))}
                    for p in source.paths
                ],
            },
            "files": files,
            "versions": {
                "walslab": __version__,
                **{
                    name: importlib.metadata.version(name)
                    for name in ("numpy", "scipy", "pandas", "pyarrow", "dask")
                },
            },
        }
        (part / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
    return RatingsDataset.open(out)


def _read_all(
    source: RatingsSource, duplicates: Duplicates, block_bytes: int, tell: Callable[[str], None]
) -> _Ratings:
    frames = _frames(source, block_bytes)
    tell("mapping ids")
    users, user_ids = _to_rows([frame["user"].to_numpy() for frame in frames])
    items, item_ids = _to_rows([frame["item"].to_numpy() for frame in frames])
    values = np.concatenate([frame["rating"].to_numpy() for frame in frames])
    if len(values) == 0:
        raise RatingsError(f"{', '.join(source.paths)} holds no rating: there is nothing below the header")
    key = users * len(item_ids) + items
    order = np.argsort(key, kind="stable")
    key, values = key[order], values[order]
    first = np.flatnonzero(np.concatenate([[True], key[1:] != key[:-1]]))
    repeated = len(key) - len(first)
    if repeated and duplicates == "error":
        twice = int(key[np.flatnonzero(key[1:] == key[:-1])[0]])
        raise RatingsError(
            f"{repeated} rating(s) repeat a pair, the first of user {user_ids[twice // len(item_ids)]}, item "
            f"{item_ids[twice % len(item_ids)]}: mend the file, or say which counts with --duplicates "
            "last, mean or sum"
        )
    if repeated and duplicates == "last":
        values = values[np.concatenate([first[1:], [len(key)]]) - 1]
    elif repeated:
        values = np.add.reduceat(values, first)
        if duplicates == "mean":
            values /= np.diff(np.concatenate([first, [len(key)]]))
    key = key[first]
    rows, columns = np.divmod(key, len(item_ids))
    return _Ratings(
        rows.astype(np.int32),
        columns.astype(np.int32),
        values.astype(np.float32),
        user_ids,
        item_ids,
        repeated,
    )


def _frames(source: RatingsSource, block_bytes: int) -> list[Any]:
    from dask.base import compute

    kinds: dict[str, IdKind] = {"user": "integer", "item": "integer"}
    while True:
        parts = read(source, kinds, block_bytes).to_delayed()
        try:
            # Parsing releases the interpreter lock, and frames need not travel between processes.
            return list(compute(*parts, scheduler="threads"))
        except NotIntegersError as found:
            kinds[found.role] = "string"


def _to_rows(parts: list[_Array]) -> tuple[_Array, _Array]:
    """Return each rating's row number and the id of each row; rows are in the order of the ids."""
    if parts[0].dtype == object:
        parts = [part.astype(np.str_) for part in parts]
    filled = [part for part in parts if len(part)]
    if filled and filled[0].dtype.kind == "i":
        low, high = min(int(part.min()) for part in filled), max(int(part.max()) for part in filled)
        # A table over the range of the ids is much faster than a search, and is made where it is small beside
        # them.
        if high - low < _TABLE_STRETCH * sum(map(len, filled)):
            seen = np.zeros(high - low + 1, bool)
            for part in filled:
                seen[part - low] = True
            rows = np.cumsum(seen) - 1
            return np.concatenate([rows[part - low] for part in filled]), np.flatnonzero(seen) + low
    ids = np.unique(np.concatenate([np.unique(part) for part in parts]))
    return np.concatenate([np.searchsorted(ids, part) for part in parts]).astype(np.int64), ids


def _ranges(rows: _Array, n_rows: int, shard_ratings: int) -> list[tuple[int, int]]:
    """Cut 0..n_rows into ranges of about `shard_ratings` entries each; at least one range, none empty."""
    total = np.cumsum(np.bincount(rows, minlength=n_rows))
    n_shards = max(1, -(-int(total[-1]) // shard_ratings))
    goals = np.arange(1, n_shards) * (int(total[-1]) / n_shards)
    ends = np.unique(np.concatenate([np.searchsorted(total, goals) + 1, [n_rows]]))
    return list(zip([0, *ends[:-1].tolist()], ends.tolist(), strict=True))


def _write_shards(
    root: Path, kind: str, matrix: sp.csr_matrix, ranges: list[tuple[int, int]]
) -> list[dict[str, Any]]:
    matrix.sort_indices()
    (root / kind).parent.mkdir(exist_ok=True)
    entries = []
    for number, (start, stop) in enumerate(ranges):
        path = f"{kind}-{number:05d}.npz"
        shard = matrix[start:stop]
        sp.save_npz(root / path, shard, compressed=False)
        entries.append(_entry(root, path, nnz=int(shard.nnz), start=start, stop=stop))
    return entries


def _write_ids(root: Path, ratings: _Ratings, assigned: _Array) -> list[dict[str, Any]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    entries = []
    train = assigned == 0
    for name, ids, rows in (
        ("users", ratings.user_ids, ratings.users),
        ("items", ratings.item_ids, ratings.items),
    ):
        counts = np.bincount(rows[train], minlength=len(ids))
        column = pa.array(ids if ids.dtype.kind == "i" else ids.tolist())
        pq.write_table(pa.table({"id": column, "n_train": counts}), root / f"{name}.parquet")
        entries.append(_entry(root, f"{name}.parquet", rows=len(ids)))
    return entries


def _entry(root: Path, path: str, **facts: int) -> dict[str, Any]:
    return {"path": path, "sha256": sha256_of(root / path), "bytes": (root / path).stat().st_size, **facts}


def _statistics(values: _Array) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
    }
