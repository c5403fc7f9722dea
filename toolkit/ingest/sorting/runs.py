"""Sorted runs: a piece of the input on disk, in the order of its users."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.arrays import IntArray
from toolkit.files import append_array
from toolkit.ingest.reading.columns import Columns, KindOfIds
from toolkit.ingest.sorting.array_files import (
    read_array,
    read_ids,
    type_of_numbers,
    write_array,
    write_ids,
)
from toolkit.ingest.sorting.counting import stable_order
from toolkit.tables import DistinctIds

# Columns of a run, in the order of the file; the last two where they are read.
_DTYPES = {"ratings": np.float32, "times": np.int64, "splits": np.uint8}
# What the file has behind them of the distinct users and items. Ids that are text are in files of their own.
_COUNTS = ("user-counts", "item-counts")
_IDS = ("user-ids", "item-ids")


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes
    ----------
    folder : Path
        The folder of its files.
    name : str
        Beginning of their names.
    unit, piece : int
        The unit of the input that it comes from, and the piece of the unit.
    n : int
        Ratings.
    n_users, n_items : int
        Distinct users and items.
    kinds : tuple of str
        ``integer`` or ``text``, for users and items.
    columns : tuple of str
        The columns that it has.
    """

    folder: Path
    name: str
    unit: int
    piece: int
    n: int
    n_users: int
    n_items: int
    kinds: tuple[KindOfIds, KindOfIds]
    columns: tuple[str, ...]

    @property
    def path(self) -> str:
        """Beginning of the paths of its files."""
        return f"{self.folder}/{self.name}"

    def counts(self, begin: int = 0, end: int | None = None) -> IntArray:
        """Return the ratings of each distinct user, int32."""
        return self.column("user-counts", begin, end)

    def item_counts(self) -> tuple[IntArray, IntArray]:
        """Return the columns of the distinct items, and the ratings of each."""
        return self._distinct_columns(), self.column("item-counts")

    def user_ids(self) -> DistinctIds:
        """Return the distinct users."""
        return self._ids(0)

    def item_ids(self) -> DistinctIds:
        """Return the distinct items."""
        return self._ids(1)

    def column(self, name: str, begin: int = 0, end: int | None = None) -> IntArray:
        """Return entries ``begin <= at < end`` of a column, or of another array of its file."""
        before = 0
        for other, dtype, length in self._arrays():
            if other == name:
                break
            before += length * dtype.itemsize
        return read_array(f"{self.path}.run", dtype, begin, length if end is None else end, before)

    def _arrays(self) -> Iterator[tuple[str, np.dtype[Any], int]]:
        """Yield name, type and length of each array of its file, in their order."""
        for name in self.columns:
            yield name, _dtype(name, self.n_items), self.n
        sizes = (self.n_users, self.n_items)
        for name, size in zip(_COUNTS, sizes, strict=True):
            yield name, np.dtype(np.int32), size
        for name, size, kind in zip(_IDS, sizes, self.kinds, strict=True):
            if kind == "integer":
                yield name, np.dtype(np.int64), size

    def _ids(self, role: int) -> DistinctIds:
        name = _IDS[role]
        return self.column(name) if self.kinds[role] == "integer" else read_ids(f"{self.path}.{name}")

    def set_numbers(self, users: IntArray, items: IntArray) -> None:
        """Keep the row of each distinct user and the column of each distinct item, both int32."""
        write_array(f"{self.path}.numbers", np.concatenate([users, items]))

    def user_rows(self, begin: int = 0, end: int | None = None) -> IntArray:
        """Return the row of each distinct user, ascending."""
        return read_array(f"{self.path}.numbers", np.int32, begin, self.n_users if end is None else end)

    def item_columns(self, begin: int = 0, end: int | None = None) -> IntArray:
        """Return the column of each rating."""
        return self._distinct_columns()[self.column("items", begin, end)]

    def _distinct_columns(self) -> IntArray:
        return read_array(f"{self.path}.numbers", np.int32, self.n_users)


def write_run(folder: Path, unit: int, piece: int, columns: Columns) -> Run:
    """Sort a piece of the input by its users, keep the order of the input within each, and write it.

    Parameters
    ----------
    folder : Path
        Where to write.
    unit, piece : int
        The unit of the input, and the piece of the unit.
    columns : Columns
        The ratings.
    """
    name = f"run-{unit:06d}-{piece:04d}"
    path = folder / name
    n_users, n_items = len(columns.users.distinct), len(columns.items.distinct)
    codes = columns.users.codes
    counts = np.bincount(codes, minlength=n_users).astype(np.int32)
    order = None if (codes[1:] >= codes[:-1]).all() else stable_order(codes, n_users)
    present = {
        "items": columns.items.codes,
        "ratings": columns.ratings,
        "times": columns.times,
        "splits": columns.splits,
    }
    held = {column: values for column, values in present.items() if values is not None}
    items = np.bincount(columns.items.codes, minlength=n_items)
    with Path(f"{path}.run").open("wb") as file:
        for column, entries in held.items():
            values = np.asarray(entries, _dtype(column, n_items))
            append_array(file, values if order is None else values[order])
        append_array(file, counts)
        append_array(file, items.astype(np.int32))
        for role, ids in zip(_IDS, (columns.users.distinct, columns.items.distinct), strict=True):
            if isinstance(ids, np.ndarray):
                append_array(file, ids)
            else:
                write_ids(f"{path}.{role}", ids)
    kinds = (columns.users.kind, columns.items.kind)
    return Run(folder, name, unit, piece, len(columns), n_users, n_items, kinds, tuple(held))


def _dtype(column: str, n_items: int) -> np.dtype[Any]:
    return type_of_numbers(n_items) if column == "items" else np.dtype(_DTYPES[column])
