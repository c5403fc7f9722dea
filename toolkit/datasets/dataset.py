"""An ingested dataset: sparse shards and id tables that other tools read too (`docs/dataset-format.md`)."""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
import zlib
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.datasets.manifest import FORMAT, FORMAT_VERSION, INT32_MAX, SHARDS, mistakes_of, shards_of
from toolkit.errors import DatasetError
from toolkit.files.address import as_path, is_address, store_errors

_AGAIN = "ingest the ratings again"
_REACH = "check the address, and the store's variables in this process's environment"
_SHOWN = 5  # mistakes of one manifest
_Array = np.ndarray[Any, Any]
# What NumPy, zipfile and zlib raise on bytes that are no archive of arrays.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, TypeError, KeyError, RuntimeError, MemoryError, OverflowError),
    *(SyntaxError, struct.error, zipfile.BadZipFile, zlib.error),
)


class RatingsDataset:
    """An opened dataset directory; what is asked for is read then, compared with its checksum, and kept.

    Parameters
    ----------
    path : Path
        The directory, or what stands for one at an address.
    manifest : dict
        Content of its ``manifest.json``.

    Attributes
    ----------
    path : Path
    manifest : dict
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest

    @classmethod
    def open(cls, path: str | Path, *, verify: bool = False) -> RatingsDataset:
        """Open a dataset directory.

        Parameters
        ----------
        path : str or Path
            What `ingest_ratings` wrote: a directory, or its address, such as ``s3://bucket/ml-20m``.
        verify : bool, default False
            Whether every file is compared with its checksum now, and not only when it is read.

        Raises
        ------
        DatasetError
            When it is no dataset, of another format version, its manifest contradicts itself, or a file is
            missing or changed.
        """
        path = as_path(path, DatasetError)
        try:
            with store_errors(path, DatasetError, _REACH):
                manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DatasetError(
                f"{path} is not a dataset: it has no manifest.json; make one with `walslab ingest RATINGS "
                f"--out {path}`"
            ) from error
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{path / 'manifest.json'} is not valid JSON: {error}; {_AGAIN}") from error
        if not isinstance(manifest, dict):
            manifest = {}
        found = (manifest.get("format"), manifest.get("format_version"))
        if found != (FORMAT, FORMAT_VERSION):
            raise DatasetError(
                f"{path} must be of format {FORMAT} version {FORMAT_VERSION}, but states {found[0]} "
                f"{found[1]}: {_AGAIN}"
            )
        if mistakes := mistakes_of(manifest):
            more = f"; and {len(mistakes) - _SHOWN} more mistakes" if len(mistakes) > _SHOWN else ""
            raise DatasetError(
                f"{path / 'manifest.json'} {'; '.join(mistakes[:_SHOWN])}{more}: the dataset is damaged, "
                f"{_AGAIN}"
            )
        dataset = cls(path, manifest)
        for entry in manifest["files"]:
            dataset._check_size(entry)
            if verify:
                with store_errors(path, DatasetError, _REACH):
                    found_sum = sha256_of(path / entry["path"])
                dataset._check_sum(entry, found_sum)
        return dataset

    @property
    def where(self) -> str:
        """The absolute path of the directory, or its address."""
        return str(self.path if is_address(self.path) else self.path.resolve())

    @property
    def digest(self) -> str:
        """Identity of the content: 32 hexadecimal digits, the same for the same ratings, ids and split."""
        return str(self.manifest["digest"])

    @property
    def counts(self) -> dict[str, int]:
        """Numbers of ratings, users, items, train, valid, test, duplicates and rejected."""
        return dict(self.manifest["counts"])

    @property
    def n_users(self) -> int:
        """Number of users."""
        return int(self.manifest["counts"]["users"])

    @property
    def n_items(self) -> int:
        """Number of items."""
        return int(self.manifest["counts"]["items"])

    @cached_property
    def train(self) -> sp.csr_matrix:
        """Training ratings, float32, shape (n_users, n_items)."""
        return self._stack("train/rows")

    @cached_property
    def train_by_item(self) -> sp.csr_matrix:
        """Training ratings by item, float32, shape (n_items, n_users)."""
        return self._stack("train/cols")

    @cached_property
    def valid(self) -> sp.coo_matrix:
        """Validation ratings, float32, shape (n_users, n_items)."""
        return self._stack("valid/rows").tocoo(copy=False)

    @cached_property
    def test(self) -> sp.coo_matrix:
        """Test ratings, float32, shape (n_users, n_items)."""
        return self._stack("test/rows").tocoo(copy=False)

    def train_and_valid(self) -> sp.csr_matrix:
        """Return training and validation ratings together, float32, shape (n_users, n_items)."""
        train, valid = self.train.tocoo(copy=False), self.valid
        # Not a sum of two matrices: that would drop ratings of zero.
        both = sp.coo_matrix(
            (
                np.concatenate([train.data, valid.data]),
                (np.concatenate([train.row, valid.row]), np.concatenate([train.col, valid.col])),
            ),
            shape=train.shape,
        ).tocsr()
        both.sort_indices()
        return both

    @cached_property
    def user_ids(self) -> _Array:
        """Id of each user row: int64 or str, shape (n_users,)."""
        return self._ids("users")

    @cached_property
    def item_ids(self) -> _Array:
        """Id of each item column: int64 or str, shape (n_items,)."""
        return self._ids("items")

    def training_counts(self, kind: str) -> _Array:
        """Return how many training ratings each of the ``"users"`` or ``"items"`` has, without their shards.

        Returns
        -------
        array of int64, shape (n_users,) or (n_items,)
        """
        counts: _Array = self._column(kind, "n_train", text=False).to_numpy().astype(np.int64, copy=False)
        train = self.manifest["counts"]["train"]
        if counts.min() < 0 or int(counts.sum()) != train:
            raise DatasetError(
                f"{self.path / kind}.parquet must count the {train} training ratings in n_train, but they "
                f"are from {counts.min()} and add up to {counts.sum()}: {_AGAIN}"
            )
        return counts

    def shards(self, kind: str) -> list[dict[str, Any]]:
        """Return the manifest's entries of one kind, such as ``"train/rows"``, in order."""
        return shards_of(self.manifest["files"], kind)

    def read_shards(self, kind: str) -> Iterator[tuple[_Array, _Array, _Array]]:
        """Read the shards of one kind one after the other, each checked against the manifest.

        Yields
        ------
        indptr, indices, data : arrays of int, int and float32, shape (stop − start + 1,), (nnz,) and (nnz,)
            As in scipy's CSR matrices.
        """
        n_columns = self.manifest["counts"][SHARDS[kind][2]]
        for entry in self.shards(kind):
            yield self._read_shard(entry, n_columns)

    def _stack(self, kind: str) -> sp.csr_matrix:
        shape = tuple(self.manifest["counts"][name] for name in SHARDS[kind][1:])
        nnz = self.manifest["counts"][SHARDS[kind][0]]
        # The type that scipy itself would choose for the whole matrix.
        index = np.int32 if max(nnz, *shape) <= INT32_MAX else np.int64
        try:
            # Whole from the beginning: what is stacked of parts is there twice for a while.
            indptr, indices = np.zeros(shape[0] + 1, index), np.empty(nnz, index)
            data = np.empty(nnz, np.float32)
        except (MemoryError, ValueError) as error:
            raise DatasetError(
                f"{self.path / kind} states {nnz} ratings, which do not fit in this machine's memory: {error}"
            ) from error
        row = at = 0
        for starts, columns, values in self.read_shards(kind):
            next_row, end = row + len(starts) - 1, at + len(values)
            np.add(starts[1:], at, out=indptr[row + 1 : next_row + 1], dtype=index, casting="same_kind")
            indices[at:end], data[at:end] = columns, values
            row, at = next_row, end
            del starts, columns, values  # before the next shard is read
        return sp.csr_matrix((data, indices, indptr), shape=shape, copy=False)

    def _read_shard(self, entry: dict[str, Any], n_columns: int) -> tuple[_Array, _Array, _Array]:
        file, shape = self.path / entry["path"], (entry["stop"] - entry["start"], n_columns)
        raw = self._read(entry)
        try:
            form, stated, *arrays = _unpack(raw, limit=16 * (entry["nnz"] + shape[0]) + 100_000)
        except _UNREADABLE as error:
            raise DatasetError(f"{file} cannot be read as a shard: {error}; {_AGAIN}") from error
        del raw
        if (form, stated) not in (("csr", list(shape)), (b"csr", list(shape))):
            raise DatasetError(f"{file} must be CSR of shape {shape}, but is {form} of {stated}; {_AGAIN}")
        indptr, indices, data = arrays
        if mistake := _shard_mistake(indptr, indices, data, shape, entry["nnz"]):
            raise DatasetError(f"{file} {mistake}: the dataset is damaged, {_AGAIN}")
        return indptr, indices, data

    def _ids(self, kind: str) -> _Array:
        import pyarrow as pa

        column = self._column(kind, "id", text=True)
        if pa.types.is_integer(column.type):
            integers: _Array = column.to_numpy()
            return integers
        return np.array(column.to_pylist(), dtype=np.str_)

    def _column(self, kind: str, name: str, *, text: bool) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        (entry,) = (entry for entry in self.manifest["files"] if entry["path"] == f"{kind}.parquet")
        file, raw = self.path / entry["path"], self._read(entry)
        try:
            column = pq.read_table(pa.BufferReader(raw), columns=[name]).column(name)
            column.validate(full=True)  # ids must be UTF-8
        except (OSError, KeyError, pa.ArrowException) as error:
            raise DatasetError(f"{file} cannot be read: {error}; {_AGAIN}") from error
        if len(column) != entry["rows"] or column.null_count:
            raise DatasetError(
                f"{file} must have {entry['rows']} rows without gaps, but has {len(column)}, of which "
                f"{column.null_count} lack {name}: {_AGAIN}"
            )
        is_text = pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
        if not (pa.types.is_integer(column.type) or (text and is_text)):
            rule = "whole numbers or text" if text else "whole numbers"
            raise DatasetError(f"{file} must have {rule} as {name}, but has {column.type}: {_AGAIN}")
        return column

    def _read(self, entry: dict[str, Any]) -> bytes:
        """Read a file once: what is used is what was compared with the checksum."""
        self._check_size(entry)
        with store_errors(self.path, DatasetError, _REACH), (self.path / entry["path"]).open("rb") as file:
            raw: bytes = file.read(entry["bytes"] + 1)
        self._check_sum(entry, hashlib.sha256(raw).hexdigest())
        return raw

    def _check_size(self, entry: dict[str, Any]) -> None:
        file = self.path / entry["path"]
        with store_errors(self.path, DatasetError, _REACH):
            if is_address(self.path):
                size = self._listed.get(entry["path"])
            else:
                size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            state = "is missing" if size is None else f"has {size} bytes instead of {entry['bytes']}"
            raise DatasetError(f"{file} {state}: the dataset is damaged, {_AGAIN}")

    @cached_property
    def _listed(self) -> dict[str, int]:
        """Sizes of all files at an address: one question to the store, not one a file."""
        system, root = self.path.fs, self.path.path  # type: ignore[attr-defined]
        system.invalidate_cache(root)
        return {
            name.removeprefix(root).lstrip("/"): facts["size"]
            for name, facts in system.find(root, detail=True).items()
        }

    def _check_sum(self, entry: dict[str, Any], found: str) -> None:
        if found != entry["sha256"]:
            raise DatasetError(
                f"{self.path / entry['path']} was changed since it was written: its SHA-256 must be "
                f"{entry['sha256']}, but is {found}; {_AGAIN}"
            )


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _unpack(raw: bytes, limit: int) -> tuple[Any, ...]:
    with np.load(io.BytesIO(raw), allow_pickle=False) as archive:
        # Few bytes of a zip file can unpack to more than any memory holds.
        if sum(member.file_size for member in archive.zip.infolist()) > limit:
            raise ValueError(f"unpacked it is larger than {limit} bytes, more than the ratings stated need")
        names = ("indptr", "indices", "data")
        return archive["format"].item(), archive["shape"].tolist(), *(archive[name] for name in names)


