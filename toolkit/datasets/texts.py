"""Many texts in two arrays, so that each costs its own bytes, and one long text does not widen the others."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np

from toolkit.arrays import Array, IntArray

# Texts that are decoded at once where all are needed, one after the other.
_AT_ONCE = 1 << 16


# NumPy's own texts of variable width end the process in searchsorted (2.4) and in deepcopy (2.1).
@dataclass(frozen=True, eq=False)
class Texts:
    """Texts as their bytes, one behind the other, and the end of each among them.

    Attributes
    ----------
    data : array of uint8, shape (n_bytes,)
        The texts in UTF-8.
    ends : array of int64, shape (n,)
        Where each text ends; the next begins there.
    """

    data: Array
    ends: IntArray

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """Return texts of Python.

        Raises
        ------
        UnicodeEncodeError
            When one holds half of a surrogate pair, which no file holds.
        """
        joined = "".join(texts)
        data = joined.encode()
        sizes: Iterator[int] = map(len, texts)
        if len(data) > len(joined):
            sizes = (len(text.encode()) for text in texts)
        ends = np.cumsum(np.fromiter(sizes, np.int64, len(texts)))
        return cls(np.frombuffer(data, np.uint8), ends)

    def __len__(self) -> int:
        return len(self.ends)

    @property
    def sizes(self) -> IntArray:
        """The bytes of each text, int64, shape (n,)."""
        sizes: IntArray = np.diff(self.ends, prepend=np.int64(0))
        return sizes

    def at(self, rows: IntArray) -> list[str]:
        """Return the texts of some rows.

        Raises
        ------
        UnicodeDecodeError
            When their bytes are not UTF-8.
        """
        begins, ends = np.where(rows > 0, self.ends[rows - 1], 0), self.ends[rows]
        data = self.data.data
        return [str(data[a:b], "utf-8") for a, b in zip(begins.tolist(), ends.tolist(), strict=True)]

    def __iter__(self) -> Iterator[str]:
        for begin in range(0, len(self), _AT_ONCE):
            yield from self.at(np.arange(begin, min(begin + _AT_ONCE, len(self))))

    def with_more(self, others: Texts) -> Texts:
        """Return these texts and others behind them."""
        ends = np.concatenate([self.ends, len(self.data) + others.ends])
        return Texts(np.concatenate([self.data, others.data]), ends)

    def same_as(self, others: Texts) -> bool:
        """Tell whether others are the same texts in the same order."""
        return np.array_equal(self.ends, others.ends) and np.array_equal(self.data, others.data)

    def problem(self) -> str | None:
        """Return what is wrong with arrays that were read from a file, or None."""
        if self.data.dtype != np.uint8 or self.data.ndim != 1 or self.ends.dtype != np.int64:
            return "must hold bytes and the ends of texts among them"
        sizes = self.sizes
        if len(sizes) and (sizes.min() < 0 or self.ends[-1] != len(self.data)):
            return f"must have ends that rise to the number of bytes, {len(self.data)}"
        try:
            for _ in self:
                pass
        except UnicodeDecodeError as error:
            return f"must hold UTF-8: {error}"
        return None


def as_objects(texts: Iterable[str], n: int) -> Array:
    """Return n texts as an array of Python's texts, shape (n,), each at its own length."""
    array = np.empty(n, np.dtype(object))
    array[:] = list(texts)
    return array
