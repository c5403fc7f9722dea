"""The columns that hold user, item, rating and time: as the user names them, or by their names."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import RatingsError, did_you_mean
from toolkit.ingest.reading import times
from toolkit.ingest.reading.field_names import ROLES, is_word
from toolkit.ingest.reading.form import Form
from toolkit.tables import Role, find_column, is_number


def choose_columns(form: Form, columns: Sequence[str | int] | None, *, timestamp: bool) -> list[int]:
    """Return the positions of user, item, rating and, where it is named or wanted, timestamp.

    Parameters
    ----------
    form : Form
        What the first file shows.
    columns : sequence of str or int, optional
        The user's columns.
    timestamp : bool
        Whether a column of times is looked for where none is named.

    Raises
    ------
    RatingsError
        When a column is not there, or none is recognised.
    """
    if columns is not None and not form.header and any(map(is_word, columns)):
        named = find_column(form.names, "timestamp")
        positions = [*_by_name(form, ROLES), *([] if named is None else [named])]
    elif columns is not None:
        positions = _as_given(form, columns)
    elif form.names:
        positions = _by_name(form, ROLES)
    else:
        positions = [0, 1, 2]
    if form.header and form.rows and is_number(form.rows[0][positions[2]]):
        raise RatingsError(
            f"{form.file}: the first line, {form.delimiter.join(form.rows[0])[:80]!r}, must be a header, "
            "but its rating column holds a number: give --no-header"
        )
    if timestamp and len(positions) == len(ROLES):
        positions.append(_timestamp(form, positions))
    return positions


def position_of(form: Form, column: str | int, option: str) -> int:
    """Return the position of a column, from 0, by its name or by its number, from 1.

    Parameters
    ----------
    form : Form
        What the first file shows.
    column : str or int
        Name or number.
    option : str
        The option that names it, for errors.

    Raises
    ------
    RatingsError
        When there is no such column.
    """
    if str(column) in form.names:
        return form.names.index(str(column))
    if not is_word(column):
        if not 1 <= int(column) <= form.width:
            raise RatingsError(f"{option} must name columns from 1 to {form.width}, but got {column}")
        return int(column) - 1
    names = [name for name in form.names if name]
    if not names:
        raise RatingsError(
            f"{form.file} has no header to find {column} in: give {option} as positions, such as 1,2,3"
        )
    raise RatingsError(
        f"{form.file} has no column {str(column)!r}{did_you_mean(str(column), names)}: "
        f"{'its header has' if form.header else '--columns names'} {', '.join(names)}"
    )


def kind_of_times(form: Form, position: int) -> str:
    """Return how the times in a column are written: one of `toolkit.ingest.reading.times.KINDS`.

    Raises
    ------
    RatingsError
        When the column holds no times.
    """
    kind = form.types.get(position) or _sampled_kind(form, position)
    if not kind:
        column = form.names[position] if form.names else f"column {position + 1}"
        odd = next((text for text in form.sample(position) if not times.kind_of([text])), "")
        sample = f", such as {odd!r}," if form.rows else ""
        raise RatingsError(
            f"{form.file}: {column}{sample} must hold times, as numbers or as 2015-03-31 "
            "23:59:59.123456: name another as the fourth of --columns"
        )
    return kind


def _as_given(form: Form, columns: Sequence[str | int]) -> list[int]:
    listed = ", ".join(map(str, columns))
    if len(columns) not in {3, 4}:
        raise RatingsError(
            "--columns must name user, item and rating in this order, and perhaps a timestamp, but got "
            f"{listed}"
        )
    positions = [position_of(form, column, "--columns") for column in columns]
    if len(set(positions)) != len(positions):
        raise RatingsError(f"--columns must name different columns, but got {listed}")
    return positions


def _by_name(form: Form, roles: Sequence[Role]) -> list[int]:
    positions = {role: find_column(form.names, role) for role in roles}
    unknown = [role for role, position in positions.items() if position is None]
    if unknown:
        raise RatingsError(
            f"{form.file}: none of the columns {', '.join(form.names)} is recognised as "
            f"{', '.join(unknown)}: name user, item and rating"
            f"{', and timestamp,' if 'timestamp' in unknown else ''} with --columns"
        )
    return [position for position in positions.values() if position is not None]


def _timestamp(form: Form, others: list[int]) -> int:
    if form.header:
        return _by_name(form, ["timestamp"])[0]
    # The time is in the fourth column of MovieLens, and of files that follow it.
    free = form.width > 3 and 3 not in others and not (form.names and form.names[3])
    if free and _sampled_kind(form, 3):
        return 3
    raise RatingsError(
        f"{form.file}: no column of times is found, and the split needs one: name it as the fourth of "
        "--columns, such as 1,2,3,4"
    )


def _sampled_kind(form: Form, position: int) -> str:
    return times.kind_of(form.sample(position)) if form.rows else ""
