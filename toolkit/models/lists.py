"""Lists of ids and scores, as arrays or as a table, and the candidates that they are chosen from."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from toolkit.arrays import Array, FloatArray, IdLike
from toolkit.backends import Best
from toolkit.datasets import IdTable
from toolkit.models.best_items import Candidates

if TYPE_CHECKING:
    import pandas as pd

Lists: TypeAlias = tuple[Array, FloatArray]
"""Ids and scores, best first: of one asker, shape (≤ n,), or of several, shape (m, n)."""


def is_one(ids: IdLike) -> bool:
    """Tell whether an argument is one id, rather than a list of them."""
    return np.ndim(np.asarray(ids, object)) == 0


def candidates(table: IdTable, only: IdLike | None, without: IdLike | None) -> Candidates:
    """Return the rows that a list is chosen from.

    Parameters
    ----------
    table : IdTable
        All ids.
    only : ids, optional
        The ids to choose from.
    without : ids, optional
        Ids that are left out; those that the table lacks are no matter.

    Raises
    ------
    UnknownIdError
        When the table lacks an id of `only`.
    """
    left_out = None if without is None else table.find(without)
    if only is None:
        return Candidates(without=None if left_out is None else left_out[left_out >= 0])
    rows = np.unique(table.rows(only))
    return Candidates(rows if left_out is None else np.setdiff1d(rows, left_out))


def as_arrays(best: Best, table: IdTable, *, one: bool) -> Lists:
    """Return ids and scores of the lists of several askers, or of one.

    Returns
    -------
    ids : array of ids, shape (n_askers, n), or (≤ n,) for one
        Where a list is shorter than others: -1, or None where ids are text.
    scores : array of float, same shape
        NaN where a list is shorter than others.
    """
    real = best.items >= 0
    if one:
        return table.at(best.items[0][real[0]]), best.scores[0][real[0]]
    ids: Array = np.full(
        best.items.shape, None if table.is_text else -1, object if table.is_text else np.int64
    )
    ids[real] = table.at(best.items[real])
    return ids, best.scores


def as_table(best: Best, asking: Array, table: IdTable, columns: tuple[str, str]) -> pd.DataFrame:
    """Return the lists of some askers as a table of pandas, with a row for each entry.

    Parameters
    ----------
    best : Best
    asking : array of ids, shape (n_askers,)
    table : IdTable
        The ids of what the lists hold.
    columns : tuple of str
        Names of the columns of the askers and of the ids; ``rank``, from 1, and ``score`` follow.
    """
    import pandas as pd

    real = best.items >= 0
    asker, place = np.nonzero(real)
    ids = table.at(best.items[real])
    values = {columns[0]: asking[asker], columns[1]: ids, "rank": place + 1, "score": best.scores[real]}
    return pd.DataFrame(values)
