"""Requests: the rows of a table and its parameters, checked against the model."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import IntArray, Ratings
from toolkit.errors import ConfigError
from toolkit.models import Model, require_samples
from toolkit.serving import limits

Id = int | str
COLUMNS = ("user", "item", "ratings")
# An interval of 0 asks for none: MLflow knows no parameter without a number.
PARAMS = {"n": 10, "exclude_seen": True, "interval": 0.0}
# What other libraries call the same.
OTHER_WORDS = {"k": "n", "filter_seen": "exclude_seen", "include_seen": "exclude_seen"}
# The largest rating for models without a rating scale: single precision still holds its square.
_LARGEST = 1e9
# From here on, floating-point numbers skip some whole numbers.
_EXACT = 2**53
_NUMBERS = (int, float, np.integer, np.floating)
# Mistakes that a refusal lists.
_LISTED = 5


@dataclass(frozen=True)
class Requests:
    """Rows of a table, each of which asks for recommendations or for a predicted rating.

    Attributes
    ----------
    users, items : list of int, str or None, length n
        Ids as they came; an item is None where recommendations are asked for.
    user_rows, item_columns : array of int64, shape (n,)
        Row numbers of the ids in the model, -1 for an id that it does not know.
    new : array of int64, shape (m,)
        Rows of the table with ratings of items that the model knows: users to fold in.
    ratings : scipy.sparse CSR, shape (m, n_items)
        The ratings of these users.
    ignored : dict of int to list of id
        For each row with ratings, the rated items that the model does not know.
    n : int
        How many items are recommended.
    exclude_seen : bool
        Whether items that a user rated are left out.
    interval : float
        The probability of an interval around each predicted rating; 0 for none.
    """

    users: list[Id | None]
    items: list[Id | None]
    user_rows: IntArray
    item_columns: IntArray
    new: IntArray
    ratings: Ratings
    ignored: dict[int, list[Id]]
    n: int
    exclude_seen: bool
    interval: float


class _Mistakes:
    """All mistakes of a request, which one error lists."""

    def __init__(self) -> None:
        self._texts: list[str] = []

    def add(self, text: str) -> None:
        self._texts.append(text)

    def refuse(self) -> None:
        if self._texts:
            more = len(self._texts) - _LISTED
            raise ConfigError("; ".join(self._texts[:_LISTED]) + (f"; and {more:,} more" if more > 0 else ""))


def read(model: Model, columns: Mapping[str, Sequence[Any]], params: Mapping[str, Any]) -> Requests:
    """Return the requests of a table.

    Parameters
    ----------
    model : Model
        The model that is asked.
    columns : mapping of str to sequence, all of length n
        Those of `COLUMNS` that the table has; an empty cell is None or NaN.
    params : mapping
        Values for the names of `PARAMS`, which has the defaults.

    Raises
    ------
    ConfigError
        When a value is of the wrong type, out of range, missing, or above a limit of
        `toolkit.serving.limits`. The text names the rows, counted from 0.
    """
    n, exclude_seen, interval = read_params(params)
    if interval:
        require_samples(model.posterior)
    rows = max((len(column) for column in columns.values()), default=0)
    if rows == 0:
        raise ConfigError("the table must have at least one row, with a user or ratings")
    limits.require_at_most(limits.ROWS, rows, "rows")
    user_cells, item_cells, rating_cells = (list(columns.get(name, [None] * rows)) for name in COLUMNS)
    mistakes = _Mistakes()
    users = [_id(cell, f"row {at}: user", mistakes.add) for at, cell in enumerate(user_cells)]
    items = [_id(cell, f"row {at}: item", mistakes.add) for at, cell in enumerate(item_cells)]
    rated = {at: cell for at, cell in enumerate(rating_cells) if not _empty(cell)}
    for at, (user, cell) in enumerate(zip(users, user_cells, strict=True)):
        if user is None and _empty(cell) and at not in rated:
            mistakes.add(f"row {at} must have a user or ratings: of somebody unknown, give ratings as []")
    pairs = _Ratings(model, rated, mistakes)
    mistakes.refuse()
    user_rows = model.users.find(users)
    # The ratings of a request are newer than those that the model was trained on.
    user_rows[list(rated)] = -1
    return Requests(
        users=users,
        items=items,
        user_rows=user_rows,
        item_columns=model.items.find(items),
        new=pairs.new,
        ratings=pairs.matrix,
        ignored=pairs.ignored,
        n=n,
        exclude_seen=exclude_seen,
        interval=interval,
    )


def read_params(params: Mapping[str, Any]) -> tuple[int, bool, float]:
    """Return ``n``, ``exclude_seen`` and ``interval``, or their defaults.

    Raises
    ------
    ConfigError
        When one is of the wrong type or out of range.
    """
    n, exclude_seen, interval = (params.get(name, default) for name, default in PARAMS.items())
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or not 1 <= n <= limits.N:
        raise ConfigError(f"n must be a whole number from 1 to {limits.N:,}, but is {_short(n)}")
    if not isinstance(exclude_seen, bool | np.bool_):
        raise ConfigError(f"exclude_seen must be true or false, but is {_short(exclude_seen)}")
    if isinstance(interval, bool) or not isinstance(interval, _NUMBERS) or not 0 <= interval < 1:
        raise ConfigError(
            f"interval must be a probability below 1, such as 0.8, or 0 for none, but is {_short(interval)}"
        )
    return int(n), bool(exclude_seen), float(interval)


class _Ratings:
    """Ratings of new users as the rows of a matrix; see the attributes of `Requests`."""

    def __init__(self, model: Model, cells: Mapping[int, Any], mistakes: _Mistakes) -> None:
        at: list[int] = []
        items: list[Id] = []
        values: list[float] = []
        for row, cell in cells.items():
            if isinstance(cell, str | bytes | Mapping) or not isinstance(cell, Sequence | np.ndarray):
                mistakes.add(
                    f'row {row}: ratings must be a list like [{{"item": 1, "rating": 4}}], '
                    f"but is {_short(cell)}"
                )
                continue
            limits.require_at_most(limits.RATINGS, len(items) + len(cell), "ratings")
            for number, pair in enumerate(cell):
                where = f"row {row}, rating {number}"
                if not isinstance(pair, Mapping) or pair.keys() != {"item", "rating"}:
                    mistakes.add(f"{where} must be an object of item and rating, but is {_short(pair)}")
                    continue
                item = _id(pair["item"], f"{where}: item", mistakes.add)
                value = _rating(pair["rating"], model, where, mistakes.add)
                if item is None:
                    mistakes.add(f"{where} must have an item, but has {_short(pair['item'])}")
                elif value is not None:
                    at.append(row)
                    items.append(item)
                    values.append(value)
        self.ignored: dict[int, list[Id]] = {row: [] for row in cells}
        self.new, self.matrix = np.empty(0, np.int64), sp.csr_matrix((0, len(model.items)))
        if not items:
            return
        columns = model.items.find(items)
        known = columns >= 0
        for number in np.flatnonzero(~known).tolist():
            self.ignored[at[number]].append(items[number])
        self.new, numbers_ = np.unique(np.array(at, np.int64)[known], return_inverse=True)
        entries = (np.array(values)[known], (numbers_, columns[known]))
        self.matrix = sp.csr_matrix(entries, shape=(len(self.new), len(model.items)))
        if self.matrix.nnz < known.sum():
            self._name_doubles(at, items, columns, mistakes)

    @staticmethod
    def _name_doubles(at: list[int], items: list[Id], columns: IntArray, mistakes: _Mistakes) -> None:
        seen: set[tuple[int, int]] = set()
        for row, item, column in zip(at, items, columns.tolist(), strict=True):
            if column >= 0 and (row, column) in seen:
                mistakes.add(f"row {row} must rate an item once, but rates {_short(item)} twice")
            seen.add((row, column))


def _empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell)) or type(cell).__name__ == "NAType"


def _id(cell: object, where: str, mistake: Callable[[str], None]) -> Id | None:
    if _empty(cell):
        return None
    if isinstance(cell, str):
        if _is_utf8(cell):
            return cell
        mistake(f"{where} must be text that utf-8 can hold, but is {_short(cell)}")
        return None
    # In a column with empty cells, pandas holds whole numbers as floating-point numbers.
    if isinstance(cell, float) and cell.is_integer() and abs(cell) < _EXACT:
        return int(cell)
    if isinstance(cell, int | np.integer) and not isinstance(cell, bool):
        return int(cell)
    hint = ": give large ones as text" if isinstance(cell, float) and abs(cell) >= _EXACT else ""
    mistake(f"{where} must be a whole number or text, but is {_short(cell)}{hint}")
    return None


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _rating(cell: object, model: Model, where: str, mistake: Callable[[str], None]) -> float | None:
    low, high = model.factors.scale or (-_LARGEST, _LARGEST)
    # The scale is a number of single precision, where 0.1 is a little more than 0.1.
    rounding = 1e-6 * max(abs(low), abs(high))
    value: Any = math.nan if isinstance(cell, bool) or not isinstance(cell, _NUMBERS) else cell
    # Written so that NaN is refused, too.
    if low - rounding <= value <= high + rounding:
        return float(value)
    mistake(f"{where} must be a number from {low:g} to {high:g}, but is {_short(cell)}")
    return None


def _short(value: object) -> str:
    # Long texts and nested lists are cut.
    return reprlib.repr(value)