def _shard_mistake(
    indptr: _Array, indices: _Array, data: _Array, shape: tuple[int, int], nnz: int
) -> str | None:
    """Return what is wrong with the arrays of a shard, or None."""
    found = [f"{array.dtype} {array.shape}" for array in (indptr, indices, data)]
    if (
        {indptr.dtype, indices.dtype} - {np.dtype(np.int32), np.dtype(np.int64)}
        or data.dtype != np.float32
        or (indptr.shape, indices.shape, data.shape) != ((shape[0] + 1,), (nnz,), (nnz,))
    ):
        return f"must hold {nnz} float32 ratings of {shape[0]} rows, but has arrays of {', '.join(found)}"
    if indptr[0] != 0 or indptr[-1] != nnz or (indptr[1:] < indptr[:-1]).any():
        return f"must have an indptr that rises from 0 to {nnz}"
    if nnz and (indices.min() < 0 or indices.max() >= shape[1]):
        return f"must have column numbers of 0 to {shape[1] - 1}, but has {indices.min()} to {indices.max()}"
    rising = indices[1:] > indices[:-1]
    starts = indptr[1:-1]
    rising[starts[(starts > 0) & (starts < nnz)] - 1] = True  # a new row starts anew
    if not rising.all():
        return "must have column numbers that rise within each row"
    return None if np.isfinite(data).all() else "must have finite ratings"
