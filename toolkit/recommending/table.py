"""The table of recommendations, which is written part by part as Parquet or CSV."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from toolkit.arrays import Array, IntArray
from toolkit.backends import Best
from toolkit.errors import ConfigError
from toolkit.tables import array_of

if TYPE_CHECKING:
    from toolkit.models import Model

FORMATS = (".parquet", ".csv")


def check_format(path: Path) -> None:
    """Refuse a file name whose ending is that of no format.

    Raises
    ------
    ConfigError
        When it is; the text names the valid endings.
    """
    if path.suffix.lower() not in FORMATS:
        raise ConfigError(f"the file to write must end in {' or '.join(FORMATS)}, but is {path.name!r}")


class Table:
    """Rows of user, rank, item, score, and title where titles are known; a row group for each part.

    Parameters
    ----------
    file : file open for writing bytes
        The file to write.
    suffix : str
        ``.parquet`` or ``.csv``.
    model : Model
        Gives the ids of users and items.
    titles : array of str, shape (n_items,), or None
        Titles of the items.
    facts : mapping of str to str
        Facts that the schema of a Parquet file keeps.

    Attributes
    ----------
    rows : int
        Rows written so far.
    """

    def __init__(
        self, file: BinaryIO, suffix: str, model: Model, titles: Array | None, facts: Mapping[str, str]
    ) -> None:
        import pyarrow as pa

        self.rows = 0
        self._users = model.users
        self._items = _column(model.items.ids)
        self._titles = None if titles is None else _column(np.asarray(titles))
        fields = [
            pa.field("user", _column(self._users.at([])).type, nullable=False),
            pa.field("rank", pa.int32(), nullable=False),
            pa.field("item", self._items.type, nullable=False),
            pa.field("score", pa.float32(), nullable=False),
            *([] if self._titles is None else [pa.field("title", pa.string(), nullable=False)]),
        ]
        self._schema = pa.schema(fields, metadata=dict(facts))
        self._writer = _writer(file, suffix.lower(), self._schema)

    def add(self, users: IntArray, best: Best) -> None:
        """Write the items of some users; what holds no item (-1) is left out.

        Parameters
        ----------
        users : array of int64, shape (n,)
            Row numbers of the users.
        best : Best
            Items and predicted ratings of these users.
        """
        import pyarrow as pa

        user, rank = np.nonzero(best.items >= 0)
        items = array_of(best.items[user, rank].astype(np.int64))
        arrays = [
            _column(self._users.at(users)).take(array_of(user)),
            array_of((rank + 1).astype(np.int32)),
            self._items.take(items),
            array_of(best.scores[user, rank]),
            *([] if self._titles is None else [self._titles.take(items)]),
        ]
        batch = pa.Table.from_arrays(arrays, schema=self._schema)
        self._writer.write_table(batch, max(1, batch.num_rows))
        self.rows += batch.num_rows

    def close(self) -> None:
        """End the file, which is not complete before."""
        self._writer.close()

    def abandon(self) -> None:
        """Give the file up: the writer does not try to write the rest when it is cleared away."""
        # The writer of CSV holds nothing back.
        if hasattr(self._writer, "is_open"):
            self._writer.is_open = False


def _writer(file: BinaryIO, suffix: str, schema: Any) -> Any:
    if suffix == ".parquet":
        import pyarrow.parquet as pq

        return pq.ParquetWriter(file, schema)
    from pyarrow.csv import CSVWriter

    return CSVWriter(file, schema)


def _column(ids: Array) -> Any:
    import pyarrow as pa

    return pa.array(ids.tolist(), pa.string()) if ids.dtype.kind == "O" else array_of(np.asarray(ids))
