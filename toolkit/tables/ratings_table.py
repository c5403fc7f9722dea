"""Ratings from a table in memory, whole and each of them good, for a training in this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, cast

import numpy as np

from toolkit.arrays import FloatArray, IntArray
from toolkit.errors import ConfigError, RatingsError, did_you_mean
from toolkit.tables.arrow import DistinctIds, array_of, numbers
from toolkit.tables.column_names import ALIASES, Role, find_column
from toolkit.tables.frames import column_of, columns_of_frame, like_pandas, names_of, plain

if TYPE_CHECKING:
    import pyarrow as pa

_ROLES: tuple[Role, Role, Role] = ("user", "item", "rating")
# From here on, floating-point numbers skip some whole numbers.
_EXACT = 2**53


class RatingColumns(NamedTuple):
    """Ratings in the order of a table.

    Attributes
    ----------
    users, items : pyarrow.Array, shape (n,)
        Ids: int64, or text without an empty one.
    ratings : array of float64, shape (n,)
        Finite values.
    """

    users: pa.Array
    items: pa.Array
    ratings: FloatArray


def is_table(ratings: object) -> bool:
    """Tell whether an argument is a table, or a tuple of three columns, rather than a matrix or dataset."""
    in_arrow = any(hasattr(ratings, f"__arrow_c_{form}__") for form in ("stream", "array"))
    return isinstance(ratings, tuple) or like_pandas(ratings) or in_arrow


def rating_columns(table: object, columns: Sequence[object] | None, name: str = "ratings") -> RatingColumns:
    """Return the ratings of a table.

    Parameters
    ----------
    table : table, or tuple of array-like
        A DataFrame of pandas or cuDF, or what offers Arrow's C stream: tables of Polars, Arrow, DuckDB and
        others. Or users, items and ratings of the same length, as a tuple.
    columns : sequence, length 3, optional
        The names of the columns of users, items and ratings; by default they are found by `ALIASES`.
    name : str
        What the caller calls the table, for the text of errors.

    Raises
    ------
    ConfigError
        When a column is not there, or not to be told from others.
    RatingsError
        When an id or a rating is missing, or of a type that it must not have. The text names column and row.
    """
    names, arrays = _chosen(table, columns, name)
    where = [f"the column {shown} of {name}" for shown in names]
    users, items, ratings = (_complete(array, at) for array, at in zip(arrays, where, strict=True))
    return RatingColumns(_ids(users, where[0]), _ids(items, where[1]), _ratings(ratings, where[2]))


def distinct_ids(arrays: Sequence[pa.Array]) -> tuple[DistinctIds, list[IntArray]]:
    """Return the ids that occur in some columns, ascending, and each row's position among them.

    Parameters
    ----------
    arrays : sequence of pyarrow.Array
        All int64, or all text.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    coded = pa.concat_arrays(arrays).dictionary_encode()
    order = numbers(pc.sort_indices(coded.dictionary)).astype(np.int64)
    rank = np.empty(len(order), np.int64)
    rank[order] = np.arange(len(order))
    codes = rank[numbers(coded.indices)]
    ends = np.cumsum([len(array) for array in arrays])[:-1]
    words = coded.dictionary.take(array_of(order))
    return numbers(words) if pa.types.is_integer(words.type) else words, np.split(codes, ends)


def _chosen(table: Any, columns: Sequence[object] | None, name: str) -> tuple[list[str], list[pa.Array]]:
    """Return names and Arrow arrays of the three columns."""
    import pyarrow as pa

    if isinstance(table, tuple):
        sizes = [len(part) if hasattr(part, "__len__") else None for part in table]
        if columns is not None or len(sizes) != len(_ROLES) or len(set(sizes)) != 1 or sizes[0] is None:
            raise ConfigError(
                f"{name} as a tuple must be users, items and ratings, three arrays of the same length: "
                "give a table to choose columns of"
            )
        parts = zip(table, _ROLES, strict=True)
        return list(_ROLES), [column_of(part, role, name, 0) for part, role in parts]
    if not like_pandas(table):
        try:
            table = pa.table(table)
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise ConfigError(
                f"{name} must be a table of users, items and ratings, but got {type(table).__name__}: {error}"
            ) from error
    names = names_of(table)
    positions = _positions(names, columns, name)
    return [names[at] for at in positions], columns_of_frame(table, positions, _ROLES, name, 0)


def _positions(names: list[str], columns: Sequence[object] | None, name: str) -> list[int]:
    if columns is None:
        found = [find_column(names, role) for role in _ROLES]
        missing = [role for role, at in zip(_ROLES, found, strict=True) if at is None]
        if missing:
            raise ConfigError(
                f"{name} must have columns of users, items and ratings, but none of {_listed(names)} is "
                f"named as a {' or '.join(missing)}, such as {', '.join(ALIASES[missing[0]][:3])}: say which "
                'they are, as columns=("u", "i", "r")'
            )
        positions = cast("list[int]", found)
        columns = [names[at] for at in positions]
    if isinstance(columns, str) or not isinstance(columns, Sequence) or len(columns) != len(_ROLES):
        raise ConfigError(
            f'columns must name those of users, items and ratings, as ("u", "i", "r"), but is {columns!r:.80}'
        )
    wanted = [str(column) for column in columns]
    for column in wanted:
        if names.count(column) != 1:
            hint = "several" if column in names else f"none{did_you_mean(column, names)}"
            raise ConfigError(
                f"{name} must have one column {column}, but have {hint}: their columns are {_listed(names)}"
            )
    return [names.index(column) for column in wanted]


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def _complete(column: Any, where: str) -> pa.Array:
    """Return a column as one array without nulls."""
    import pyarrow as pa

    # Positions of 64 bits, as all ids together may be longer than 2 GiB.
    array = plain(column, pa.large_string())
    if array.null_count:
        row = int(np.argmax(array.is_null().to_numpy(zero_copy_only=False)))
        raise RatingsError(f"{where} has nothing in row {row}: drop such rows, as table.dropna() does")
    return array


def _ids(array: pa.Array, where: str) -> pa.Array:
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = array.type
    if pa.types.is_floating(kind):
        # pandas holds whole numbers as floating-point numbers where a row was empty once.
        values = numbers(array)
        odd = ~((values == np.floor(values)) & (np.abs(values) < _EXACT))
        if odd.any():
            row = int(np.argmax(odd))
            raise RatingsError(f"{where} must be whole numbers or text, but row {row} has {values[row]!s}")
        return array_of(values.astype(np.int64))
    if pa.types.is_integer(kind):
        try:
            return array.cast(pa.int64())
        except pa.ArrowInvalid as error:
            raise RatingsError(f"{where} must fit 64 bits: {error}; give such ids as text") from error
    if pa.types.is_large_string(kind):
        sizes = numbers(pc.binary_length(array))
        if not sizes.all():
            raise RatingsError(f"{where} has an empty text in row {int(np.argmin(sizes))}: drop such rows")
        return array
    raise RatingsError(
        f"{where} must be whole numbers or text, but is {kind}: convert it, as with .astype(str)"
    )


def _ratings(array: pa.Array, where: str) -> FloatArray:
    import pyarrow as pa

    kind = array.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise RatingsError(f"{where} must be numbers, but is {kind}: convert it, as with .astype(float)")
    values: FloatArray = numbers(array.cast(pa.float64(), safe=False))
    finite = np.isfinite(values)
    if not finite.all():
        row = int(np.argmin(finite))
        raise RatingsError(
            f"{where} must be finite numbers, but row {row} has {values[row]!s}: drop such rows"
        )
    return values
