"""Ids as users know them, and the row numbers that the factors use."""

from __future__ import annotations

import reprlib
from collections.abc import Sequence
from functools import cached_property
from typing import Self, cast

import numpy as np

from toolkit.arrays import Array, IdLike, IntArray, SideName
from toolkit.datasets.id_values import as_array, require_length, short, storable, text_of, whole
from toolkit.datasets.texts import Texts, as_objects
from toolkit.errors import ConfigError, UnknownIdError

# Types of arrays that hold whole numbers, and of all that are looked up.
_WHOLE, _LOOKED_UP = "iu", "iuUTO"


class IdTable:
    """Maps ids to row numbers and back.

    Parameters
    ----------
    ids : array-like of int or str, shape (n,), or Texts
        The id of each row; all different.
    kind : {"user", "item"}
        What the ids name, for the text of errors.

    Attributes
    ----------
    kind : {"user", "item"}
    stored : array of int64, shape (n,), or Texts
        The id of each row, as files hold it.

    Raises
    ------
    ConfigError
        When the ids are neither whole numbers nor text, one occurs twice, or one is longer than `LONGEST_ID`.
    """

    def __init__(self, ids: IdLike | Texts, kind: SideName) -> None:
        self.stored = ids if isinstance(ids, Texts) else storable(ids, kind)
        self.kind = kind
        if isinstance(self.stored, Texts):
            require_length(self.stored, kind)
            # Whole numbers are found quickly, so that a text is looked up by its hash, and compared then.
            keys = _hashes(self.stored)
        else:
            keys = self.stored
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]
        self._require_different()

    def __len__(self) -> int:
        return len(self.stored)

    def __reduce__(self) -> tuple[type[Self], tuple[Array | Texts, SideName]]:
        # The hash of a text differs from process to process.
        return type(self), (self.stored, self.kind)

    @property
    def is_text(self) -> bool:
        """Whether the ids are text; otherwise they are whole numbers."""
        return isinstance(self.stored, Texts)

    @cached_property
    def ids(self) -> Array:
        """The id of each row, shape (n,): int64, or objects of `str`."""
        return self.at(np.arange(len(self)))

    def at(self, rows: IntArray | Sequence[int]) -> Array:
        """Return the ids of some rows.

        Parameters
        ----------
        rows : array-like of int, shape (m,)

        Returns
        -------
        array of int64, or of objects of str, shape (m,)
        """
        rows = np.asarray(rows, np.int64)
        if not isinstance(self.stored, Texts):
            return np.asarray(self.stored[rows])
        return as_objects(self.stored.at(rows), len(rows))

    def id(self, row: int) -> int | str:
        """Return the id of a row as Python has it."""
        return cast("int | str", self.at([row]).tolist()[0])

    def row(self, id_: IdLike) -> int:
        """Return the row number of one id.

        Raises
        ------
        UnknownIdError
            When the id is not in the table.
        ConfigError
            When `id_` is several ids, or of a type that ids do not have.
        """
        if np.ndim(np.asarray(id_, object)):
            raise ConfigError(
                f"{self.kind} must be one id, but got {reprlib.repr(id_)}: ask for one after the other, or "
                "call a method that takes several"
            )
        return int(self.rows(id_)[0])

    def rows(self, ids: IdLike) -> IntArray:
        """Return the row numbers of ids.

        Parameters
        ----------
        ids : scalar or array-like of int or str, shape (n,)
            Whole numbers may be given as text.

        Returns
        -------
        array of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            When an id is not in the table; the text names the first few.
        ConfigError
            When the ids are not one list, or of a type that ids do not have.
        """
        wanted = self._wanted(ids)
        rows, possible = self._look_up(wanted)
        if not self.is_text and not possible.all():
            raise UnknownIdError(
                f"{self.kind} ids of this model are whole numbers, but got {reprlib.repr(ids)}"
            )
        if (rows < 0).any():
            missing = wanted[rows < 0].tolist()
            missing = sorted(set(missing if wanted.dtype.kind in _WHOLE else map(short, missing)))
            listed = ", ".join(map(short, missing[:5])) + (", …" if len(missing) > 5 else "")
            raise UnknownIdError(
                f"the model has never seen {self.kind} {listed}: it knows {len(self):,} {self.kind}s, "
                f"such as {self.examples()}"
            )
        return rows

    def find(self, ids: IdLike | Sequence[int | str | None]) -> IntArray:
        """Return the row numbers of ids, and -1 for each id that the table lacks; it lacks None.

        Returns
        -------
        array of int64, shape (n,)

        Raises
        ------
        ConfigError
            When the ids are not one list, or an array of a type that ids do not have.
        """
        return self._look_up(self._wanted(ids))[0]

    def examples(self) -> str:
        """Return the first few ids, for a message."""
        return ", ".join(map(short, self.at(range(min(3, len(self)))).tolist()))

    def with_new(self, ids: Array) -> IdTable:
        """Return a table with further ids, of the type of `ids`, behind those of this one."""
        if isinstance(self.stored, Texts):
            return IdTable(self.stored.with_more(Texts.of(ids.tolist())), self.kind)
        return IdTable(np.concatenate([self.stored, ids]), self.kind)

    def same_as(self, other: IdTable) -> bool:
        """Tell whether another table has the same ids in the same rows."""
        mine, theirs = self.stored, other.stored
        if isinstance(mine, Texts) and isinstance(theirs, Texts):
            return mine is theirs or mine.same_as(theirs)
        return self.is_text == other.is_text and np.array_equal(cast("Array", mine), cast("Array", theirs))

    def _wanted(self, ids: IdLike | Sequence[int | str | None]) -> Array:
        """Return ids that are looked up as one array of whole numbers, text or objects."""
        wanted = np.atleast_1d(as_array(ids, self.kind))
        if wanted.ndim > 1:
            raise ConfigError(f"{self.kind} ids must be one list, but got {reprlib.repr(ids)}")
        if wanted.size and wanted.dtype.kind not in _LOOKED_UP:
            rule = "whole numbers or text" if self.is_text else "whole numbers"
            raise ConfigError(f"{self.kind} ids of this model are {rule}, but got {reprlib.repr(ids)}")
        return wanted if wanted.size else np.empty(0, np.int64)

    def _look_up(self, wanted: Array) -> tuple[IntArray, Array]:
        """Return the row of each id, -1 where there is none, and whether it could have one."""
        if self.is_text:
            texts = [text_of(one) for one in wanted.tolist()]
            return self._rows_of_texts(texts), np.array([text is not None for text in texts], bool)
        possible = np.ones(len(wanted), bool)
        if wanted.dtype.kind == "i":
            numbers = wanted.astype(np.int64, copy=False)
        else:
            known = [whole(one) for one in wanted.tolist()]
            possible = np.array([number is not None for number in known], bool)
            numbers = np.array([number or 0 for number in known], np.int64)
        if not len(numbers) or not len(self):
            return np.full(len(numbers), -1, np.int64), possible
        position = np.searchsorted(self._keys, numbers).clip(max=len(self) - 1)
        same = (self._keys[position] == numbers) & possible
        return np.where(same, self._order[position], -1), possible

    def _rows_of_texts(self, texts: Sequence[str | None]) -> IntArray:
        keys = np.fromiter(map(hash, texts), np.int64, len(texts))
        rows = np.full(len(texts), -1, np.int64)
        position = np.searchsorted(self._keys, keys)
        left = np.arange(len(texts))
        # Once, but for two texts with the same hash.
        while len(left):
            left = left[position[left] < len(self)]
            left = left[self._keys[position[left]] == keys[left]]
            candidates = self._order[position[left]]
            found = cast("Texts", self.stored).at(candidates)
            same = np.fromiter(
                (text == texts[at] for text, at in zip(found, left.tolist(), strict=True)), bool, len(left)
            )
            rows[left[same]] = candidates[same]
            left = left[~same]
            position[left] += 1
        return rows

    def _require_different(self) -> None:
        equal = np.flatnonzero(self._keys[1:] == self._keys[:-1])
        seen: set[tuple[int, int | str]] = set()
        for at in np.union1d(equal, equal + 1).tolist():
            one = (int(self._keys[at]), self.id(self._order[at]))
            if one in seen:
                raise ConfigError(
                    f"each {self.kind} id must occur once, but {short(one[1])} occurs more than once"
                )
            seen.add(one)


def _hashes(texts: Texts) -> IntArray:
    return np.fromiter(map(hash, texts), np.int64, len(texts))
