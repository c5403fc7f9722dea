"""Files of typed columns, Parquet or Arrow: their schema, and their rows group by group."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from toolkit.ingest.reading.ratings_file import RatingsFile, open_raw, read_errors

if TYPE_CHECKING:
    import pyarrow as pa


def schema_of(file: RatingsFile) -> pa.Schema:
    """Return the schema of a file."""
    import pyarrow.parquet as pq

    if file.kind == "arrow":
        with _opened(file) as reader:
            return reader.schema
    with read_errors(file, "as Parquet"), open_raw(file.path) as raw:
        return pq.read_schema(raw)


def group_count(file: RatingsFile) -> int:
    """Return how many row groups a Parquet file has, or record batches an Arrow file."""
    import pyarrow.parquet as pq

    if file.kind == "arrow":
        with _opened(file) as reader:
            return int(reader.num_record_batches)
    with read_errors(file, "as Parquet"), open_raw(file.path) as raw:
        return int(pq.read_metadata(raw).num_row_groups)


def rows_before(file: RatingsFile, group: int) -> int:
    """Return the rows of a file before one of its groups."""
    import pyarrow.parquet as pq

    if file.kind == "arrow":
        with _opened(file) as reader:
            return sum(reader.get_batch(at).num_rows for at in range(group))
    with read_errors(file, "as Parquet"), open_raw(file.path) as raw:
        metadata = pq.read_metadata(raw)
    return sum(metadata.row_group(at).num_rows for at in range(group))


def batches(
    file: RatingsFile, group: int, columns: Sequence[int], rows: int
) -> Iterator[tuple[pa.Schema, pa.RecordBatch]]:
    """Yield the schema of a file, and some columns of a group, in batches of some rows.

    Parameters
    ----------
    file : RatingsFile
        The file.
    group : int
        Number of the group.
    columns : sequence of int
        Positions of the columns.
    rows : int
        Rows of a batch, at most.
    """
    import pyarrow.parquet as pq

    if file.kind == "arrow":
        with _opened(file, columns) as reader:
            schema, whole = schema_of(file), reader.get_batch(group)
            for begin in range(0, whole.num_rows, rows):
                yield schema, whole.slice(begin, rows)
        return
    with read_errors(file, "to its end"), open_raw(file.path) as raw:
        opened = pq.ParquetFile(raw)
        schema = opened.schema_arrow
        wanted = sorted({schema.names[at] for at in columns})
        for batch in opened.iter_batches(
            batch_size=rows, row_groups=[group], columns=wanted, use_threads=False
        ):
            yield schema, batch


@contextlib.contextmanager
def _opened(file: RatingsFile, columns: Sequence[int] | None = None) -> Iterator[pa.RecordBatchFileReader]:
    import pyarrow as pa

    fields = None if columns is None else sorted(set(columns))
    options = pa.ipc.IpcReadOptions(included_fields=fields, use_threads=False)
    # Of the columns that are not asked for, no page is read.
    with read_errors(file, "as a table"), pa.memory_map(file.path) as mapped:
        yield pa.ipc.open_file(mapped, options=options)
