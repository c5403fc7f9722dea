"""Ids as users know them, and the row numbers that the factors use."""

from __future__ import annotations

import reprlib
from typing import Any

import numpy as np

from toolkit.errors import ConfigError, UnknownIdError

# Text of more than these is no whole number of 64 bits.
_DIGITS = 24
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
        try:
            wanted = self._like_ours(ids)
        except ConfigError:
            raise
        except (ValueError, OverflowError) as error:
            raise UnknownIdError(
                f"{self.kind} ids of this model are whole numbers, but got {reprlib.repr(ids)}"
            ) from error
        found = self._look_up(wanted)
        if (found < 0).any():
            missing = np.unique(wanted[found < 0])
            listed = ", ".join(str(v) for v in missing[:5]) + (", …" if len(missing) > 5 else "")
            raise UnknownIdError(
                f"the model has never seen {self.kind} {listed}: it knows {len(self):,} {self.kind}s, "
                f"such as {', '.join(str(v) for v in self.ids[:3])}"
            )
        return found

    def find(self, ids: Any) -> np.ndarray[Any, Any]:
        """Return the row numbers of ids, and -1 for those that are not in the table; otherwise as `rows`."""
        try:
            return self._look_up(self._like_ours(ids))
        except ConfigError:
            raise
        except (ValueError, OverflowError):
            if np.ndim(ids) == 0:
                return np.full(1, -1)
            # What is no number at all is just not there; the others are looked for one by one.
            return np.concatenate([self.find(one) for one in np.asarray(ids, object)])

    def _like_ours(self, ids: Any) -> np.ndarray[Any, Any]:
        """Return ids as an array of the table's type; a plain `ValueError` for text that is no number."""
        # Text of a list as objects: an array of text is as wide as its longest.
        texts = isinstance(ids, list) and any(isinstance(one, str) for one in ids)
        wanted = np.atleast_1d(np.asarray(ids, object if texts else None))
        if self.ids.dtype.kind == "U" or not wanted.size:
            # One longer than all of ours is none of them: it need not be whole, nor all others as wide.
            width = max(_SHOWN, self.ids.dtype.itemsize // 4 if self.ids.dtype.kind == "U" else 0)
            return wanted.astype(object).astype(f"U{width + 1}")
        if wanted.dtype.kind in "OTu":
            # By way of text, so that 1.5 is not cut to 1 and 2**64 - 1 does not become -1.
            wanted = wanted.astype(object).astype(f"U{_DIGITS + 1}")
            if (np.strings.str_len(wanted) > _DIGITS).any():
                raise ValueError(wanted)
        if wanted.dtype.kind not in "iuU":
            raise ConfigError(f"{self.kind} ids of this model are whole numbers, but got {reprlib.repr(ids)}")
        return wanted.astype(np.int64)

    def _look_up(self, wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        if not wanted.size or not len(self):
            return np.full(len(wanted), -1, np.int64)
        position = np.searchsorted(self._sorted, wanted).clip(max=len(self) - 1)
        return np.where(self._sorted[position] == wanted, self._order[position], -1)


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
