"""Sorted runs: a piece of the input on disk, in the order of its users."""

from __future__ import annotations

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
        return read_array(f"{self.path}.counts", np.int32, begin, end)

    def item_counts(self) -> tuple[IntArray, IntArray]:
        """Return the columns of the distinct items, and the ratings of each."""
        columns = read_array(f"{self.path}.distinct-columns", np.int32)
        return columns, read_array(f"{self.path}.item-counts", np.int32)

    def user_ids(self) -> DistinctIds:
        """Return the distinct users."""
        return read_ids(f"{self.path}.users")

    def item_ids(self) -> DistinctIds:
        """Return the distinct items."""
        return read_ids(f"{self.path}.items")

    def column(self, name: str, begin: int = 0, end: int | None = None) -> IntArray:
        """Return entries ``begin <= at < end`` of a column."""
        before = 0
        for other in self.columns:
            if other == name:
                break
            before += self.n * _dtype(other, self.n_items).itemsize
        dtype = _dtype(name, self.n_items)
        return read_array(f"{self.path}.rows", dtype, begin, self.n if end is None else end, before)

    def set_numbers(self, users: IntArray, items: IntArray) -> None:
        """Keep the row of each distinct user and the column of each distinct item, both int32."""
        write_array(f"{self.path}.user-rows", users)
        write_array(f"{self.path}.distinct-columns", items)

    def user_rows(self, begin: int = 0, end: int | None = None) -> IntArray:
        """Return the row of each distinct user, ascending."""
        return read_array(f"{self.path}.user-rows", np.int32, begin, end)

    def item_columns(self, begin: int = 0, end: int | None = None) -> IntArray:
        """Return the column of each rating."""
        columns, _ = self.item_counts()
        return columns[self.column("items", begin, end)]


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
    with Path(f"{path}.rows").open("wb") as file:
        for column, entries in held.items():
            values = np.asarray(entries, _dtype(column, n_items))
            append_array(file, values if order is None else values[order])
    write_array(f"{path}.counts", counts)
    items = np.bincount(columns.items.codes, minlength=n_items)
    write_array(f"{path}.item-counts", items.astype(np.int32))
    write_ids(f"{path}.users", columns.users.distinct)
    write_ids(f"{path}.items", columns.items.distinct)
    kinds = (columns.users.kind, columns.items.kind)
    return Run(folder, name, unit, piece, len(columns), n_users, n_items, kinds, tuple(held))


def _dtype(column: str, n_items: int) -> np.dtype[Any]:
    return type_of_numbers(n_items) if column == "items" else np.dtype(_DTYPES[column])
