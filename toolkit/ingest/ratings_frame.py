"""Ratings files as a Dask DataFrame, for those who clean or join ratings before they ingest them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest.options import BAD_ROWS, BadRows
from toolkit.ingest.reading import IdKind, RatingsSource, times
from toolkit.ingest.reading.blocks import Unit, units
from toolkit.ingest.reading.columns import Columns, Ids, KindOfIds, as_text
from toolkit.ingest.reading.diagnosis import bad_row_error
from toolkit.ingest.reading.line_numbers import lines_before
from toolkit.ingest.reading.quotes import OpenQuoteError
from toolkit.ingest.reading.reader import read_unit
from toolkit.ingest.stages import changed_while_read
from toolkit.inputs import checked_number, checked_word
from toolkit.tables import ids_for_pandas, whole_number

if TYPE_CHECKING:
    import dask.dataframe as dd
    import pandas as pd

_BLOCK_BYTES = 16 << 20
_SAMPLE_BYTES = 1 << 16


def read_ratings(
    paths: Sequence[str | Path] | RatingsSource,
    *,
    columns: Sequence[str | int] | None = None,
    ids: IdKind = "auto",
    bad_rows: BadRows = "error",
    block_bytes: int | None = _BLOCK_BYTES,
) -> dd.DataFrame:
    r"""Return the ratings of files as a Dask DataFrame, which reads them when it is computed.

    Every row is checked as `ingest_ratings` checks it. Pairs that are rated several times stay as they are.

    Parameters
    ----------
    paths : sequence of str or Path, or RatingsSource
        Files, patterns, directories or addresses; or what `RatingsSource.detect` made of them, with its other
        arguments.
    columns : sequence of str or int, optional
        User, item, rating and perhaps timestamp; see `RatingsSource.detect`.
    ids : {"auto", "integer", "text"}
        What ids are. The first lines decide what ``auto`` is, for all partitions alike.
    bad_rows : {"error", "drop"}
        What becomes of rows that are no ratings.
    block_bytes : int or None
        Bytes of text that a partition is read from. None makes a partition of each file, as text needs in
        which a quoted field goes over several lines. A row group of Parquet is a partition.

    Returns
    -------
    dask.dataframe.DataFrame
        Columns ``user`` and ``item``, of int64 or ``string[pyarrow]``; ``rating`` of float32; and
        ``timestamp`` where the files have one: int64, float64 or datetimes, as they are written. The order is
        that of the input.

    Raises
    ------
    RatingsError
        When a file cannot be read as ratings: here, for what the first lines show, and otherwise when the
        partition is computed. The text names file, line, field and value.
    ConfigError
        When an argument is of the wrong kind.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from toolkit import ingest_ratings, read_ratings
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder, "ratings.csv")
    ...     _ = path.write_text("user,item,rating\nann,1,4\nann,2,0\nben,1,5\nben,3,3\n")
    ...     ratings = read_ratings([path])
    ...     data = ingest_ratings(ratings[ratings.rating > 0], f"{folder}/dataset")
    ...     print(data.counts["ratings"], data.item_ids)
    3 [1 3]
    """
    import dask.dataframe as dd

    drop = checked_word("bad_rows", bad_rows, BAD_ROWS) == "drop"
    if not isinstance(paths, RatingsSource):
        paths = RatingsSource.detect(paths, columns=columns, ids=ids)
    source = paths if paths.spare_time is None else dataclasses.replace(paths.with_times(), spare_time=None)
    if block_bytes is None:
        # Read from its beginning, so that quoted fields may hold line ends.
        source = dataclasses.replace(source, folded=source.quoted)
        found = [dataclasses.replace(unit, end=None) for unit in units(source, 1 << 62)]
    else:
        found = units(source, checked_number("block_bytes", block_bytes, 1))
    kinds = _kinds_of_first(source, drop=drop)
    words: list[IdKind] = [
        "words" if (asked, kind) == ("auto", "text") else asked
        for asked, kind in zip(source.ids, kinds, strict=True)
    ]
    read = _Read(dataclasses.replace(source, ids=(words[0], words[1])), kinds, drop, _states(source))
    made: dd.DataFrame = dd.from_map(read, found, meta=read.frame(Columns.none()), label="walslab-ratings")
    return made


def _states(source: RatingsSource) -> tuple[tuple[int, str], ...]:
    return tuple(file.state() for file in source.files)


def _kinds_of_first(source: RatingsSource, *, drop: bool) -> tuple[KindOfIds, KindOfIds]:
    """Return what the ids of the first users and items are."""
    for unit in units(source, _SAMPLE_BYTES):
        for columns in _checked(unit, source, _SAMPLE_BYTES, drop=drop):
            if len(columns):
                return columns.users.kind, columns.items.kind
    raise RatingsError(f"{source.listed} holds no rating")


def _checked(unit: Unit, source: RatingsSource, block_bytes: int, *, drop: bool) -> Iterator[Columns]:
    """Yield the ratings of a unit, piece by piece.

    Raises
    ------
    RatingsError
        Naming file and line.
    """
    file = source.files[unit.file]
    try:
        for columns, bad, _ in read_unit(unit, source, block_bytes):
            if bad.reasons and not drop:
                first = bad.samples[0]
                row = dataclasses.replace(first, line=lines_before(source, unit) + first.line)
                raise bad_row_error(source, unit.file, row)
            yield columns
    except OpenQuoteError as error:
        raise RatingsError(
            f"{file}: a quoted field goes over several lines: read each file as one, with block_bytes=None"
        ) from error


@dataclass(frozen=True)
class _Read:
    """Reads one unit as a partition.

    Attributes
    ----------
    source : RatingsSource
        The input.
    kinds : tuple of str
        ``integer`` or ``text``, for users and items.
    drop : bool
        Whether bad rows are left out.
    states : tuple
        What changes when a file is written, for each file. They are also part of Dask's name for the frame.
    """

    source: RatingsSource
    kinds: tuple[KindOfIds, KindOfIds]
    drop: bool
    states: tuple[tuple[int, str], ...]

    def __call__(self, unit: Unit) -> pd.DataFrame:
        """Return the ratings of a unit."""
        import pandas as pd

        file = self.source.files[unit.file]
        if not file.remote and file.state() != self.states[unit.file]:
            raise changed_while_read(self.source)
        frames = [
            self.frame(columns) for columns in _checked(unit, self.source, _BLOCK_BYTES, drop=self.drop)
        ]
        return pd.concat(frames, ignore_index=True) if frames else self.frame(Columns.none())

    def frame(self, columns: Columns) -> pd.DataFrame:
        """Return the columns of a piece as a DataFrame."""
        import pandas as pd

        users, items = (
            self._ids(ids, role, kind)
            for ids, role, kind in zip(
                (columns.users, columns.items), ("user", "item"), self.kinds, strict=True
            )
        )
        made = {"user": users, "item": items, "rating": columns.ratings}
        if self.source.timestamp is not None:
            values = np.zeros(0, np.int64) if columns.times is None else columns.times
            made["timestamp"] = times.for_pandas(values, self.source.time_kind)
        return pd.DataFrame(made)

    def _ids(self, ids: Ids, role: str, kind: KindOfIds) -> Any:
        if kind == "text":
            return ids_for_pandas(as_text(ids.distinct), ids.codes)
        if not isinstance(ids.distinct, np.ndarray):
            odd = next(
                word for word in ids.distinct.to_pylist() if not whole_number(word).lstrip("-").isdigit()
            )
            raise RatingsError(
                f"{self.source.listed}: the first {role}s are whole numbers, and later there is "
                f'{odd!r:.80}: say ids="text"'
            )
        return ids_for_pandas(ids.distinct, ids.codes)
