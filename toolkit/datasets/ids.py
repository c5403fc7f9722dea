"""Ids as users know them, and the row numbers that the factors use."""

from __future__ import annotations

import re
import reprlib
from typing import Any

import numpy as np

from toolkit.errors import ConfigError, UnknownIdError

# Letters of an unknown id that a message shows.
_SHOWN = 60


class IdTable:
    """Maps ids to row numbers and back.

    Parameters
    ----------
    ids : array-like of int or str, shape (n,)
        The id of each row; all different.
    kind : str
        What the ids name, for error messages: ``"user"`` or ``"item"``.

    Attributes
    ----------
    ids : array of int64 or str, shape (n,)

    Raises
    ------
    ConfigError
        When the ids are neither whole numbers nor text, or one occurs twice.
    """

    def __init__(self, ids: Any, kind: str) -> None:
        self.ids = _plain(ids, kind)
        self.kind = kind
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]
        twice = np.flatnonzero(self._sorted[1:] == self._sorted[:-1])
        if len(twice):
            raise ConfigError(
                f"each {kind} id must occur once, but {self._sorted[twice[0]]} occurs more than once"
            )

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, ids: Any) -> np.ndarray[Any, Any]:
        """Return the row numbers of ids.

        Parameters
        ----------
        ids : scalar or array-like of int or str, shape (n,)
            Integers may be given as text.

        Returns
        -------
        array of int64, shape (n,)

        Raises
        ------
        UnknownIdError
            When an id is not in the table; the text names the first few.
        """
        cells, impossible = self._cells(ids)
        if impossible.any() and self.ids.dtype.kind == "i":
            raise UnknownIdError(
                f"{self.kind} ids of this model are whole numbers, but got {reprlib.repr(ids)}"
            )
        found = self._look_up(cells, impossible)
        if (found < 0).any():
            missing = np.unique(cells[found < 0])
            listed = ", ".join(str(v) for v in missing[:5]) + (", …" if len(missing) > 5 else "")
            raise UnknownIdError(
                f"the model has never seen {self.kind} {listed}: it knows {len(self):,} {self.kind}s, "
                f"such as {', '.join(str(v) for v in self.ids[:3])}"
            )
        return found

    def find(self, ids: Any) -> np.ndarray[Any, Any]:
        """Return the row numbers of ids, and -1 for those that are not in the table, as None is not.

        Raises
        ------
        ConfigError
            When numbers are of a type that is not whole.
        """
        return self._look_up(*self._cells(ids))

    def _cells(self, ids: Any) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        """Return ids in the table's type, and which of them cannot be in it, whatever they are then."""
        # Text of a list as objects: an array of text is as wide as its longest.
        texts = isinstance(ids, list) and any(isinstance(one, str) for one in ids)
        wanted = np.atleast_1d(np.asarray(ids, object if texts else None))
        if not wanted.size:
            return np.empty(0, self.ids.dtype), np.empty(0, bool)
        if self.ids.dtype.kind == "U":
            return self._texts(wanted)
        if wanted.dtype.kind == "i":
            return wanted.astype(np.int64), np.zeros(len(wanted), bool)
        if wanted.dtype.kind not in "OTUu":
            raise ConfigError(f"{self.kind} ids of this model are whole numbers, but got {reprlib.repr(ids)}")
        numbers = [_whole(one) for one in wanted.tolist()]
        impossible = np.array([number is None for number in numbers])
        return np.array([number or 0 for number in numbers], np.int64), impossible

    def _texts(self, wanted: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
        # One longer than all of ours is none of them: it need not be whole, nor all others as wide.
        width = max(_SHOWN, self.ids.dtype.itemsize // 4) + 1
        if wanted.dtype.kind == "U":
            return wanted.astype(f"U{width}"), np.zeros(len(wanted), bool)
        texts = wanted.astype(object)
        # NumPy drops NULs at the end of a text.
        impossible = np.array([one is None or (isinstance(one, str) and one.endswith("\0")) for one in texts])
        return texts.astype(f"U{width}"), impossible

    def _look_up(self, cells: np.ndarray[Any, Any], impossible: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if not cells.size or not len(self):
            return np.full(len(cells), -1, np.int64)
        position = np.searchsorted(self._sorted, cells).clip(max=len(self) - 1)
        known = (self._sorted[position] == cells) & ~impossible
        return np.where(known, self._order[position], -1)


def _whole(one: Any) -> int | None:
    """Return an id as a number of 64 bits, or None for 1.5, and for what only Python reads as a number."""
    # Not by way of text: Python refuses to write whole numbers of thousands of digits.
    if isinstance(one, int) and not isinstance(one, bool):
        number = one
    elif re.fullmatch(r"-?[0-9]{1,19}", text := str(one)):
        number = int(text)
    else:
        return None
    return number if -(2**63) <= number < 2**63 else None


def _plain(ids: Any, kind: str) -> np.ndarray[Any, Any]:
    """Return ids as an array that NumPy saves without pickling, whatever a table column held them as."""
    array = np.asarray(ids)
    if array.ndim == 1 and array.dtype.kind in "OT":
        kinds = {str if isinstance(v, str) else type(v) for v in array.tolist()}
        array = array.astype(object).astype(str if kinds <= {str} else np.int64 if kinds <= {int} else object)
    if array.ndim == 1 and array.dtype.kind in "iU":
        return array if array.dtype.kind == "U" else array.astype(np.int64, copy=False)
    if array.ndim == 1 and array.dtype.kind == "u" and array.max(initial=0) < 2**63:
        return array.astype(np.int64)
    raise ConfigError(f"{kind} ids must be a list of whole numbers or of text, but got {ids!r}")
