"""Ratings of tables as matrices: the ids of a table become row numbers, of its own or of a model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import FloatArray, IntArray, Ratings, SideName
from toolkit.datasets import IdTable
from toolkit.errors import ConfigError, RatingsError
from toolkit.tables import DistinctIds, RatingColumns, distinct_ids, rating_columns

if TYPE_CHECKING:
    import pyarrow as pa


def matrices(
    table: object, valid: object | None, columns: Sequence[object] | None
) -> tuple[Ratings, Ratings | None, IdTable, IdTable]:
    """Return the matrices of a table of ratings and of one of validation ratings, and the ids of both.

    Users and items are in ascending order of their ids, as in a dataset. Those of `valid` alone have rows and
    columns, too, without a rating to train on.

    Parameters
    ----------
    table, valid : table
        What `toolkit.tables.rating_columns` takes.
    columns : sequence, length 3, optional
        The names of the columns of users, items and ratings in both tables.

    Raises
    ------
    ConfigError
        When a column is not there, or ids are numbers in one table and text in the other.
    RatingsError
        When an id or a rating cannot be used, or a pair occurs twice.
    """
    parts = [rating_columns(table, columns)]
    if valid is not None:
        parts.append(rating_columns(valid, columns, "valid"))
    users, rows = _table([part.users for part in parts], "user")
    items, found = _table([part.items for part in parts], "item")
    made = [
        matrix_of(users, items, (row, column), part.ratings, name)
        for row, column, part, name in zip(rows, found, parts, ("ratings", "valid"), strict=False)
    ]
    return made[0], made[1] if valid is not None else None, users, items


def rows_of(
    columns: RatingColumns, users: IdTable, items: IdTable, *, refuse: bool
) -> tuple[IntArray, IntArray]:
    """Return the row numbers that the ids of a table have in a model.

    Parameters
    ----------
    columns : RatingColumns
    users, items : IdTable
        Of the model.
    refuse : bool
        Whether an id that the model lacks is an error; otherwise it is -1.

    Raises
    ------
    UnknownIdError
        When an id is refused.
    """

    def look_up(ids: pa.Array, table: IdTable) -> IntArray:
        distinct, (codes,) = distinct_ids([ids])
        wanted = _python(distinct)
        found: IntArray = (table.rows(wanted) if refuse else table.find(wanted))[codes]
        return found

    return look_up(columns.users, users), look_up(columns.items, items)


def matrix_by_id(columns: RatingColumns, users: IdTable, items: IdTable, name: str) -> Ratings:
    """Return ratings as a matrix of the users and items of a model; see `rows_of` and `matrix_of`."""
    pairs = rows_of(columns, users, items, refuse=True)
    return matrix_of(users, items, pairs, columns.ratings, name)


def matrix_of(
    users: IdTable, items: IdTable, pairs: tuple[IntArray, IntArray], ratings: FloatArray, name: str
) -> Ratings:
    """Return the ratings of pairs of row and column number as a matrix.

    Raises
    ------
    RatingsError
        When a pair occurs twice; the text has its ids, and where in the table it stands.
    """
    rows, columns = pairs
    keys = rows * np.int64(len(items)) + columns
    order = np.argsort(keys, kind="stable")
    twice = np.flatnonzero(np.diff(keys[order]) == 0)
    if len(twice):
        first, second = order[twice[0]], order[twice[0] + 1]
        raise RatingsError(
            f"each pair of {name} must be rated once, but user {users.id(rows[first])} rated item "
            f"{items.id(columns[first])} in rows {first} and {second}: keep one, as pandas does with "
            "drop_duplicates([user, item], keep='last'), or their mean, with groupby([user, item])"
        )
    return sp.csr_matrix((ratings, pairs), shape=(len(users), len(items)))


def _table(columns: Sequence[pa.Array], side: SideName) -> tuple[IdTable, list[IntArray]]:
    kinds = {str(column.type) for column in columns}
    if len(kinds) > 1:
        raise ConfigError(
            f"{side} ids of ratings and valid must be of one type, but are {' and '.join(kinds)}"
        )
    ids, codes = distinct_ids(columns)
    return IdTable(_python(ids), side), codes


def _python(ids: DistinctIds) -> IntArray | list[str]:
    return ids if isinstance(ids, np.ndarray) else ids.to_pylist()
