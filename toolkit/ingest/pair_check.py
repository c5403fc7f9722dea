"""Pairs that cannot be kept: the error that names user and item, and file and line."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest.reading import RatingsSource
from toolkit.ingest.reading.blocks import Unit
from toolkit.ingest.reading.line_numbers import pairs_with_lines
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.runs import Run
from toolkit.tables import DistinctIds


@dataclass(frozen=True)
class ReadInput:
    """The input, and the runs that were read from it.

    Attributes
    ----------
    source : RatingsSource
        The input.
    units : list of Unit
        Its parts.
    runs : list of Run
        The runs, in the order of the input.
    block_bytes : int
        Bytes that were read at once.
    """

    source: RatingsSource
    units: Sequence[Unit]
    runs: Sequence[Run]
    block_bytes: int

    def rows(self, run: Run) -> Iterator[tuple[str, tuple[str, str]]]:
        """Yield file and line, and user and item, of the ratings of a run in the order of the input."""
        return pairs_with_lines(self.source, self.units[run.unit], run.piece, self.block_bytes)


def check_pairs(read: ReadInput, parts: Sequence[Part], ids: tuple[DistinctIds, DistinctIds]) -> None:
    """Refuse pairs that cannot be kept.

    Parameters
    ----------
    read : ReadInput
        The input and its runs.
    parts : sequence of Part
        The merged ratings.
    ids : tuple
        All users and all items, ascending.

    Raises
    ------
    RatingsError
        Naming user and item, and file and line.
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
        raise _negative_error(read, negative, ids)
    repeated = [part for part in parts if part.repeats]
    if repeated:
        raise _repeat_error(read, repeated, sum(part.duplicates for part in parts), ids)


def _negative_error(
    read: ReadInput, negative: tuple[int, int, float], ids: tuple[DistinctIds, DistinctIds]
) -> RatingsError:
    *pair, rating = negative
    user, item = _named((pair[0], pair[1]), ids)
    run = next(run for run in read.runs if _holds(run, pair[0], pair[1]))
    line = next(line for line, other in read.rows(run) if other == (user, item))
    return RatingsError(
        f"the rating of item {item} by user {user}, first at {line}, comes to {rating:g}, "
        "but --transform log1p takes logarithms of ratings that are 0 or more: mend the file, or leave "
        "--transform out"
    )


def _repeat_error(
    read: ReadInput, parts: Sequence[Part], count: int, ids: tuple[DistinctIds, DistinctIds]
) -> RatingsError:
    """Return the error that names the first repeated pair of the input, and the rating before it."""
    repeats = [part.repeats for part in parts if part.repeats]
    first = min(some.run for some in repeats)
    # For each pair that is repeated in the first such run, the run of the rating before its first repeat.
    run_before: dict[tuple[str, str], int] = {}
    for some in repeats:
        if some.run == first:
            for user, item, before in zip(some.users, some.items, some.before, strict=True):
                run_before.setdefault(_named((int(user), int(item)), ids), int(before))
    line, pair, earlier = _first_repeat(read, first, run_before)
    return RatingsError(
        f"{line}: user {pair[0]} rates item {pair[1]} again, after {earlier} ({count:,} such lines in all): "
        "mend the file, or say which counts with --duplicates last, mean or sum"
    )


def _named(pair: tuple[int, int], ids: tuple[DistinctIds, DistinctIds]) -> tuple[str, str]:
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
    read: ReadInput, run: int, run_before: dict[tuple[str, str], int]
) -> tuple[str, tuple[str, str], str]:
    """Return line and pair of the first repeat in a run, and the line of the rating before it."""
    seen: dict[tuple[str, str], str] = {}
    for line, pair in read.rows(read.runs[run]):
        before = run_before.get(pair)
        if before is None:
            continue
        if before != run:
            return line, pair, [one for one, other in read.rows(read.runs[before]) if other == pair][-1]
        if pair in seen:
            return line, pair, seen[pair]
        seen[pair] = line
    raise RatingsError("a file was written while it was read: ingest it again when it is complete")
