"""The files of a dataset directory (`docs/dataset-format.md`), written from ratings in memory."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit import __version__
from toolkit.dataset import FORMAT, FORMAT_VERSION, sha256_of
from toolkit.source import RatingsSource
from toolkit.split import SPLITS

# Small enough to be read at once anywhere, large enough that a dataset is not a crowd of files.
SHARD_RATINGS = 4_000_000
_Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Ratings:
    """All ratings, sorted by user and item, each pair once.

    Attributes
    ----------
    users, items : array of int32, shape (n,)
        Row and column numbers.
    values : array of float32, shape (n,)
        Ratings.
    user_ids, item_ids : array of int64 or str, shape (n_users,) and (n_items,)
        Ids of rows and columns.
    duplicates : int
        Ratings that repeated a pair and were merged.
    """

    users: _Array
    items: _Array
    values: _Array
    user_ids: _Array
    item_ids: _Array
    duplicates: int


def write_dataset(
    folder: Path,
    ratings: Ratings,
    assigned: _Array,
    *,
    shard_ratings: int,
    split: dict[str, Any],
    duplicates: str,
    source: RatingsSource,
) -> None:
    """Write shards, id tables and manifest into an empty folder.

    Parameters
    ----------
    folder : Path
        Where to write.
    ratings : Ratings
        What to write.
    assigned : array of uint8, shape (n,)
        Position in `SPLITS` of each rating.
    shard_ratings : int
        Training ratings of a shard, about.
    split, duplicates, source
        How the ratings were split, merged and read, for the manifest.
    """
    n_users, n_items = len(ratings.user_ids), len(ratings.item_ids)
    files = _write_ids(folder, ratings, assigned)
    ranges = _ranges(ratings.users[assigned == 0], n_users, shard_ratings)
    counts = {}
    for number, name in enumerate(SPLITS):
        chosen = assigned == number
        counts[name] = int(np.count_nonzero(chosen))
        matrix = sp.csr_matrix(
            (ratings.values[chosen], (ratings.users[chosen], ratings.items[chosen])), shape=(n_users, n_items)
        )
        files += _write_shards(folder, f"{name}/rows", matrix, ranges)
        if name == "train":
            ranges_of_items = _ranges(matrix.indices, n_items, shard_ratings)
            files += _write_shards(folder, "train/cols", sp.csr_matrix(matrix.T), ranges_of_items)
    form = {key: value for key, value in asdict(source).items() if key != "paths"}
    libraries = ("numpy", "scipy", "pandas", "pyarrow", "dask")
    manifest = {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "digest": _digest_of(files),
        "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "counts": {
            "ratings": len(ratings.values),
            "users": n_users,
            "items": n_items,
            **counts,
            "duplicates": ratings.duplicates,
            "rejected": 0,
        },
        "ratings": _statistics(ratings.values),
        "split": split,
        "duplicates": duplicates,
        "source": {**form, "files": [_fingerprint(Path(path)) for path in source.paths]},
        "files": files,
        "versions": {
            "walslab": __version__,
            **{name: importlib.metadata.version(name) for name in libraries},
        },
    }
    (folder / "manifest.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")


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
        content = (shard.indptr.astype("<i8"), shard.indices.astype("<i4"), shard.data.astype("<f4"))
        entries.append(_entry(root, path, *content, nnz=int(shard.nnz), start=start, stop=stop))
    return entries


def _write_ids(root: Path, ratings: Ratings, assigned: _Array) -> list[dict[str, Any]]:
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
        text = "\0".join(map(str, ids.tolist())).encode()
        entries.append(_entry(root, f"{name}.parquet", text, rows=len(ids)))
    return entries


def _entry(root: Path, path: str, *content: Any, **facts: int) -> dict[str, Any]:
    # The bytes of a zip or Parquet file depend on the versions that write it; its content does not.
    inside = hashlib.sha256()
    for part in content:
        inside.update(part)
    return {
        "path": path,
        "bytes": (root / path).stat().st_size,
        "sha256": sha256_of(root / path),
        "content_sha256": inside.hexdigest(),
        **facts,
    }


def _statistics(values: _Array) -> dict[str, float]:
    return {
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
    }


def _fingerprint(path: Path) -> dict[str, Any]:
    return {"name": path.name, "bytes": path.stat().st_size, "sha256": sha256_of(path)}


def _digest_of(files: list[dict[str, Any]]) -> str:
    lines = sorted(f"{entry['path']} {entry['content_sha256']}\n" for entry in files)
    # MLflow holds at most 36 characters.
    return hashlib.sha256("".join(lines).encode()).hexdigest()[:32]
