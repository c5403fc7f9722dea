"""Ids as users know them, and the row numbers that the factors use."""

from __future__ import annotations

from typing import Any

import numpy as np

from toolkit.errors import ConfigError, UnknownIdError


class IdTable:
    """Maps ids to row numbers and back.

    Parameters
    ----------
    ids : array of int64 or str, shape (n,)
        The id of each row; all different.
    kind : str
        What the ids name, for error messages: ``"user"`` or ``"item"``.
    """

    def __init__(self, ids: Any, kind: str) -> None:
        self.ids = np.asarray(ids)
        self.kind = kind
        self._order = np.argsort(self.ids, kind="stable")
        self._sorted = self.ids[self._order]

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
        if self.ids.dtype.kind == "i" and wanted.dtype.kind in "UO":
            try:
                wanted = wanted.astype(np.int64)
            except (ValueError, OverflowError) as error:
                raise UnknownIdError(
                    f"{self.kind} ids of this model are whole numbers, but got {ids!r}"
                ) from error
        elif self.ids.dtype.kind == "U":
            wanted = wanted.astype(str)
        elif wanted.dtype.kind not in "iu":
            raise ConfigError(f"{self.kind} ids of this model are whole numbers, but got {ids!r}")
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
