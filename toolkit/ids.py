"""Ids as users know them, and the row numbers that the factors use."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.errors import ConfigError, UnknownIdError


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
        wanted = np.atleast_1d(np.asarray(ids))
        if not wanted.size:
            return np.empty(0, np.int64)
        if self.ids.dtype.kind == "U":
            wanted = wanted.astype(object).astype(str)
        else:
            if wanted.dtype.kind in "OTu":
                # By way of text, so that 1.5 is not cut to 1 and 2**64 - 1 does not become -1.
                wanted = wanted.astype(object).astype(str)
            if wanted.dtype.kind not in "iuU":
                raise ConfigError(f"{self.kind} ids of this model are whole numbers, but got {ids!r}")
            try:
                wanted = wanted.astype(np.int64)
            except (ValueError, OverflowError) as error:
                raise UnknownIdError(
                    f"{self.kind} ids of this model are whole numbers, but got {ids!r}"
                ) from error
        position = np.searchsorted(self._sorted, wanted).clip(max=max(len(self) - 1, 0))
        known = self._sorted[position] == wanted if len(self) else np.zeros(len(wanted), bool)
        if not known.all():
            missing = np.unique(wanted[~known])
            listed = ", ".join(str(v) for v in missing[:5]) + (", …" if len(missing) > 5 else "")
            raise UnknownIdError(
                f"the model has never seen {self.kind} {listed}: it knows {len(self):,} {self.kind}s, "
                f"such as {', '.join(str(v) for v in self.ids[:3])}"
            )
        found: np.ndarray[Any, Any] = self._order[position]
        return found


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
