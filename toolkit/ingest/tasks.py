"""The tasks of an ingest: functions of plain arguments that read and write files, in any process."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from toolkit.arrays import IntArray
from toolkit.errors import RatingsError
from toolkit.ingest.file_scales import moments
from toolkit.ingest.file_times import span
from toolkit.ingest.reading import RatingsSource
from toolkit.ingest.reading.blocks import Unit
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.reader import read_unit
from toolkit.ingest.reading.rejections import Rejections
from toolkit.ingest.shards import RowShards, write_rows
from toolkit.ingest.sorting.array_files import read_ids
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.numbering import number_run
from toolkit.ingest.sorting.runs import Run, write_run
from toolkit.ingest.splitting.cuts import Splitting, splits_of_part


class BadInputError(RatingsError):
    """A unit of the input holds a bad row; the job looks for the first of the whole input, and names it."""


@dataclass(frozen=True)
class UnitResult:
    """The ratings of a unit of the input, on disk.

    Attributes
    ----------
    runs : list of Run
        The sorted runs; none where the unit holds no rating.
    lines : int
        Lines, or rows of a Parquet file, counted from the beginning of the unit.
    rejections : Rejections
        Bad rows, their lines counted from the beginning of the unit.
    floats : list of str
        For users and items, an id that was written as a floating-point number; empty for none.
    moments : list of float
        `toolkit.ingest.file_scales.moments` of the ratings.
    times : list of int
        `toolkit.ingest.file_times.span` of each of its pieces, where times are read.
    """

    runs: list[Run]
    lines: int
    rejections: Rejections
    floats: list[str]
    moments: list[float]
    times: list[int]


def fingerprint(file: RatingsFile) -> dict[str, Any]:
    """Return name, bytes and checksum of a file."""
    return file.fingerprint()


def sort_unit(work: Path, unit: Unit, source: RatingsSource, block_bytes: int, drop: bool) -> UnitResult:  # noqa: FBT001 - a task's arguments are positional
    """Read a unit of the input and write it as sorted runs.

    Parameters
    ----------
    work : Path
        The scratch directory.
    unit : Unit
        The part of the input.
    source : RatingsSource
        How to read it.
    block_bytes : int
        Bytes that are read at once.
    drop : bool
        Whether bad rows are left out.

    Raises
    ------
    BadInputError
        When a row is bad and `drop` is false.
    OpenQuoteError
        When a quoted field goes on in the next line, and lines are read apart from each other.
    """
    runs: list[Run] = []
    rejections = Rejections()
    lines = 0
    floats, summed = ["", ""], [0.0, 0.0, 0.0]
    times: list[int] = []
    split = source.given[unit.file] if source.given else None
    for piece, (columns, bad, end) in enumerate(read_unit(unit, source, block_bytes)):
        lines = end
        if bad.reasons and not drop:
            raise BadInputError("a row is bad")
        rejections.merge(bad)
        floats = [old or ids.floats for old, ids in zip(floats, (columns.users, columns.items), strict=True)]
        if len(columns):
            summed = [old + new for old, new in zip(summed, moments(columns.ratings), strict=True)]
            times += [] if columns.times is None else span(columns.times)
            runs.append(write_run(work, unit.number, piece, columns.with_split(split)))
    return UnitResult(runs, lines, rejections, floats, summed, times)


def number(work: Path, runs: Sequence[Run]) -> None:
    """Give the ids of some runs their rows and columns."""
    users, items = read_ids(work / "users"), read_ids(work / "items")
    for run in runs:
        number_run(run, users, items)


def write_part(
    folder: Path,
    work: Path,
    at: int,
    part: Part,
    splitting: Splitting,
    shape: tuple[int, int],
    cuts: IntArray,
) -> RowShards:
    """Split the ratings of a part and write its shards; the parameters are those of `write_rows`."""
    return write_rows(folder, work, at, part, splits_of_part(part, splitting), shape, cuts)
