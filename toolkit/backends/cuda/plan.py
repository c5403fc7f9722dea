"""How the rows of a side are cut into launches: by length, the longest first, long ones in parts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

# Ratings of a part of a long row. At rank 64 a block adds them up in about 0.2 ms, which is what a launch
# waits for at its end.
PART = 2048
# Rows that are this short share a block: they are over before one waits for the other.
SHORT = 96
# Sums of parts that wait to be added up, in bytes, before another wave of long rows begins.
PARTIAL_BYTES = 256 << 20


@dataclass(frozen=True)
class Rows:
    """Some rows, the longest first: int32 numbers, int64 starts of their ratings, int32 counts."""

    rows: Array
    starts: Array
    counts: Array

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Long:
    """Long rows, and the parts that they are cut into.

    Attributes
    ----------
    rows : Rows
        The long rows.
    firsts : array of int32, shape (len(rows) + 1,)
        Parts firsts[i] to firsts[i + 1] are those of row i.
    starts : array of int64, shape (n_parts,)
        Where the ratings of each part begin.
    counts : array of int32, shape (n_parts,)
        Ratings of each part.
    """

    rows: Rows
    firsts: Array
    starts: Array
    counts: Array

    def waves(self, part_bytes: int, limit: int = PARTIAL_BYTES) -> list[tuple[int, int]]:
        """Return ranges of rows whose parts are added up together.

        Parameters
        ----------
        part_bytes : int
            What a part leaves to be added up.
        limit : int
            Bytes of the parts of a wave, at most; but one row's parts are never torn apart.
        """
        waves = []
        begin = 0
        while begin < len(self.rows):
            most = self.firsts[begin] + limit // part_bytes
            end = max(begin + 1, int(np.searchsorted(self.firsts, most, side="right")) - 1)
            waves.append((begin, end))
            begin = end
        return waves

    def most_parts(self, waves: list[tuple[int, int]]) -> int:
        """Return the parts of the largest wave."""
        return max((int(self.firsts[end] - self.firsts[begin]) for begin, end in waves), default=0)


@dataclass(frozen=True)
class Plan:
    """The launches of one side.

    Attributes
    ----------
    short, whole : Rows
        Rows of which several share a block, and rows with a block of their own.
    long : Long
        Rows in parts.
    """

    short: Rows
    whole: Rows
    long: Long


def plan_rows(indptr: Array, *, part: int = PART, short: int = SHORT) -> Plan:
    """Cut the rows of a side into launches; rows without ratings are in none.

    Parameters
    ----------
    indptr : array of int, shape (n_rows + 1,)
        Where the ratings of each row begin.
    part : int
        Rows of more ratings are cut, into parts of at most so many and of like length.
    short : int
        Rows of at most so many ratings share a block.
    """
    starts = np.asarray(indptr, np.int64)
    counts = np.diff(starts)
    # Stable: rows of equal length stay as they lie in memory.
    order = np.argsort(-counts, kind="stable")
    cuts = np.searchsorted(-counts[order], [-part, -min(short, part), 0], side="left")

    def rows(begin: int, end: int) -> Rows:
        which = order[begin:end]
        return Rows(which.astype(np.int32), starts[which], counts[which].astype(np.int32))

    return Plan(rows(cuts[1], cuts[2]), rows(cuts[0], cuts[1]), _in_parts(rows(0, cuts[0]), part))


def _in_parts(rows: Rows, part: int) -> Long:
    counts = rows.counts.astype(np.int64)
    parts = -(-counts // part)
    firsts = np.concatenate([[0], np.cumsum(parts)]).astype(np.int64)
    of = np.repeat(np.arange(len(rows)), parts)
    number = np.arange(firsts[-1]) - firsts[of]
    begins, ends = (counts[of] * at // parts[of] for at in (number, number + 1))
    return Long(rows, firsts.astype(np.int32), rows.starts[of] + begins, (ends - begins).astype(np.int32))
