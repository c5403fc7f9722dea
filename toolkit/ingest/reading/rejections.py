"""What is kept of rows that are no ratings: their number by reason, and the first few of them."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

SAMPLES = 5
"""How many rows are kept for each reason."""


@dataclass(frozen=True)
class BadRow:
    """A row that is no rating.

    Attributes
    ----------
    line : int
        Number of the line, from 1, or of the row of a Parquet file.
    reason : str
        The rule that it breaks, in a few words that serve for counting.
    text : str
        The beginning of the line.
    message : str
        The mistake and the way out, to follow the name of file and line.
    """

    line: int
    reason: str
    text: str
    message: str


@dataclass
class Rejections:
    """The number of bad rows, and some of them.

    Attributes
    ----------
    reasons : Counter
        Rows by reason.
    samples : list of BadRow
        The first few of each reason.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[BadRow] = field(default_factory=list)

    def add(self, row: BadRow) -> None:
        """Count a row."""
        self.reasons[row.reason] += 1
        if self.reasons[row.reason] <= SAMPLES:
            self.samples.append(row)

    def merge(self, later: Rejections) -> None:
        """Add rejections from further down the input."""
        for row in later.samples:
            if sum(sample.reason == row.reason for sample in self.samples) < SAMPLES:
                self.samples.append(row)
        self.reasons.update(later.reasons)
