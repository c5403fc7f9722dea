"""Ids as users know them, and the row numbers that the factors use."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Sequence
from typing import TypeGuard, cast

import numpy as np

from toolkit.arrays import Array, IdLike, IntArray, SideName
from toolkit.errors import ConfigError, UnknownIdError

# Letters of an unknown id that a message shows.
_SHOWN = 60
# Types of arrays that hold whole numbers or text.
_WHOLE, _TEXT, _OBJECTS = "iu", "UT", "O"


class IdTable:
    """Maps ids to row numbers and back.

    Parameters
    ----------
    ids : array-like of int or str, shape (n,)
        The id of each row; all different.
    kind : {"user", "item"}
        What the ids name, for the text of errors.

    Attributes
    ----------
    ids : array of int64 or str, shape (n,)
        The id of each row.

    Raises
    ------
    ConfigError
        When the ids are neither whole numbers nor text, or one occurs twice.
    """

    def __init__(self, ids: IdLike, kind: SideName) -> None:
        self.ids = _storable(ids, kind)
        self.kind = kind
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        equal = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if len(equal):
            raise ConfigError(
                f"each {kind} id must occur once, but {self._sorted[equal[0]]} occurs more than once"
            )

    def __len__(self) -> int:
        return len(self.ids)

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
        cells, impossible = self._cells(ids)
        if impossible.any() and self.ids.dtype.kind == "i":
            raise UnknownIdError(
                f"{self.kind} ids of this model are whole numbers, but got {reprlib.repr(ids)}"
            )
        rows = self._look_up(cells, impossible)
        if (rows < 0).any():
            missing = np.unique(cells[rows < 0])
            listed = ", ".join(str(v) for v in missing[:5]) + (", …" if len(missing) > 5 else "")
            raise UnknownIdError(
                f"the model has never seen {self.kind} {listed}: it knows {len(self):,} {self.kind}s, "
                f"such as {', '.join(str(v) for v in self.ids[:3])}"
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
        return self._look_up(*self._cells(ids))

    def _cells(self, ids: IdLike | Sequence[int | str | None]) -> tuple[Array, Array]:
        """Return ids in the table's type, and which of them cannot be in it, whatever their cell holds."""
        wanted = np.atleast_1d(_as_array(ids, self.kind))
        if wanted.ndim > 1:
            raise ConfigError(f"{self.kind} ids must be one list, but got {reprlib.repr(ids)}")
        if not wanted.size:
            return np.empty(0, self.ids.dtype), np.empty(0, bool)
        if wanted.dtype.kind not in _WHOLE + _TEXT + _OBJECTS:
            rule = "whole numbers" if self.ids.dtype.kind == "i" else "whole numbers or text"
            raise ConfigError(f"{self.kind} ids of this model are {rule}, but got {reprlib.repr(ids)}")
        if self.ids.dtype.kind == "U":
            return self._texts(wanted)
        if wanted.dtype.kind == "i":
            return wanted.astype(np.int64), np.zeros(len(wanted), bool)
        numbers = [_whole(one) for one in wanted.tolist()]
        impossible = np.array([number is None for number in numbers])
        return np.array([number or 0 for number in numbers], np.int64), impossible

    def _texts(self, wanted: Array) -> tuple[Array, Array]:
        # A text longer than all ids of the table is none of them. It is cut, so that the others stay narrow.
        width = max(_SHOWN, self.ids.dtype.itemsize // 4) + 1
        if wanted.dtype.kind == "U":
            return wanted.astype(f"U{width}"), np.zeros(len(wanted), bool)
        texts = wanted.astype(object)
        impossible = np.array([not _may_be_text(one) for one in texts])
        return texts.astype(f"U{width}"), impossible

    def _look_up(self, cells: Array, impossible: Array) -> IntArray:
        if not cells.size or not len(self):
            return np.full(len(cells), -1, np.int64)
        position = np.searchsorted(self._sorted, cells).clip(max=len(self) - 1)
        known = (self._sorted[position] == cells) & ~impossible
        rows: IntArray = np.where(known, self._order[position], -1)
        return rows


def _as_array(ids: IdLike | Sequence[int | str | None], kind: str) -> Array:
    """Return ids as an array, and those of a list with text or truth values as an array of objects."""
    # NumPy makes 1 of True beside numbers, "1" of 1 beside text, and all texts as wide as the longest.
    if isinstance(ids, list | tuple):
        cells = cast("Sequence[object]", ids)
        if any(isinstance(cell, str | bool | np.bool_) for cell in cells):
            array = np.empty(len(cells), np.dtype(object))
            array[:] = cells
            return array
    try:
        return np.asarray(ids)
    except ValueError as error:
        raise ConfigError(f"{kind} ids must be one list, but got {reprlib.repr(ids)}") from error


def _whole(one: object) -> int | None:
    """Return an id as a number of 64 bits, or None where it is not one, such as 1.5, True or " 1"."""
    # Not by way of text: Python refuses to write whole numbers of thousands of digits.
    if isinstance(one, str):
        number = int(one) if re.fullmatch(r"-?[0-9]{1,19}", one) else None
    else:
        number = int(one) if _is_whole(one) else None
    return number if number is not None and -(2**63) <= number < 2**63 else None


def _is_whole(one: object) -> TypeGuard[int]:
    return isinstance(one, int | np.integer) and not isinstance(one, bool)


def _may_be_text(one: object) -> bool:
    """Tell whether an object may name a row of a table of text."""
    if isinstance(one, str):
        # NumPy drops NULs at the end of a text.
        return not one.endswith("\0")
    return _is_whole(one)


def _storable(ids: IdLike, kind: str) -> Array:
    """Return ids as an array of int64 or text, which NumPy saves without pickling."""
    array = _as_array(ids, kind)
    if array.ndim == 1 and not array.size:
        return np.empty(0, np.int64) if array.dtype.kind not in _TEXT else np.empty(0, "U1")
    if array.ndim == 1 and array.dtype.kind in "OT":
        values = array.tolist()
        if all(isinstance(one, str) for one in values):
            array = array.astype(object).astype(str)
        elif all(_is_whole(one) and _whole(one) is not None for one in values):
            array = np.array(values, np.int64)
    if array.ndim == 1 and array.dtype.kind in "iU":
        return array if array.dtype.kind == "U" else array.astype(np.int64, copy=False)
    if array.ndim == 1 and array.dtype.kind == "u" and array.max() < 2**63:
        return array.astype(np.int64)
    raise ConfigError(
        f"{kind} ids must be a list of whole numbers or of text, but got {reprlib.repr(ids)}: convert them"
    )
