"""Trainings with some users or items solved again, or for the first time; the other side stays as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import Array, IdLike, IntArray, Ratings, SideName
from toolkit.backends import Backend
from toolkit.datasets import IdTable
from toolkit.errors import ConfigError
from toolkit.models.fitted import Training
from toolkit.models.folding import item_pattern
from toolkit.predictor import Side
from toolkit.solver import Factors


class RowNumbers(NamedTuple):
    """Row numbers of ids in a table, where new ids are appended to it.

    Attributes
    ----------
    rows : array of int64, shape (n,)
        The row number of each id; numbers of new ids begin at the end of the table.
    table : IdTable
        The table with the new ids.
    """

    rows: IntArray
    table: IdTable


def updated(
    trainings: Sequence[Training], ratings: Ratings, ids: IdLike, side: SideName, backend: Backend
) -> list[Training]:
    """Return trainings of the same ratings in which some rows follow their ratings as they are now.

    Mean, rating scale and the weights of observed ratings stay those that the training had. So the row that a
    user has is at any time what folding the user's ratings in gives. `item_counts` follow the ratings;
    `weight_counts` change for an item when the item itself is solved again.

    Parameters
    ----------
    trainings : sequence of Training
        They are not changed.
    ratings : scipy.sparse CSR, shape (n, n_items) for users or (n, n_users) for items
        All ratings of each row, as `toolkit.inputs.checked_ratings` returns them.
    ids : array-like, shape (n,)
        The id of each row.
    side : {"user", "item"}
        What the rows are.
    backend : Backend
        Where the rows are solved.

    Raises
    ------
    ConfigError
        When there is not one id for each row, an id occurs twice, or it is text where the model has numbers.
    SolverError
        When the equations of a row have no finite solution.
    """
    first = trainings[0]
    numbers = row_numbers(first.users if side == "user" else first.items, ids)
    if len(numbers.rows) != ratings.shape[0]:
        raise ConfigError(
            f"each row of ratings needs an id, but got {len(numbers.rows)} for {ratings.shape[0]}"
        )
    solved = [_solved(training, ratings, numbers, side, backend) for training in trainings]
    shared = _with_ratings(first, ratings, numbers, side)
    return [
        training.with_changes(factors=factors, **shared)
        for training, factors in zip(trainings, solved, strict=True)
    ]


def row_numbers(table: IdTable, ids: IdLike) -> RowNumbers:
    """Return the row number of each id, and the table with the ids that it lacked.

    Raises
    ------
    ConfigError
        When an id occurs twice, or is text where the table has whole numbers.
    """
    wanted = IdTable(ids, table.kind)
    if len(wanted) and wanted.is_text != table.is_text:
        if wanted.is_text:
            raise ConfigError(
                f"{table.kind} ids of this model are whole numbers, but got {wanted.id(0)!r:.80}"
            )
        wanted = IdTable([str(one) for one in wanted.ids.tolist()], table.kind)
    rows = table.find(wanted.ids)
    new = np.flatnonzero(rows < 0)
    if not len(new):
        return RowNumbers(rows, table)
    rows[new] = len(table) + np.arange(len(new))
    return RowNumbers(rows, table.with_new(wanted.at(new)))


def padded_titles(titles: Array | None, n_items: int) -> Array | None:
    """Return titles with empty texts for items that were appended; None for None."""
    return None if titles is None else np.append(titles, np.full(n_items - len(titles), "", object))


def _solved(
    training: Training, ratings: Ratings, numbers: RowNumbers, side: SideName, backend: Backend
) -> Factors:
    """Return the factors of a training with some rows solved for new ratings."""
    factors, solved = training.factors, training.fold_in(ratings, side, backend)
    if side == "user":
        # The users' pattern factors follow from the items' factors, and are computed when they are needed.
        return replace(factors, users=_with_rows_of(factors.users, numbers, solved), user_pattern=None)
    pattern = factors.item_pattern
    if pattern is not None:
        pattern = with_rows(pattern, numbers, item_pattern(factors, ratings, backend=backend))
    items = _with_rows_of(factors.items, numbers, solved)
    return replace(factors, items=items, item_pattern=pattern, user_pattern=None)


def _with_ratings(
    training: Training, ratings: Ratings, numbers: RowNumbers, side: SideName
) -> dict[str, Any]:
    """Return what changes of a training beside its factors; trainings of the same ratings share it."""
    new = sp.csr_matrix(ratings, copy=True).astype(training.rated.dtype, copy=False)
    users, items, weight_counts = training.users, training.items, training.weight_counts
    if side == "user":
        users, rated = numbers.table, with_sparse_rows(training.rated, numbers, new)
    else:
        items = numbers.table
        rated = with_sparse_rows(training.rated.T.tocsr(), numbers, new).T.tocsr()
        weight_counts = with_rows(weight_counts, numbers, np.diff(new.indptr))
    return {
        "users": users,
        "items": items,
        "rated": rated,
        "item_counts": np.bincount(rated.indices, minlength=len(items)),
        "weight_counts": weight_counts,
        "titles": padded_titles(training.titles, len(items)),
    }


def _with_rows_of(side: Side, numbers: RowNumbers, solved: Side) -> Side:
    return Side(*(with_rows(old, numbers, new) for old, new in zip(side, solved, strict=True)))


def with_rows(array: Array, numbers: RowNumbers, values: Array) -> Array:
    """Return a copy of an array in which some rows are replaced, and others appended."""
    new = np.zeros((len(numbers.table), *array.shape[1:]), array.dtype)
    new[: len(array)] = array
    new[numbers.rows] = values
    return new


def with_sparse_rows(matrix: Ratings, numbers: RowNumbers, values: Ratings) -> Ratings:
    """Return a copy of a sparse matrix in which some rows are replaced, and others appended."""
    source = np.full(len(numbers.table), -1)
    source[: matrix.shape[0]] = np.arange(matrix.shape[0])
    source[numbers.rows] = matrix.shape[0] + np.arange(len(numbers.rows))
    stacked: Ratings = sp.vstack([matrix, values], format="csr")[source]
    return stacked
