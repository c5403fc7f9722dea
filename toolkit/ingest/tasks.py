"""The tasks of an ingest: functions of plain arguments that read and write files, in any process."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest.reading import parquet
from toolkit.ingest.reading.blocks import Unit, pieces
from toolkit.ingest.reading.columns import Columns
from toolkit.ingest.reading.diagnosis import BadRow, Rejections, read_piece
from toolkit.ingest.reading.files import RatingsFile
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.numbering import number_run, read_ids
from toolkit.ingest.sorting.runs import Run, write_run
from toolkit.ingest.splitting.rule import (
    TRAIN,
    VALID,
    Cut,
    SplitRule,
    assign,
    assign_by_user,
    hash_pairs,
    keys_of,
)
from toolkit.ingest.splitting.selection import Probe, probe
from toolkit.ingest.writing import RowShards, write_rows

_Array = np.ndarray[Any, Any]


class BadInputError(RatingsError):
    """A unit of the input holds a bad row; which one is the first of the input is found out by the job."""


@dataclass(frozen=True)
class UnitResult:
    """What came of reading a unit.

    Attributes
    ----------
    runs : list of Run
        What was written; none where the unit holds no rating.
    lines : int
        Lines, or rows of a Parquet file, counted from the beginning of the unit.
    rejections : Rejections
        Bad rows, with lines counted likewise.
    """

    runs: list[Run]
    lines: int
    rejections: Rejections


@dataclass(frozen=True)
class Splitting:
    """How the ratings are split, once that is known.

    Attributes
    ----------
    rule : SplitRule
        The rule.
    n_items : int
        All columns.
    valid, test : Cut or None
        Ratings up to these are held out, where two cuts through all ratings decide.
    """

    rule: SplitRule
    n_items: int
    valid: Cut | None = None
    test: Cut | None = None


def read_unit(work: Path, unit: Unit, source: RatingsSource, block_bytes: int, drop: bool) -> UnitResult:  # noqa: FBT001 - a task's arguments are positional
    """Read a unit of the input and write it as sorted runs.

    Raises
    ------
    BadInputError
        When a row is bad and `drop` is false.
    """
    runs: list[Run] = []
    rejections = Rejections()
    lines = 0
    for piece, (columns, bad, end) in enumerate(_read(unit, source, block_bytes)):
        lines = end
        if bad.reasons and not drop:
            raise BadInputError("a row is bad")
        rejections.merge(bad)
        if len(columns):
            given = source.given[unit.file] if source.given else None
            runs.append(write_run(work, unit.number, piece, columns.with_split(given)))
    return UnitResult(runs, lines, rejections)


def first_bad_row(unit: Unit, source: RatingsSource, block_bytes: int) -> BadRow | None:
    """Return the first bad row of a unit, its line counted from the beginning of the unit."""
    for _, bad, _ in _read(unit, source, block_bytes):
        if bad.samples:
            return bad.samples[0]
    return None


def _read(unit: Unit, source: RatingsSource, block_bytes: int) -> Iterator[tuple[Columns, Rejections, int]]:
    """Yield columns, bad rows, and the lines seen so far."""
    if source.parquet:
        yield from parquet.read_group(unit, source, block_bytes)
        return
    for piece in pieces(unit, source, block_bytes):
        end = piece.line - 1 + piece.lines
        if not piece.data.strip():
            yield Columns.none(), Rejections(), end
            continue
        try:
            columns, bad = read_piece(piece, source)
        except ValueError as error:
            raise RatingsError(f"{source.files[unit.file]} cannot be read: {error}") from error
        yield columns, bad, end


def fingerprint(file: RatingsFile) -> dict[str, Any]:
    """Return name, bytes and checksum of a file."""
    return file.fingerprint()


def number(work: Path, run: Run) -> None:
    """Give the ids of a run their rows and columns."""
    number_run(run, read_ids(work / "users"), read_ids(work / "items"))


def probe_part(task: tuple[Part, Splitting, int, int, int | None]) -> Probe:
    """Count keys of the ratings of a part in a range, or the hashes of those with one key."""
    part, splitting, low, high, at_key = task
    keys, hashes = _keys(part, splitting)
    if splitting.rule.kind == "given":
        keys = keys[part.column("splits") == TRAIN]
    return probe(keys if at_key is None else hashes[keys == np.uint64(at_key)], low, high)


def split_part(
    folder: Path, work: Path, at: int, part: Part, splitting: Splitting, shape: tuple[int, int], cuts: _Array
) -> RowShards:
    """Split the ratings of a part, and write its shards."""
    keys, hashes = _keys(part, splitting)
    rule = splitting.rule
    if rule.by_user:
        assigned = assign_by_user(rule, keys, hashes, part.column("counts"), part.start)
    else:
        assigned = assign(rule, keys, hashes, splitting.valid, splitting.test)
    if rule.kind == "given":
        given = part.column("splits")
        assigned = np.where((given == TRAIN) & (assigned == VALID), np.uint8(VALID), given)
    return write_rows(folder, work, at, part, assigned, shape, cuts)


def _keys(part: Part, splitting: Splitting) -> tuple[_Array, _Array]:
    hashes = hash_pairs(part.users(), part.column("items"), splitting.n_items, splitting.rule.seed)
    return keys_of(
        splitting.rule, hashes, part.column("times") if splitting.rule.needs_times else None
    ), hashes
