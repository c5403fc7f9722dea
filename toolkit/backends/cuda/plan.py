"""The plan of the launches of one side: rows by length, the longest first, long rows in parts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from toolkit.arrays import IntArray

# Ratings of a part of a long row. At rank 64 a block adds them up in about 0.2 ms, and for so long the end of
# a launch waits for its last block.
PART = 2048
# Rows of at most so many ratings share a block: they end so soon that none waits long for another.
SHORT = 96
# Bytes that the sums of the parts of one wave of long rows take at most.
PARTIAL_BYTES = 256 << 20


@dataclass(frozen=True)
class Rows:
    """Some rows, the longest first: int32 numbers, int64 starts of their ratings, int32 counts."""

    rows: IntArray
    starts: IntArray
    counts: IntArray

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
        Row i has the parts from firsts[i] up to, not including, firsts[i + 1].
    starts : array of int64, shape (n_parts,)
        Where the ratings of each part begin.
    counts : array of int32, shape (n_parts,)
        Ratings of each part.
    """

    rows: Rows
    firsts: IntArray
    starts: IntArray
    counts: IntArray

    def waves(self, part_bytes: int, limit: int = PARTIAL_BYTES) -> list[tuple[int, int]]:
        """Return ranges of rows; the parts of one range are added up together.

        Parameters
        ----------
        part_bytes : int
            Bytes of the sums of one part.
        limit : int
            Bytes of the sums of one wave at most; the parts of one row always stay together.
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
        """Return the number of parts of the largest wave."""
        return max((int(self.firsts[end] - self.firsts[begin]) for begin, end in waves), default=0)


@dataclass(frozen=True)
class Plan:
    """The launches of one side.

    Attributes
    ----------
    short : Rows
        Rows of which several share a block.
    whole : Rows
        Rows with a block of their own.
    long : Long
        Rows that are cut into parts.
    """

    short: Rows
    whole: Rows
    long: Long


def plan_rows(indptr: IntArray, *, part: int = PART, short: int = SHORT) -> Plan:
    """Return the plan of the launches of a side; rows without ratings are in none of them.

    Parameters
    ----------
    indptr : array of int, shape (n_rows + 1,)
        Where the ratings of each row begin.
    part : int
        A row of more ratings is cut into parts of at most so many, of like length.
    short : int
        Rows of at most so many ratings share a block.
    """
    starts = np.asarray(indptr, np.int64)
    counts = np.diff(starts)
    # A stable order keeps rows of equal length together as they lie in memory.
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
