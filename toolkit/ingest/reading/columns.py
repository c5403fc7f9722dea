"""The columns of a piece of the input, with ids as codes of the distinct ids in it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from toolkit.tables.arrow import array_of, numbers

_Array = np.ndarray[Any, Any]
# A table from id to code is used where it is at most this many times as long as the column.
_TABLE_STRETCH = 8


@dataclass(frozen=True)
class Ids:
    """A column of ids.

    Attributes
    ----------
    codes : array of int32, shape (n,)
        Position of each row's id in `distinct`.
    distinct : array of int64, or pyarrow.StringArray, shape (n_distinct,)
        The ids that occur, ascending: integers by value, text by code point.
    """

    codes: _Array
    distinct: Any

    @property
    def kind(self) -> str:
        """``integer`` or ``text``."""
        return "integer" if isinstance(self.distinct, np.ndarray) else "text"


@dataclass(frozen=True)
class Columns:
    """Ratings in the order of the input.

    Attributes
    ----------
    users, items : Ids
        Who rated what.
    ratings : array of float32, shape (n,)
        Finite values.
    times : array of int64, shape (n,), or None
        Times of the ratings (`toolkit.ingest.reading.times.sortable`), where they are read.
    splits : array of uint8, shape (n,), or None
        Positions in `toolkit.ingest.splitting.rule.SPLITS`, where the input says them.
    """

    users: Ids
    items: Ids
    ratings: _Array
    times: _Array | None = None
    splits: _Array | None = None

    def __len__(self) -> int:
        return len(self.ratings)

    def with_split(self, split: int | None) -> Columns:
        """Return the same, all of one split where one is given."""
        return self if split is None else replace(self, splits=np.full(len(self), split, np.uint8))

    @classmethod
    def none(cls) -> Columns:
        """Return columns of no rating."""
        empty = of_integers(np.zeros(0, np.int64))
        return cls(empty, empty, np.zeros(0, np.float32))


def of_integers(values: _Array) -> Ids:
    """Encode a column of int64.

    A table serves where the ids lie close together, a hash where they have gaps: no array is ever as long as
    the largest id.
    """
    if len(values) == 0:
        return Ids(np.zeros(0, np.int32), np.zeros(0, np.int64))
    least, most = int(values.min()), int(values.max())
    if most - least < max(_TABLE_STRETCH * len(values), 1 << 16):
        seen = np.zeros(most - least + 1, np.bool_)
        at = values - least
        seen[at] = True
        table = np.cumsum(seen, dtype=np.int32)
        table -= 1
        return Ids(table[at], np.flatnonzero(seen) + least)
    coded = array_of(values).dictionary_encode()
    distinct = numbers(coded.dictionary)
    order = np.argsort(distinct)
    return Ids(_inverse(order)[numbers(coded.indices)], distinct[order])


def of_words(codes: _Array, words: Any) -> Ids:
    """Encode a column of text from its codes and its distinct words, in any order."""
    import pyarrow.compute as pc

    # By bytes of UTF-8, which is by code point.
    order = numbers(pc.sort_indices(words)).astype(np.int64)
    return Ids(_inverse(order)[codes], words.take(array_of(order)))


def as_text(distinct: Any) -> Any:
    """Return distinct ids as a pyarrow.StringArray, in the same order."""
    import pyarrow as pa

    return array_of(distinct).cast(pa.string()) if isinstance(distinct, np.ndarray) else distinct


def as_integers(words: Any) -> _Array | None:
    """Return words as int64, or None where not all of them are integers in their usual form.

    007 is not 7: who writes leading zeros means them.
    """
    import pyarrow as pa

    try:
        integers = words.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not integers.cast(pa.string()).equals(words):
        return None
    return numbers(integers)


def _inverse(order: _Array) -> _Array:
    inverse = np.empty(len(order), np.int32)
    inverse[order] = np.arange(len(order), dtype=np.int32)
    return inverse
