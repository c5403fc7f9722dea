"""Recommendations as a table that is written part by part: Parquet or CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from toolkit.errors import ConfigError
from toolkit.evaluation.top_n import Best
from toolkit.tables.arrow import array_of

if TYPE_CHECKING:
    from toolkit.models.base import Model

_Array = np.ndarray[Any, Any]
FORMATS = (".parquet", ".csv")


def check_format(path: Path) -> None:
    """Refuse a name whose ending is that of no format.

    Raises
    ------
    ConfigError
        Naming the valid ones.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"the file to write must end in {' or '.join(FORMATS)}, but is {path.name!r}")


class Table:
    """Rows of user, rank, item, score, and title where titles are known; a row group for each part.

    Parameters
    ----------
    file : file open for writing bytes
    suffix : str
        ``.parquet`` or ``.csv``.
    model : Model
        Whose users and items they are.
    titles : array of str, shape (n_items,), or None
    facts : mapping of str to str
        What is kept in the schema of a Parquet file.
    """

    def __init__(
        self, file: BinaryIO, suffix: str, model: Model, titles: Any, facts: Mapping[str, str]
    ) -> None:
        import pyarrow as pa

        self.rows = 0
        self._users = model.users.ids
        self._items = _column(model.items.ids)
        self._titles = None if titles is None else _column(np.asarray(titles))
        fields = [
            pa.field("user", _column(self._users[:0]).type, nullable=False),
            pa.field("rank", pa.int32(), nullable=False),
            pa.field("item", self._items.type, nullable=False),
            pa.field("score", pa.float32(), nullable=False),
            *([] if self._titles is None else [pa.field("title", pa.string(), nullable=False)]),
        ]
        self._schema = pa.schema(fields, metadata=dict(facts))
        self._writer = _writer(file, suffix.lower(), self._schema)

    def add(self, users: _Array, best: Best) -> None:
        """Write the items of some users; places that are empty (-1) are left out.

        Parameters
        ----------
        users : array of int64, shape (n,)
            Row numbers.
        best : Best
            Their items and predicted ratings.
        """
        import pyarrow as pa

        at, place = np.nonzero(best.items >= 0)
        columns = array_of(best.items[at, place].astype(np.int64))
        arrays = [
            _column(self._users[users]).take(array_of(at)),
            array_of((place + 1).astype(np.int32)),
            self._items.take(columns),
            array_of(best.scores[at, place]),
            *([] if self._titles is None else [self._titles.take(columns)]),
        ]
        batch = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(batch, max(1, batch.num_rows))
        self.rows += batch.num_rows

    def close(self) -> None:
        """End the file; without this it is not complete."""
        self._writer.close()

    def abandon(self) -> None:
        """End no file: what could not be written is not tried again when the writer is cleared away."""
        # That of CSV has nothing left to write.
        if hasattr(self._writer, "is_open"):
            self._writer.is_open = False


def _writer(file: BinaryIO, suffix: str, schema: Any) -> Any:
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.ParquetWriter(file, schema)
    from pyarrow.csv import CSVWriter

    return CSVWriter(file, schema)


def _column(ids: _Array) -> Any:
    import pyarrow as pa

    return pa.array(ids.tolist(), pa.string()) if ids.dtype.kind == "U" else array_of(np.asarray(ids))
