"""Training and validation ratings together as one dataset, joined shard by shard."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray
from toolkit.datasets import RatingsDataset, Shard, ShardReader
from toolkit.files import append_array

_ENTRY = np.dtype([("item", "<i4"), ("user", "<i4"), ("rating", "<f4")])


def join_splits(dataset: RatingsDataset, folder: Path) -> RatingsDataset:
    """Write a dataset whose training ratings are the training and validation ratings of another.

    One shard is in memory at a time. The validation ratings of the new dataset are none, and its test ratings
    are those of the other.

    Parameters
    ----------
    dataset : RatingsDataset
    folder : Path
        An existing directory to fill, with room for 8 bytes of each training and validation rating twice.

    Returns
    -------
    RatingsDataset
        Opened in `folder`.

    Raises
    ------
    DatasetError
        When a shard is missing, changed or damaged.
    """
    joined = _Joined(dataset, folder)
    joined.write_rows()
    joined.write_columns()
    joined.write_rest()
    return RatingsDataset.open(folder)


class _Joined:
    """The dataset that is being written."""

    def __init__(self, dataset: RatingsDataset, folder: Path) -> None:
        self._dataset, self._folder = dataset, folder
        self._reader = ShardReader(dataset)
        self._files: list[dict[str, Any]] = []
        self._columns = dataset.shards("train/cols")
        self._counts: dict[str, list[IntArray]] = {"users": [], "items": []}

    def write_rows(self) -> None:
        """Write the shards by user, and sort the validation ratings into the ranges of items."""
        data, stops = self._dataset, [entry["stop"] for entry in self._columns]
        for number, (train, valid) in enumerate(
            zip(data.shards("train/rows"), data.shards("valid/rows"), strict=True)
        ):
            held_out = self._reader.read("valid/rows", valid)
            parts = [self._reader.read("train/rows", train), held_out]
            self._write("users", f"train/rows-{number:05d}.npz", parts, data.n_items, train["start"])
            indptr, items, ratings = held_out
            entries = np.empty(len(items), _ENTRY)
            entries["item"], entries["rating"] = items, ratings
            entries["user"] = train["start"] + np.repeat(np.arange(len(indptr) - 1), np.diff(indptr))
            # Users ascend within each item, and from shard to shard.
            entries = entries[np.argsort(items, kind="stable")]
            cuts = np.searchsorted(entries["item"], stops)
            for at, part in enumerate(np.split(entries, cuts[:-1])):
                if len(part):
                    with self._spilled(at).open("ab") as file:
                        append_array(file, part)

    def _spilled(self, number: int) -> Path:
        return self._folder / f"valid-of-items-{number:05d}"

    def write_columns(self) -> None:
        """Write the shards by item."""
        for number, entry in enumerate(self._columns):
            spilled, start, n = self._spilled(number), entry["start"], entry["stop"] - entry["start"]
            entries = np.fromfile(spilled, _ENTRY) if spilled.exists() else np.empty(0, _ENTRY)
            entries = entries[np.argsort(entries["item"], kind="stable")]
            indptr = np.concatenate([[0], np.cumsum(np.bincount(entries["item"] - start, minlength=n))])
            held_out = indptr, np.ascontiguousarray(entries["user"]), np.ascontiguousarray(entries["rating"])
            parts = [self._reader.read("train/cols", entry), held_out]
            self._write("items", f"train/cols-{number:05d}.npz", parts, self._dataset.n_users, start)
            spilled.unlink(missing_ok=True)

    def _write(self, of: str, path: str, parts: list[Shard], n_columns: int, start: int) -> None:
        from toolkit.ingest import write_shard  # a served model has this module, and no ingest

        indptr, columns, values = _merged(*parts)
        self._counts[of].append(np.diff(indptr))
        self._files.append(write_shard(self._folder, path, indptr, columns, values, n_columns, start))

    def write_rest(self) -> None:
        """Write no validation ratings, the test ratings, the tables of ids, and the manifest."""
        from toolkit.ingest import digest_of, write_id_table, write_shard

        data = self._dataset
        nothing = np.zeros(data.n_users + 1, np.int32), np.empty(0, np.int32), np.empty(0, np.float32)
        self._files.append(write_shard(self._folder, "valid/rows-00000.npz", *nothing, data.n_items, 0))
        for entry in data.shards("test/rows"):
            path = self._folder / entry["path"]
            path.parent.mkdir(exist_ok=True)
            with (data.path / entry["path"]).open("rb") as source, path.open("wb") as file:
                shutil.copyfileobj(source, file)
            self._files.append(dict(entry))
        for name, counts in self._counts.items():
            n_train = np.concatenate(counts)
            self._files.append(write_id_table(self._folder, name, _ids(data, name), n_train))
        counted = data.counts
        content = {
            **data.manifest,
            "counts": {**counted, "train": counted["train"] + counted["valid"], "valid": 0},
            "files": self._files,
            "digest": digest_of(self._files),
            "joined": {"from": data.digest, "train": "train + valid"},
        }
        (self._folder / "manifest.json").write_text(json.dumps(content), encoding="utf-8")


def _ids(dataset: RatingsDataset, name: str) -> Any:
    """Return the ids of a table as its column has them."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with (dataset.path / f"{name}.parquet").open("rb") as file:
        column = pq.read_table(file, columns=["id"])["id"].combine_chunks()
    column = column if isinstance(column, pa.Array) else pa.concat_arrays(column.chunks)
    return column.to_numpy() if pa.types.is_integer(column.type) else column


def _merged(first: Shard, second: Shard) -> tuple[IntArray, Array, FloatArray]:
    """Return two shards of the same rows as one, with columns that rise within each row."""
    counts = [np.diff(indptr) for indptr, _, _ in (first, second)]
    rows = np.concatenate([np.repeat(np.arange(len(each)), each) for each in counts])
    columns, values = (np.concatenate(pair) for pair in zip(first[1:], second[1:], strict=True))
    order = np.lexsort((columns, rows))
    indptr = np.concatenate([[0], np.cumsum(counts[0] + counts[1])])
    return indptr, columns[order], values[order]
