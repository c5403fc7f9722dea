"""An ingested dataset: sparse shards and id tables that other tools read too (`docs/dataset-format.md`)."""

from __future__ import annotations

import hashlib
import json
import zipfile
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.errors import DatasetError

FORMAT = "walslab-dataset"
FORMAT_VERSION = 1


class RatingsDataset:
    """An opened dataset directory; what is asked for is read then, and kept.

    Parameters
    ----------
    path : Path
        The directory.
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
            What `ingest_ratings` wrote.
        verify : bool, default False
            Whether every file is compared with its checksum now.

        Raises
        ------
        DatasetError
            When it is no dataset, of another format version, or a file is missing or changed.
        """
        path = Path(path)
        try:
            manifest = json.loads((path / "manifest.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError) as error:
            raise DatasetError(
                f"{path} is not a dataset: it has no manifest.json; make one with `walslab ingest RATINGS "
                f"--out {path}`"
            ) from error
        except ValueError as error:
            raise DatasetError(
                f"{path / 'manifest.json'} is not valid JSON: {error}; ingest the ratings again"
            ) from error
        if not isinstance(manifest, dict):
            manifest = {}
        found = (manifest.get("format"), manifest.get("format_version"))
        if found != (FORMAT, FORMAT_VERSION):
            raise DatasetError(
                f"{path} must be of format {FORMAT} version {FORMAT_VERSION}, but states {found[0]} "
                f"{found[1]}: "
                "ingest the ratings again"
            )
        missing = [key for key in ("digest", "counts", "split", "source", "files") if key not in manifest]
        if missing:
            raise DatasetError(
                f"{path / 'manifest.json'} lacks {', '.join(missing)}: ingest the ratings again"
            )
        dataset = cls(path, manifest)
        for entry in manifest["files"]:
            dataset._check(entry, verify=verify)
        return dataset

    def _check(self, entry: dict[str, Any], *, verify: bool) -> None:
        file = self.path / entry["path"]
        size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            state = "is missing" if size is None else f"has {size} bytes instead of {entry['bytes']}"
            raise DatasetError(f"{file} {state}: the dataset is damaged, ingest the ratings again")
        if verify and sha256_of(file) != entry["sha256"]:
            raise DatasetError(f"{file} was changed since it was written: ingest the ratings again")

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
        return self._stack("valid/rows").tocoo()

    @cached_property
    def test(self) -> sp.coo_matrix:
        """Test ratings, float32, shape (n_users, n_items)."""
        return self._stack("test/rows").tocoo()

    def train_and_valid(self) -> sp.csr_matrix:
        """Return training and validation ratings together, float32, shape (n_users, n_items)."""
        train, valid = self.train.tocoo(), self.valid
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
    def user_ids(self) -> np.ndarray[Any, Any]:
        """Id of each user row: int64 or str, shape (n_users,)."""
        return self._ids("users.parquet")

    @cached_property
    def item_ids(self) -> np.ndarray[Any, Any]:
        """Id of each item column: int64 or str, shape (n_items,)."""
        return self._ids("items.parquet")

    def shards(self, kind: str) -> list[dict[str, Any]]:
        """Return the manifest's entries of one kind, such as ``"train/rows"``, in order."""
        return [entry for entry in self.manifest["files"] if entry["path"].startswith(kind + "-")]

    def _stack(self, kind: str) -> sp.csr_matrix:
        try:
            parts = [sp.load_npz(self.path / entry["path"]) for entry in self.shards(kind)]
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DatasetError(
                f"a shard of {self.path / kind} cannot be read: {error}; ingest again"
            ) from error
        return parts[0] if len(parts) == 1 else sp.csr_matrix(sp.vstack(parts, format="csr"))

    def _ids(self, name: str) -> np.ndarray[Any, Any]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            column = pq.read_table(self.path / name, columns=["id"]).column("id")
        except (OSError, pa.ArrowException) as error:
            raise DatasetError(f"{self.path / name} cannot be read: {error}; ingest again") from error
        if pa.types.is_integer(column.type):
            integers: np.ndarray[Any, Any] = column.to_numpy()
            return integers
        return np.array(column.to_pylist(), dtype=np.str_)


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
