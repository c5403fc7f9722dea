"""A table that is written as files of Arrow before it is read: its columns may be asked for several times."""

from __future__ import annotations

import dataclasses
import itertools
import os
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from toolkit.engines import Cluster, Engine
from toolkit.errors import RatingsError
from toolkit.ingest.frames.chosen import Chosen
from toolkit.ingest.reading import RatingsSource, times
from toolkit.ingest.reading.arrow_columns import check_types
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.typed_files import schema_of
from toolkit.tables import columns_of_frame, plain

if TYPE_CHECKING:
    import pyarrow as pa


def _no_cluster() -> Cluster | None:
    return None


@dataclass(frozen=True)
class WrittenTable:
    """A table, and how it is written.

    Attributes
    ----------
    chosen : Chosen
        Its columns.
    identity : dict
        What tells it apart from another table, for the plan of an ingest.
    write : callable
        Writes it to a folder, in batches of some rows, on an engine, and returns its files.
    cluster : callable
        Returns the cluster that works on it where nobody names an engine, or None.
    """

    chosen: Chosen
    identity: dict[str, Any]
    write: Callable[[Path, int, Engine], list[RatingsFile]]
    cluster: Callable[[], Cluster | None] = _no_cluster

    def written(self, folder: Path, rows: int, engine: Engine) -> RatingsSource:
        """Write the table, and return how to read its files.

        Parameters
        ----------
        folder : Path
            Where to write.
        rows : int
            Rows of a batch, about.
        engine : Engine
            Where the ingest works.

        Raises
        ------
        RatingsError
            When a column is of a type that its role does not allow, or the times of its parts are of several
            kinds, and they are read.
        """
        source, files = self.chosen.source, self.write(folder, rows, engine)
        for file in files:
            check_types(schema_of(file), source, file)
        at = source.timestamp if source.spare_time is None else source.spare_time
        if at is not None:
            odd = next((one for one in files if _kind(one, at) != source.time_kind), None)
            if odd and source.timestamp is not None:
                raise RatingsError(
                    f"{odd}: {self.chosen.names[at]} must hold {source.time_kind}s, as the first rows do, "
                    f"but holds {schema_of(odd).field(at).type}: bring the times to one type"
                )
            if odd:
                # Times that are not alike in all parts tell no order.
                source = dataclasses.replace(source, spare_time=None)
        return dataclasses.replace(source, files=tuple(files))


def ratings_of(frame: Any, chosen: Chosen, title: str, before: int = 0) -> pa.Table:
    """Return the columns of a frame that are read, which has so many rows of the table before it.

    Raises
    ------
    RatingsError
        As of `columns_of_frame`.
    """
    import pyarrow as pa

    columns = columns_of_frame(frame, chosen.positions, chosen.roles, title, before + 1)
    # A column in which nothing is has the type of its role.
    kinds = {"rating": pa.float64(), "timestamp": times.arrow_type(chosen.source.time_kind)}
    for at, role in enumerate(chosen.roles):
        if pa.types.is_null(columns[at].type):
            columns[at] = columns[at].cast(kinds.get(role, pa.string()))
    return pa.table(columns, names=list(chosen.names))


def write_stream(
    tables: Iterable[pa.Table], path_of: Callable[[int], Path], rows: int, title: str
) -> list[RatingsFile]:
    """Write tables one behind the other, and return the files.

    Where the types of the columns change, as they may from one frame of pandas to the next, another file
    begins. Small tables share a batch.

    Parameters
    ----------
    tables : iterable of pyarrow.Table
        With the same columns.
    path_of : callable
        Returns the path of a file by its number.
    rows : int
        Rows of a batch, about.
    title : str
        What errors call the tables.

    Raises
    ------
    RatingsError
        When no table has a row.
    """
    files: list[RatingsFile] = []
    before = 0
    filled = (table for table in tables if len(table))
    for schema, alike in itertools.groupby(filled, key=plain_schema):
        path = path_of(len(files))
        written = write_file(path, schema, _at_least(alike, rows), rows)
        files.append(RatingsFile(str(path), "arrow", title=title, before=before))
        before += written
    if not files:
        raise RatingsError(f"{title} holds no rating: it has no rows")
    return files


def plain_schema(table: pa.Table) -> pa.Schema:
    """Return the schema of the batches that are written of a table."""
    import pyarrow as pa

    return pa.schema([(field.name, plain(pa.nulls(0, field.type)).type) for field in table.schema])


def write_file(path: Path, schema: pa.Schema, tables: Iterable[pa.Table], rows: int) -> int:
    """Write tables to one file of Arrow, which is complete or not there, and return the number of rows.

    Parameters
    ----------
    path : Path
        The file.
    schema : pyarrow.Schema
        What `plain_schema` returns of each table.
    tables : iterable of pyarrow.Table
    rows : int
        Rows of a batch, at most.
    """
    import pyarrow as pa

    # Dask may run a task twice at once when it believes the first lost: each has its own file.
    part = path.with_suffix(f".{os.getpid()}-{threading.get_ident()}.part")
    total = 0
    with pa.OSFile(str(part), "wb") as raw, pa.ipc.new_file(raw, schema) as out:
        for table in tables:
            for batch in _batches_of(table, rows):
                out.write_batch(batch)
                total += len(batch)
    part.replace(path)
    return total


def _batches_of(table: pa.Table, rows: int) -> Iterator[pa.RecordBatch]:
    """Yield a table in record batches of some rows."""
    import pyarrow as pa

    for begin in range(0, len(table), rows):
        columns = [plain(column) for column in table.slice(begin, rows).columns]
        yield pa.record_batch(columns, names=table.column_names)


def _at_least(tables: Iterable[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Yield the tables, small ones together."""
    import pyarrow as pa

    held: list[pa.RecordBatch] = []
    for table in tables:
        for batch in _batches_of(table, rows):
            held.append(batch)
            if sum(map(len, held)) >= rows:
                yield pa.Table.from_batches(held)
                held = []
    if held:
        yield pa.Table.from_batches(held)


def _kind(file: RatingsFile, at: int) -> str:
    """Return the kind of the times of a file; of a file without rows any will do."""
    return times.kind_of_type(schema_of(file).field(at).type)
