"""What `fit` is given, checked before any work: a table, a matrix or a dataset, and validation ratings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from toolkit.arrays import AnySparse, IdLike, Ratings, SideName, Table
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.errors import ConfigError
from toolkit.inputs import checked_ratings
from toolkit.models.table_ratings import matrices, matrix_by_id
from toolkit.tables import is_table, rating_columns

if TYPE_CHECKING:
    import scipy.sparse as sp

# The ids of users and of items that an argument gives.
GivenIds = tuple[IdLike | IdTable | None, IdLike | IdTable | None]


class TrainingInput(NamedTuple):
    """Ratings to train on, with the ids of their rows and columns.

    Attributes
    ----------
    ratings : scipy.sparse CSR, shape (n_users, n_items)
    by_item : scipy.sparse CSR, shape (n_items, n_users), or None
        The same ratings by item, where they are at hand.
    valid : scipy.sparse CSR or COO, shape (n_users, n_items), or None
        Ratings to measure the RMSE on.
    users, items : IdTable
    dataset_digest : str or None
    """

    ratings: Ratings
    by_item: Ratings | None
    valid: Ratings | sp.coo_matrix | None
    users: IdTable
    items: IdTable
    dataset_digest: str | None


def checked_input(
    ratings: RatingsDataset | AnySparse | Table,
    dtype: str,
    *,
    valid: AnySparse | Table | None = None,
    ids: GivenIds = (None, None),
    columns: Sequence[object] | None = None,
) -> TrainingInput:
    """Return what `toolkit.WALS.fit` is given, after a check of all of it.

    Raises
    ------
    ConfigError
        When ids, columns or `valid` do not fit the ratings, or ids are given with a dataset or table.
    UnknownIdError
        When `valid` is a table, the ratings are not, and they lack one of its ids.
    RatingsError
        When a matrix or table is not one of finite ratings, each pair once.
    """
    if is_table(ratings):
        given = _of_table(ratings, valid, ids, columns)
        checked_ratings(given.ratings, dtype)
    else:
        given = _of_matrices(ratings, valid, ids, columns, dtype)
    if given.valid is not None and given.valid.shape != given.ratings.shape:
        raise ConfigError(
            f"valid must have the shape of ratings, {given.ratings.shape}, but has {given.valid.shape}"
        )
    return given


def _of_table(table: Table, valid: object, ids: GivenIds, columns: Sequence[object] | None) -> TrainingInput:
    if ids != (None, None):
        raise ConfigError(
            "a table brings its own ids: leave user_ids and item_ids out; columns names columns"
        )
    if valid is not None and not is_table(valid):
        raise ConfigError("valid must be a table, as the ratings are: its rows are found by their ids")
    train, held_out, users, items = matrices(table, valid, columns)
    return TrainingInput(train, None, held_out, users, items, None)


def _of_matrices(
    ratings: RatingsDataset | AnySparse,
    valid: AnySparse | Table | None,
    ids: GivenIds,
    columns: Sequence[object] | None,
    dtype: str,
) -> TrainingInput:
    if columns is not None and not is_table(valid):
        raise ConfigError("columns are those of a table, but none is given: leave them out")
    if isinstance(ratings, RatingsDataset):
        if any(given is not None for given in ids):
            raise ConfigError(
                "a dataset brings its own ids: leave user_ids and item_ids out, or fit dataset.train"
            )
        # A dataset checks its ratings when it reads them.
        given = TrainingInput(
            ratings.train, ratings.train_by_item, ratings.valid, ratings.users, ratings.items, ratings.digest
        )
    else:
        train = checked_ratings(ratings, dtype)
        users, items = _table(ids[0], train.shape[0], "user"), _table(ids[1], train.shape[1], "item")
        given = TrainingInput(train, None, None, users, items, None)
    shape = given.ratings.shape
    if (len(given.users), len(given.items)) != shape:
        raise ConfigError(
            f"ratings of {shape[0]} users and {shape[1]} items need as many ids, "
            f"but got {len(given.users)} and {len(given.items)}"
        )
    if valid is None:
        return given
    if is_table(valid):
        valid = matrix_by_id(rating_columns(valid, columns, "valid"), given.users, given.items, "valid")
    return given._replace(valid=checked_ratings(valid, dtype, name="valid"))


def _table(ids: IdLike | IdTable | None, n: int, kind: SideName) -> IdTable:
    if isinstance(ids, IdTable):
        return ids
    return IdTable(np.arange(n) if ids is None else ids, kind)
