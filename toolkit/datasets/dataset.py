"""An ingested dataset: sparse shards and id tables that other tools read too (`docs/dataset-format.md`)."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np

from toolkit.arrays import Array, IntArray, Ratings
from toolkit.datasets import frames
from toolkit.datasets.id_tables import parse_column
from toolkit.datasets.ids import IdTable
from toolkit.datasets.listed_files import ListedFiles
from toolkit.datasets.manifest import AGAIN, INT32_MAX, SHARDS, FileEntry, read_manifest, shards_of
from toolkit.datasets.shards import Shard, parse_shard
from toolkit.datasets.texts import Texts
from toolkit.errors import ConfigError, DatasetError, did_you_mean
from toolkit.files import as_path, is_address

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd
    import scipy.sparse as sp

_TABLES = ("users", "items")


class RatingsDataset:
    r"""An opened dataset directory.

    Each array is read when it is first asked for, compared with its checksum, and kept.

    Parameters
    ----------
    path : Path
        The directory, or the object that stands for it at an address.
    manifest : dict
        Content of its ``manifest.json``.

    Attributes
    ----------
    path : Path
    manifest : dict

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from toolkit import RatingsDataset, RatingsSource, ingest_ratings
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     csv, out = Path(folder, "ratings.csv"), Path(folder, "dataset")
    ...     _ = csv.write_text("user,item,rating\nann,up,4\nann,cars,2\nben,up,5\nben,brave,3\n")
    ...     _ = ingest_ratings(RatingsSource.detect([csv]), out)
    ...     data = RatingsDataset.open(out, verify=True)
    ...     print(data.train.shape, data.user_ids, data.item_ids)
    ...     print(data.to_pandas().to_string(index=False))
    (2, 3) ['ann' 'ben'] ['brave' 'cars' 'up']
    user  item  rating
     ann  cars     2.0
     ann    up     4.0
     ben brave     3.0
     ben    up     5.0
    """

    def __init__(self, path: Path, manifest: dict[str, Any]) -> None:
        self.path = path
        self.manifest = manifest
        self._files = ListedFiles(path, manifest["files"])

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> RatingsDataset:
        """Open a dataset directory.

        Parameters
        ----------
        path : str or Path
            A directory that `ingest_ratings` wrote, or its address, such as ``s3://bucket/ml-20m``.
        verify : bool, default False
            Whether every file is compared with its checksum now. Otherwise each file is when it is read.

        Raises
        ------
        DatasetError
            When it is no dataset, of another format version, its manifest contradicts itself, or a file is
            missing or changed.
        """
        if not isinstance(path, str | os.PathLike):
            raise DatasetError(f"a dataset must be given by its path or address, but got {path!r:.60}")
        root = as_path(cast("str | Path", path), DatasetError)
        dataset = cls(root, read_manifest(root))
        dataset._files.check_sizes()
        if verify:
            dataset._files.check_sums()
        return dataset

    def __reduce__(self) -> tuple[Callable[[str], RatingsDataset], tuple[str]]:
        """Go to another process by the absolute path: it may work in another folder, and opens it again."""
        return RatingsDataset.open, (self.where,)

    @property
    def where(self) -> str:
        """The absolute path of the directory, or its address."""
        return str(self.path if is_address(self.path) else self.path.resolve())

    @property
    def digest(self) -> str:
        """Identity of the content: 32 hexadecimal digits, the same for the same ratings, ids and split."""
        return str(self.manifest["digest"])

    @property
    def derived(self) -> list[dict[str, Any]]:
        """What a sample of users comes from, the nearest first; empty for a dataset of its own.

        Each step has the ``digest`` of the dataset that was sampled, the share of ``users`` and the ``seed``.
        """
        return [dict(step) for step in self.manifest.get("derived", [])]

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
    def train(self) -> Ratings:
        """Training ratings, float32, shape (n_users, n_items)."""
        return self._stack("train/rows")

    @cached_property
    def train_by_item(self) -> Ratings:
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

    def train_and_valid(self) -> Ratings:
        """Return training and validation ratings together, float32, shape (n_users, n_items)."""
        import scipy.sparse as sp

        train, valid = self.train.tocoo(copy=False), self.valid
        # Not a sum of two matrices, which would drop ratings of zero.
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
    def users(self) -> IdTable:
        """The ids of the user rows."""
        return IdTable(self._column("users", "id", text=True), "user")

    @cached_property
    def items(self) -> IdTable:
        """The ids of the item columns."""
        return IdTable(self._column("items", "id", text=True), "item")

    @property
    def user_ids(self) -> Array:
        """Id of each user row: int64, or objects of `str`, shape (n_users,)."""
        return self.users.ids

    @property
    def item_ids(self) -> Array:
        """Id of each item column: int64, or objects of `str`, shape (n_items,)."""
        return self.items.ids

    def training_counts(self, kind: Literal["users", "items"]) -> IntArray:
        """Return how many training ratings each user or each item has; no shard is read.

        Parameters
        ----------
        kind : {"users", "items"}

        Returns
        -------
        array of int64, shape (n_users,) or (n_items,)

        Raises
        ------
        ConfigError
            When there is no such kind.
        DatasetError
            When the table is damaged, or its counts do not add up.
        """
        _check_kind(kind, _TABLES)
        counts: IntArray = np.asarray(self._column(kind, "n_train", text=False)).astype(np.int64, copy=False)
        train = self.manifest["counts"]["train"]
        if counts.min() < 0 or int(counts.sum()) != train:
            raise DatasetError(
                f"{self.path / kind}.parquet must count the {train} training ratings in n_train, but they "
                f"are from {counts.min()} and add up to {counts.sum()}: {AGAIN}"
            )
        return counts

    def shards(self, kind: str) -> list[FileEntry]:
        """Return the manifest's entries of one kind, such as ``"train/rows"``, in order.

        Raises
        ------
        ConfigError
            When there is no such kind; the text names the kinds that there are.
        """
        _check_kind(kind, SHARDS)
        return shards_of(self.manifest["files"], kind)

    def read_shards(self, kind: str) -> Iterator[Shard]:
        """Read the shards of one kind one after the other, each checked against the manifest.

        Yields
        ------
        indptr, indices, data : arrays of int, int and float32, shape (stop - start + 1,), (nnz,) and (nnz,)
            The arrays of a CSR matrix of SciPy.

        Raises
        ------
        ConfigError
            When there is no such kind.
        DatasetError
            When a shard is missing, changed or damaged.
        """
        for entry in self.shards(kind):
            yield self.read_shard(kind, entry)

    def read_shard(self, kind: str, entry: FileEntry) -> Shard:
        """Read one of the entries that `shards` returns; see `read_shards`."""
        shape = entry["stop"] - entry["start"], self.manifest["counts"][SHARDS[kind][2]]
        return parse_shard(self._files.read(entry), self.path / entry["path"], shape=shape, nnz=entry["nnz"])

    def to_pandas(self, split: str = "train") -> pd.DataFrame:
        """Return the ratings of a split with their ids, ordered by row and column of the matrix.

        Parameters
        ----------
        split : {"train", "valid", "test"}

        Returns
        -------
        pandas.DataFrame
            Columns ``user`` and ``item``, of int64 or ``string[pyarrow]``, and ``rating`` of float32.

        Raises
        ------
        ConfigError
            When there is no such split.
        """
        import pandas as pd

        kind = frames.shards_of_split(split)
        shards = zip(self.shards(kind), self.read_shards(kind), strict=True)
        users, items = self.users, self.items
        parts = [frames.frame_of_shard(users, items, entry["start"], shard) for entry, shard in shards]
        return pd.concat(parts, ignore_index=True)

    def to_dask(self, split: str = "train") -> dd.DataFrame:
        """Return what `to_pandas` returns as a Dask DataFrame, a partition for each shard.

        Workers of a cluster open the dataset at the same path or address.
        """
        return cast("dd.DataFrame", frames.dask_frame(self, frames.shards_of_split(split)))

    def _stack(self, kind: str) -> Ratings:
        """Return all shards of one kind as one matrix."""
        import scipy.sparse as sp

        nnz, n_rows, n_columns = (self.manifest["counts"][name] for name in SHARDS[kind])
        # SciPy itself would choose this type for the whole matrix.
        index = np.int32 if max(nnz, n_rows, n_columns) <= INT32_MAX else np.int64
        try:
            # Of full size from the beginning: to stack finished parts needs twice the memory for a while.
            indptr, indices = np.zeros(n_rows + 1, index), np.empty(nnz, index)
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
        return sp.csr_matrix((data, indices, indptr), shape=(n_rows, n_columns), copy=False)

    def _column(self, table: str, name: str, *, text: bool) -> Array | Texts:
        """Return one column of ``users.parquet`` or ``items.parquet``."""
        entry = self._files.entry(f"{table}.parquet")
        content = self._files.read(entry)
        return parse_column(content, self.path / entry["path"], name, rows=entry["rows"], text=text)


def _check_kind(kind: object, kinds: Collection[str]) -> None:
    if kind not in tuple(kinds):
        raise ConfigError(
            f"kind must be one of {', '.join(kinds)}, but got {kind!r:.60}{did_you_mean(str(kind), kinds)}"
        )
