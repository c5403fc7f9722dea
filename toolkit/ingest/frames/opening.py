"""The tables that an ingest takes besides files, and what it says of anything else."""

from __future__ import annotations

import functools
import itertools
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.engines import Engine
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest.frames.chosen import Chosen, check_index, chosen_columns
from toolkit.ingest.frames.dask_frames import is_dask_frame, open_dask_frame
from toolkit.ingest.frames.written import WrittenTable, ratings_of, write_stream
from toolkit.ingest.reading.asked import Asked
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.tables import like_pandas, names_of, rows_as_text, schema_of_frame

TITLE = "the table"
# Rows of a frame in memory that are converted at once.
_AT_ONCE = 1 << 18


def open_table(table: Any, asked: Asked) -> WrittenTable:
    """Return a table as something that can be written in files of Arrow.

    Parameters
    ----------
    table : object
        A DataFrame of Dask, pandas, Polars or cuDF, what exports a stream of Arrow, or an iterator of such.
    asked : Asked
        What the user says of its columns and ids.

    Raises
    ------
    ConfigError
        When it is no table.
    RatingsError
        When it has no columns of users, items and ratings.
    """
    if is_dask_frame(table):
        return open_dask_frame(table, asked)
    pieces = _pieces(table)
    first = next(pieces, None)
    if first is None:
        raise RatingsError(f"{TITLE} holds no rating: the iterator is empty")
    check_index(TITLE, first, asked)
    chosen = chosen_columns(TITLE, schema_of_frame(first), functools.partial(rows_as_text, first), asked)
    write = functools.partial(_write, itertools.chain([first], pieces), chosen)
    return WrittenTable(chosen, {"table": uuid.uuid4().hex}, write)


def _pieces(table: Any) -> Iterator[Any]:
    """Yield a table in frames of pandas' kind and record batches, none of which needs much memory."""
    import pyarrow as pa

    if like_pandas(table):
        for begin in range(0, max(len(table), 1), _AT_ONCE):
            yield table.iloc[begin : begin + _AT_ONCE]
    elif hasattr(table, "__arrow_c_stream__"):
        reader = pa.RecordBatchReader.from_stream(table)
        yield from reader if reader.schema.names else ()
        yield reader.schema.empty_table()
    elif hasattr(table, "__arrow_c_array__"):
        yield pa.record_batch(table)
    elif isinstance(table, Iterable) and not isinstance(table, str | bytes | dict | Path):
        for one in table:
            if isinstance(one, str | bytes | dict | Path):
                raise _no_table(one)
            yield from _pieces(one)
    else:
        raise _no_table(table)


def _no_table(table: object) -> ConfigError:
    collect = ": call its collect()" if hasattr(table, "collect") else ""
    return ConfigError(
        'source must be a RatingsSource, such as RatingsSource.detect(["ratings.csv"]), or a table: a '
        "DataFrame of Dask, pandas, Polars or cuDF, a table or reader of Arrow, or an iterator of them, but "
        f"got {table!r:.80}{collect}"
    )


def _write(pieces: Iterator[Any], chosen: Chosen, folder: Path, rows: int, _: Engine) -> list[RatingsFile]:
    def tables() -> Iterator[Any]:
        before = 0
        for piece in pieces:
            names = names_of(piece)
            odd = [name for name in chosen.names if names.count(name) != 1]
            if odd:
                raise RatingsError(
                    f"{TITLE}, row {before + 1}: each part of it must have the columns "
                    f"{', '.join(chosen.names)} of the first, but one has {', '.join(names)}"
                )
            table = ratings_of(piece, chosen.at(tuple(map(names.index, chosen.names))), TITLE, before)
            before += len(table)
            yield table

    return write_stream(tables(), lambda at: folder / f"table-{at:06d}.arrow", rows, TITLE)
