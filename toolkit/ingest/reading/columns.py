"""The columns of a piece of the input, with each id as its position among the distinct ids of the piece."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

import numpy as np

from toolkit.arrays import Array, FloatArray, IntArray
from toolkit.datasets import LONGEST_ID
from toolkit.tables import DistinctIds, array_of, numbers, whole_numbers

if TYPE_CHECKING:
    import pyarrow as pa

KindOfIds = Literal["integer", "text"]
# A table from id to code is used where it is at most this many times as long as the column.
_TABLE_STRETCH = 8
# And always where it is at most so long: a hash is imported for a tenth of a second.
_SHORT_TABLE = 1 << 18


@dataclass(frozen=True)
class Ids:
    """A column of ids.

    Attributes
    ----------
    codes : array of int32, shape (n,)
        Position of each row's id in `distinct`.
    distinct : array of int64, or pyarrow.StringArray, shape (n_distinct,)
        The ids that occur, ascending: integers by value, text by code point.
    floats : str
        One of the ids that were written as floating-point numbers, such as 196.0 for 196; empty for none.
    """

    codes: IntArray
    distinct: DistinctIds
    floats: str = ""

    @property
    def kind(self) -> KindOfIds:
        """``integer`` or ``text``."""
        return "integer" if isinstance(self.distinct, np.ndarray) else "text"


@dataclass(frozen=True)
class Columns:
    """Ratings in the order of the input.

    Attributes
    ----------
    users, items : Ids
        The user and the item of each rating.
    ratings : array of float32, shape (n,)
        Finite values.
    times : array of int64, shape (n,), or None
        Times of the ratings (`toolkit.ingest.reading.times.sortable`), where they are read.
    splits : array of uint8, shape (n,), or None
        Positions in `toolkit.datasets.splits.SPLITS`, where the input says them.
    """

    users: Ids
    items: Ids
    ratings: FloatArray
    times: IntArray | None = None
    splits: IntArray | None = None

    def __len__(self) -> int:
        return len(self.ratings)

    def with_split(self, split: int | None) -> Columns:
        """Return these columns with all ratings in one split, or as they are where the split is None."""
        return self if split is None else replace(self, splits=np.full(len(self), split, np.uint8))

    @classmethod
    def none(cls) -> Columns:
        """Return columns without a rating."""
        empty = of_integers(np.zeros(0, np.int64))
        return cls(empty, empty, np.zeros(0, np.float32))


def of_integers(values: IntArray) -> Ids:
    """Return a column of int64 as `Ids`.

    Ids that lie close together are looked up in a table, ids with large gaps in a hash: no array is as long
    as the largest id.
    """
    if len(values) == 0:
        return Ids(np.zeros(0, np.int32), np.zeros(0, np.int64))
    least, most = int(values.min()), int(values.max())
    if most - least < max(_TABLE_STRETCH * len(values), _SHORT_TABLE):
        at = values - least
        seen = np.zeros(most - least + 1, np.bool_)
        seen[at] = True
        table = np.cumsum(seen, dtype=np.int32)
        table -= 1
        return Ids(table[at], np.flatnonzero(seen) + least)
    coded = array_of(values).dictionary_encode()
    distinct = numbers(coded.dictionary)
    order = np.argsort(distinct)
    return Ids(_inverse(order)[numbers(coded.indices)], distinct[order])


def of_words(codes: IntArray, words: pa.StringArray) -> Ids:
    """Return a column of text as `Ids`, from the distinct words and the position of each row's word."""
    import pyarrow.compute as pc

    # Arrow sorts by the bytes of UTF-8, which is the order of code points.
    order = numbers(pc.sort_indices(words)).astype(np.int64)
    return Ids(_inverse(order)[codes], words.take(array_of(order)))


def of_column(column: pa.Array, kind: str) -> Ids:
    """Return an Arrow column of integers, or a dictionary of text, as `Ids`.

    Blanks around ids are no part of them. Whole numbers that are written as floating-point numbers are taken
    as these numbers, unless `kind` is text.

    Parameters
    ----------
    column : pyarrow.Array
        Without nulls.
    kind : str
        ``integer``, ``auto`` for integers where all are, ``text``, or ``words`` for the text of ``auto``.

    Raises
    ------
    ValueError
        When an id is missing or too long, or is no integer although it must be.
    """
    import pyarrow as pa

    if column.null_count:
        raise ValueError("an id is missing")
    if pa.types.is_integer(column.type):
        return of_integers(numbers(column))
    import pyarrow.compute as pc

    codes, words = numbers(column.indices), column.dictionary
    kept = pc.utf8_trim_whitespace(words)
    floats = ""
    if kind != "text":
        kept, floats = whole_numbers(kept)
    if not kept.equals(words):
        merged = kept.dictionary_encode()
        codes, words = numbers(merged.indices)[codes], merged.dictionary
    # pc.index would import pandas, to look at an object of Python.
    sizes = numbers(pc.binary_length(words))
    if (sizes == 0).any():
        raise ValueError("an id is missing")
    if (sizes > LONGEST_ID).any():
        raise ValueError("an id is too long")
    integers = as_integers(words) if kind in {"auto", "integer"} else None
    if integers is not None:
        order = np.argsort(integers)
        return Ids(_inverse(order)[codes], integers[order], floats)
    if kind == "integer":
        raise ValueError("an id is no integer")
    return replace(of_words(codes, words), floats=floats)


def as_text(distinct: DistinctIds) -> pa.StringArray:
    """Return distinct ids as a pyarrow.StringArray, in the same order."""
    import pyarrow as pa

    return array_of(distinct).cast(pa.string()) if isinstance(distinct, np.ndarray) else distinct


def as_integers(words: pa.StringArray) -> IntArray | None:
    """Return words as int64, or None where some word is no integer in its usual form.

    The usual form of 7 is 7; 007 is another id, as people who write leading zeros mean them.
    """
    import pyarrow as pa

    try:
        integers = words.cast(pa.int64())
    except pa.ArrowInvalid:
        return None
    if not integers.cast(pa.string()).equals(words):
        return None
    return numbers(integers)


def _inverse(order: Array) -> IntArray:
    inverse = np.empty(len(order), np.int32)
    inverse[order] = np.arange(len(order), dtype=np.int32)
    return inverse
