"""Rows of one side solved again, or for the first time, from their ratings; the other side stays as it is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.backends import Backend
from toolkit.datasets.ids import IdTable
from toolkit.errors import ConfigError
from toolkit.inputs import checked_ratings
from toolkit.predictor import Side
from toolkit.solver import Factors, observation_weights, solve_pattern
from toolkit.solver.normal import half_step, solve

if TYPE_CHECKING:
    from toolkit.models.wals import WALS

Kind = Literal["user", "item"]
# Fewer rows are solved sooner than compiled loops are loaded.
FEW = 64
_Array = np.ndarray[Any, Any]


def solve_new(
    factors: Factors,
    ratings: Any,
    kind: Kind,
    item_counts: _Array,
    *,
    user_pattern: Any = None,
    threads: int = 0,
) -> Side:
    """Return factors and biases of rows from their ratings, by the normal equations of training.

    Parameters
    ----------
    factors : Factors
        A model's, in host memory.
    ratings : scipy.sparse CSR, shape (n, n_items) for users or (n, n_users) for items
        A row for each; finite values, each pair once.
    kind : {"user", "item"}
        What the rows are.
    item_counts : array of int64, shape (n_items,)
        Training ratings of each item, which its weight depends on; the weight of an item that is folded in
        depends on the ratings it comes with.
    user_pattern : array of float, shape (n_users, k), optional
        For items: pattern factors of the users, where the model has a ``pattern_weight``.
    threads : int, default 0
        As `toolkit.backends.base.Backend`.

    Returns
    -------
    Side
        Arrays of shape (n, k) and (n,).

    Raises
    ------
    ConfigError
        When the ratings have another number of columns.
    RatingsError
        When a rating is not finite, or a pair occurs twice.
    SolverError
        When a row has no finite solution.
    """
    fixed = factors.items if kind == "user" else factors.users
    dtype = fixed.factors.dtype
    matrix = checked_ratings(ratings, str(dtype))
    if matrix.shape[1] != len(fixed.bias):
        other = "item" if kind == "user" else "user"
        raise ConfigError(
            f"ratings must have {len(fixed.bias)} columns, one per {other}, but have {matrix.shape[1]}"
        )
    backend = Backend.prefer("numba" if matrix.shape[0] >= FEW else "numpy", threads)
    rows = backend.rows(matrix, str(dtype))
    counts = np.asarray(item_counts) if kind == "user" else rows.host_counts
    weight = observation_weights(counts, factors.config).astype(dtype)
    pattern = factors.item_pattern if kind == "user" else user_pattern
    step = half_step(
        rows,
        Side(np.asarray(fixed.factors), np.asarray(fixed.bias)),
        backend=backend,
        mean=factors.mean,
        config=factors.config,
        column_weight=weight if kind == "user" else None,
        row_weight=weight if kind == "item" else None,
        pattern=pattern,
    )
    return solve(step, backend=backend)


class Rows(NamedTuple):
    """Where rows with given ids are in a table that some of them are appended to."""

    at: _Array
    ids: _Array


def place(table: IdTable, ids: Any) -> Rows:
    """Return the row of each id, those that the table lacks behind its end, and all ids then.

    Raises
    ------
    ConfigError
        When an id occurs twice, or is text where the table has integers.
    """
    wanted = IdTable(ids, table.kind).ids
    if wanted.dtype.kind != table.ids.dtype.kind:
        if wanted.dtype.kind == "U":
            raise ConfigError(f"{table.kind} ids of this model are whole numbers, but got {str(wanted[0])!r}")
        wanted = wanted.astype(str)
    known = np.isin(wanted, table.ids)
    at = np.empty(len(wanted), np.int64)
    at[known] = table.rows(wanted[known])
    at[~known] = len(table) + np.arange(int((~known).sum()))
    return Rows(at, np.concatenate([np.asarray(table.ids), wanted[~known]]))


def put(array: Any, rows: Rows, values: Any) -> _Array:
    """Return an array with some of its rows replaced and others appended."""
    old = np.asarray(array)
    new = np.zeros((len(rows.ids), *old.shape[1:]), old.dtype)
    new[: len(old)] = old
    new[rows.at] = values
    return new


def put_rows(matrix: sp.csr_matrix, rows: Rows, values: sp.csr_matrix) -> sp.csr_matrix:
    """Do the same to the rows of a sparse matrix."""
    source = np.full(len(rows.ids), -1)
    source[: matrix.shape[0]] = np.arange(matrix.shape[0])
    source[rows.at] = matrix.shape[0] + np.arange(len(rows.at))
    updated: sp.csr_matrix = sp.vstack([matrix, values], format="csr")[source]
    return updated


def with_titles_of(titles: Any, n_items: int) -> Any:
    """Return titles with empty ones for items that were appended; None for none."""
    return None if titles is None else np.append(titles, np.full(n_items - len(titles), "", "U1"))


def fold_in(model: WALS, ratings: Any, kind: Kind) -> Side:
    """Return factors and biases of new rows of a model; as `toolkit.WALS.fold_in`."""
    factors, threads = model.factors, model.options.threads
    pattern = None
    if kind == "item" and factors.config.pattern_weight:
        # Training solves it at the beginning of each iteration, for the items before it.
        backend = Backend(threads)
        rated = backend.rows(model.rated, str(factors.items.factors.dtype))
        pattern = solve_pattern(rated, np.asarray(factors.items.factors), factors.config, backend=backend)
    return solve_new(factors, ratings, kind, model.item_counts, user_pattern=pattern, threads=threads)


def update(model: WALS, ratings: Any, ids: Any, kind: Kind) -> None:
    """Solve rows of a model again, or for the first time; as `toolkit.WALS.partial_fit`."""
    rows = place(model.users if kind == "user" else model.items, ids)
    if len(rows.at) != ratings.shape[0]:
        raise ConfigError(f"each row of ratings needs an id, but got {len(rows.at)} for {ratings.shape[0]}")
    solved = fold_in(model, ratings, kind)
    factors = model.factors
    old = factors.users if kind == "user" else factors.items
    side = Side(*(put(a, rows, b) for a, b in zip(old, solved, strict=True)))
    # The users' pattern factors follow from the items' factors, and are made anew when they are needed.
    changes: dict[str, Any] = {f"{kind}s": side, "user_pattern": None}
    new = sp.csr_matrix(ratings, copy=True).astype(model.rated.dtype, copy=False)
    new.sort_indices()
    rated, users, items, counts = model.rated, model.users, model.items, np.asarray(model.item_counts)
    if kind == "user":
        rated, users = put_rows(rated, rows, new), IdTable(rows.ids, kind)
    else:
        rated, items = put_rows(rated.T.tocsr(), rows, new).T.tocsr(), IdTable(rows.ids, kind)
        counts = put(counts, rows, np.diff(new.indptr))
        model.titles = with_titles_of(model.titles, len(items))
    if kind == "item" and factors.item_pattern is not None:
        backend = Backend(threads=1)
        by_item = backend.rows(new, str(factors.items.factors.dtype))
        users_factors = np.asarray(factors.users.factors)
        explained = solve_pattern(by_item, users_factors, factors.config, backend=backend)
        changes["item_pattern"] = put(factors.item_pattern, rows, explained)
    model.take(
        replace(factors, **changes),
        users=users,
        items=items,
        item_counts=counts,
        rated=rated,
    )
