"""Sorted runs: a piece of the input on disk, in the order of its users."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.ingest.reading.columns import Columns, Ids, as_text
from toolkit.ingest.sorting.array_files import append, put
from toolkit.ingest.sorting.counting import stable_order

_Array = np.ndarray[Any, Any]
# Columns of a run, in the order of the file; the last two where they are read.
_DTYPES = {"items": np.int32, "ratings": np.float32, "times": np.int64, "splits": np.uint8}


@dataclass(frozen=True)
class Run:
    """A run on disk.

    Attributes
    ----------
    folder : Path
        Where its files are.
    name : str
        Beginning of their names.
    unit, piece : int
        Which unit of the input it comes from, and which piece of that.
    n : int
        Ratings.
    n_users : int
        Distinct users.
    kinds : tuple of str
        ``integer`` or ``text``, for users and items.
    columns : tuple of str
        Which columns it has.
    """

    folder: Path
    name: str
    unit: int
    piece: int
    n: int
    n_users: int
    kinds: tuple[str, str]
    columns: tuple[str, ...]

    @property
    def path(self) -> str:
        """Beginning of the paths of its files."""
        return f"{self.folder}/{self.name}"

    def counts(self, begin: int = 0, end: int | None = None) -> _Array:
        """Return the ratings of each distinct user, int32."""
        return _read(f"{self.path}.counts", np.int32, begin, self.n_users if end is None else end)

    def item_counts(self) -> tuple[_Array, _Array]:
        """Return the columns of the distinct items, and the ratings of each."""
        columns = np.fromfile(f"{self.path}.distinct-columns", np.int32)
        return columns, np.fromfile(f"{self.path}.item-counts", np.int32)

    def user_ids(self) -> Any:
        """Return the distinct users, ascending: int64, or pyarrow.StringArray."""
        return _read_ids(f"{self.path}.users", self.kinds[0])

    def item_ids(self) -> Any:
        """Return the distinct items, ascending: int64, or pyarrow.StringArray."""
        return _read_ids(f"{self.path}.items", self.kinds[1])

    def column(self, name: str, begin: int = 0, end: int | None = None) -> _Array:
        """Return entries ``begin <= at < end`` of a column."""
        before = 0
        for other in self.columns:
            if other == name:
                break
            before += self.n * np.dtype(_DTYPES[other]).itemsize
        return _read(f"{self.path}.rows", _DTYPES[name], begin, self.n if end is None else end, before)

    def set_numbers(self, users: _Array, items: _Array) -> None:
        """Keep the row of each distinct user and the column of each distinct item, both int32."""
        put(f"{self.path}.user-rows", users)
        put(f"{self.path}.distinct-columns", items)

    def user_rows(self, begin: int = 0, end: int | None = None) -> _Array:
        """Return the row of each distinct user, ascending."""
        return _read(f"{self.path}.user-rows", np.int32, begin, self.n_users if end is None else end)

    def item_columns(self, begin: int = 0, end: int | None = None) -> _Array:
        """Return the column of each rating."""
        columns, _ = self.item_counts()
        found: _Array = columns[self.column("items", begin, end)]
        return found


def write_run(folder: Path, unit: int, piece: int, columns: Columns) -> Run:
    """Sort a piece of the input by its users, keeping the order of the input within each, and write it."""
    name = f"run-{unit:06d}-{piece:04d}"
    path = folder / name
    n_users = len(columns.users.distinct)
    codes = columns.users.codes
    counts = np.bincount(codes, minlength=n_users).astype(np.int32)
    order = None if (codes[1:] >= codes[:-1]).all() else stable_order(codes, n_users)
    present = {
        "items": columns.items.codes,
        "ratings": columns.ratings,
        "times": columns.times,
        "splits": columns.splits,
    }
    held = tuple(column for column, values in present.items() if values is not None)
    with Path(f"{path}.rows").open("wb") as file:
        for column in held:
            values = np.asarray(present[column], _DTYPES[column])
            append(file, values if order is None else values[order])
    put(f"{path}.counts", counts)
    items = np.bincount(columns.items.codes, minlength=len(columns.items.distinct))
    put(f"{path}.item-counts", items.astype(np.int32))
    _write_ids(f"{path}.users", columns.users)
    _write_ids(f"{path}.items", columns.items)
    kinds = (columns.users.kind, columns.items.kind)
    return Run(folder, name, unit, piece, len(columns), n_users, kinds, held)


def _write_ids(path: str, ids: Ids) -> None:
    if ids.kind == "integer":
        put(path, ids.distinct)
        return
    import pyarrow as pa

    table = pa.table({"id": as_text(ids.distinct)})
    with pa.OSFile(path, "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table)


def _read_ids(path: str, kind: str) -> Any:
    if kind == "integer":
        return np.fromfile(path, np.int64)
    import pyarrow as pa

    with pa.OSFile(path, "rb") as file, pa.ipc.open_file(file) as reader:
        return reader.read_all().column("id").combine_chunks()


def _read(path: str, dtype: Any, begin: int, end: int, before: int = 0) -> _Array:
    at = before + begin * np.dtype(dtype).itemsize
    return np.fromfile(path, dtype, count=end - begin, offset=at)
