"""File and line of what is wrong, found out when something is."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest.reading import parquet
from toolkit.ingest.reading.blocks import Unit, pieces
from toolkit.ingest.reading.diagnosis import check, numbered
from toolkit.ingest.reading.source import RatingsSource, split_line
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.runs import Run


def lines_before(source: RatingsSource, unit: Unit) -> int:
    """Return how many lines, or rows, of its file come before a unit."""
    if unit.begin == 0:
        return 0
    file = source.files[unit.file]
    if file.kind == "parquet":
        return parquet.rows_before(file, unit.begin)
    count = 0
    with file.open() as stream:
        left = unit.begin
        while left > 0 and (data := stream.read(min(left, 1 << 20))):
            count += data.count(b"\n")
            left -= len(data)
        # The line that was begun before the unit belongs to the one before.
        stream.seek(unit.begin - 1)
        return count + (stream.read(1) != b"\n")


def check_pairs(
    source: RatingsSource,
    units: Sequence[Unit],
    runs: Sequence[Run],
    parts: Sequence[Part],
    block_bytes: int,
    ids: tuple[Any, Any],
) -> None:
    """Refuse pairs that cannot be kept.

    Parameters
    ----------
    source, units, block_bytes
        The input.
    runs, parts : sequence
        What was read from it, and merged.
    ids : tuple
        All users and all items, ascending.

    Raises
    ------
    RatingsError
        Naming user and item, and where they are.
    """
    conflict = next((part.conflict for part in parts if part.conflict), None)
    if conflict:
        user, item = _named(conflict, ids)
        raise RatingsError(
            f"the rating of item {item} by user {user} is in several of train, valid and test: a model that "
            "has seen it cannot be tested on it; keep it in one of them"
        )
    overflow = next((part.overflow for part in parts if part.overflow), None)
    if overflow:
        user, item = _named(overflow, ids)
        raise RatingsError(
            f"the ratings of item {item} by user {user} add up to more than float32 holds: choose another "
            "of --duplicates"
        )
    negative = next((part.negative for part in parts if part.negative), None)
    if negative:
        named = _named(negative[:2], ids)
        holder = next(run for run in runs if _holds(run, *negative[:2]))
        place = next(place for place, pair in _rows(source, units, holder, block_bytes) if pair == named)
        raise RatingsError(
            f"the rating of item {named[1]} by user {named[0]}, first at {place}, comes to {negative[2]:g}, "
            "but --transform log1p takes logarithms of ratings that are 0 or more: mend the file, or leave "
            "--transform out"
        )
    again = [part.repeats for part in parts if part.repeats]
    if not again:
        return
    first = min(found.run for found in again)
    here = [found for found in again if found.run == first]
    wanted: dict[tuple[str, str], int] = {}
    for found in here:
        for user, item, before in zip(found.users, found.items, found.before, strict=True):
            # Of a pair that comes often in the run, what is before the first of them.
            wanted.setdefault(_named((int(user), int(item)), ids), int(before))
    where, pair, earlier = _first_repeat(source, units, runs, first, wanted, block_bytes)
    count = sum(part.duplicates for part in parts)
    raise RatingsError(
        f"{where}: user {pair[0]} rates item {pair[1]} again, after {earlier} ({count:,} such lines in all): "
        "mend the file, or say which counts with --duplicates last, mean or sum"
    )


def _named(pair: tuple[int, int], ids: tuple[Any, Any]) -> tuple[str, str]:
    return str(ids[0][pair[0]]), str(ids[1][pair[1]])


def _holds(run: Run, user: int, item: int) -> bool:
    """Tell whether a run has a rating of a pair of row and column."""
    users = run.user_rows()
    at = int(np.searchsorted(users, user))
    if at == len(users) or users[at] != user:
        return False
    begin = int(run.counts(0, at).sum())
    return item in run.item_columns(begin, begin + int(run.counts(at, at + 1)[0]))


def _first_repeat(
    source: RatingsSource,
    units: Sequence[Unit],
    runs: Sequence[Run],
    run: int,
    wanted: dict[tuple[str, str], int],
    block_bytes: int,
) -> tuple[str, tuple[str, str], str]:
    """Return place and pair of the first repeat in a run, and the place of the rating before it."""
    seen: dict[tuple[str, str], str] = {}
    for place, pair in _rows(source, units, runs[run], block_bytes):
        before = wanted.get(pair)
        if before is None:
            continue
        if before != run:
            rows = _rows(source, units, runs[before], block_bytes)
            return place, pair, [earlier for earlier, other in rows if other == pair][-1]
        if pair in seen:
            return place, pair, seen[pair]
        seen[pair] = place
    raise RatingsError("a file was written while it was read: ingest it again when it is complete")


def _rows(
    source: RatingsSource, units: Sequence[Unit], run: Run, block_bytes: int
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield place, and user and item, of the ratings of a run in input order."""
    unit = units[run.unit]
    file, before = source.files[unit.file], lines_before(source, unit)
    if source.parquet:
        for row, user, item in parquet.pairs(unit, source, block_bytes, run.piece):
            yield f"{file}, row {before + row}", (user, item)
        return
    piece = next(itertools.islice(pieces(unit, source, block_bytes), run.piece, None))
    for at, line in numbered(piece.data, before + piece.line):
        if not check(line, at, source):
            fields = split_line(line.decode("utf-8", "surrogateescape"), source.delimiter)
            user, item = (fields[position].strip() for position in source.columns[:2])
            yield f"{file}, line {at}", (user, item)
