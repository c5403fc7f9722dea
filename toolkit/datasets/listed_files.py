"""The files that a dataset's manifest lists, compared with its sizes and checksums."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

from toolkit.datasets.manifest import AGAIN, STORE_WAY_OUT, FileEntry
from toolkit.errors import DatasetError
from toolkit.files import is_address, sha256_of, store_errors


class ListedFiles:
    """The files in a directory or at an address.

    Parameters
    ----------
    root : Path
        The directory, or the object that stands for it at an address.
    entries : sequence of FileEntry
        The manifest's list.

    Attributes
    ----------
    entries : sequence of FileEntry
    """

    def __init__(self, root: Path, entries: Sequence[FileEntry]) -> None:
        self._root, self.entries = root, entries

    def entry(self, path: str) -> FileEntry:
        """Return the entry of one file."""
        return next(entry for entry in self.entries if entry["path"] == path)

    def check_sizes(self) -> None:
        """Refuse files that are missing or have another size; raises `DatasetError`."""
        for entry in self.entries:
            self._check_size(entry)

    def check_sums(self) -> None:
        """Read every file, and refuse those that have another checksum; raises `DatasetError`."""
        for entry in self.entries:
            with store_errors(self._root, DatasetError, STORE_WAY_OUT):
                digest = sha256_of(self._root / entry["path"])
            self._check_sum(entry, digest)

    def read(self, entry: FileEntry) -> bytes:
        """Return the content of a file: the bytes that were compared with the checksum.

        Raises
        ------
        DatasetError
            When the file is missing or changed, or its store fails.
        """
        self._check_size(entry)
        path = self._root / entry["path"]
        with store_errors(self._root, DatasetError, STORE_WAY_OUT), path.open("rb") as file:
            content: bytes = file.read(entry["bytes"] + 1)
        self._check_sum(entry, hashlib.sha256(content).hexdigest())
        return content

    def _check_size(self, entry: FileEntry) -> None:
        file = self._root / entry["path"]
        size: int | None
        with store_errors(self._root, DatasetError, STORE_WAY_OUT):
            if is_address(self._root):
                size = self._sizes_in_store.get(entry["path"])
            else:
                size = file.stat().st_size if file.is_file() else None
        if size != entry["bytes"]:
            state = "is missing" if size is None else f"has {size} bytes instead of {entry['bytes']}"
            raise DatasetError(f"{file} {state}: the dataset is damaged, {AGAIN}")

    def _check_sum(self, entry: FileEntry, digest: str) -> None:
        if digest != entry["sha256"]:
            raise DatasetError(
                f"{self._root / entry['path']} was changed since it was written: its SHA-256 must be "
                f"{entry['sha256']}, but is {digest}; {AGAIN}"
            )

    @cached_property
    def _sizes_in_store(self) -> dict[str, int]:
        """Sizes of all files at an address, from one request to the store instead of one for each file."""
        system, root = self._root.fs, self._root.path  # type: ignore[attr-defined]
        system.invalidate_cache(root)
        return {
            name.removeprefix(root).lstrip("/"): facts["size"]
            for name, facts in system.find(root, detail=True).items()
        }
