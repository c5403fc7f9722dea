"""Row groups of Parquet files, and record batches of tables, to columns."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from toolkit.ingest.reading.arrow_columns import Batch, check_types, columns_of, positions_of
from toolkit.ingest.reading.blocks import Unit
from toolkit.ingest.reading.columns import Columns, as_text
from toolkit.ingest.reading.rejections import Rejections
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.reading.typed_files import batches
from toolkit.tables import plain

BYTES_PER_ROW = 24


def rows_at_once(block_bytes: int) -> int:
    """Return how many rows of typed columns stand for a block of text."""
    return max(1, block_bytes // BYTES_PER_ROW)


def read_group(
    unit: Unit, source: RatingsSource, block_bytes: int
) -> Iterator[tuple[Columns, Rejections, int]]:
    """Yield the ratings of a group batch by batch, its bad rows, and the number of rows up to there.

    Raises
    ------
    RatingsError
        When the file cannot be read, or a column is of a type that its role does not allow.
    """
    file = source.files[unit.file]
    for before, batch in _batches(unit, source, block_bytes):
        columns, bad, good = columns_of(batch, source, file, before)
        yield columns, bad, before + len(good)


def pairs(unit: Unit, source: RatingsSource, block_bytes: int, piece: int) -> Iterator[tuple[int, str, str]]:
    """Yield row, from 1, user and item of the ratings of one batch of a group."""
    before, batch = next(itertools.islice(_batches(unit, source, block_bytes), piece, None))
    columns, _, good = columns_of(batch, source, source.files[unit.file], before)
    users, items = (as_text(ids.distinct).to_pylist() for ids in (columns.users, columns.items))
    rows = (np.flatnonzero(good) + before + 1).tolist()
    for row, user, item in zip(rows, columns.users.codes, columns.items.codes, strict=True):
        yield row, users[user], items[item]


def _batches(unit: Unit, source: RatingsSource, block_bytes: int) -> Iterator[tuple[int, Batch]]:
    """Yield the number of rows before each batch of a group, and its columns by their position."""
    file, positions = source.files[unit.file], positions_of(source)
    before = 0
    for schema, batch in batches(file, unit.begin, positions, rows_at_once(block_bytes)):
        if not before:
            check_types(schema, source, file)
        yield before, {position: plain(batch.column(schema.names[position])) for position in positions}
        before += len(batch)
