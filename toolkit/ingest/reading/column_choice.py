"""The columns that hold user, item, rating and time: as the user names them, or by their names."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import RatingsError, did_you_mean
from toolkit.ingest.reading import times
from toolkit.ingest.reading.field_names import ROLES, is_word
from toolkit.ingest.reading.form import Form
from toolkit.tables import Role, find_column, is_number, looks_wide, unit_of_times

_MOST_NAMES = 12


def choose_columns(
    form: Form, columns: Sequence[str | int] | None, *, timestamp: bool
) -> tuple[list[int], bool]:
    """Return the positions of user, item, rating and, where it is named or wanted, timestamp.

    Parameters
    ----------
    form : Form
        What the first file shows.
    columns : sequence of str or int, optional
        The user's columns.
    timestamp : bool
        Whether a column of times is looked for where none is named.

    Returns
    -------
    positions : list of int
        From 0.
    guessed : bool
        Whether neither the user nor the file names the columns.

    Raises
    ------
    RatingsError
        When a column is not there, or none is recognised.
    """
    guessed = False
    if columns is not None and not form.names_columns and any(map(is_word, columns)):
        named = find_column(form.names, "timestamp")
        positions = [*_by_name(form, ROLES), *([] if named is None else [named])]
    elif columns is not None:
        positions = _as_given(form, columns)
    elif form.names and not form.counted:
        positions = _by_name(form, ROLES)
    else:
        guessed = True
        first = form.width - len([name for name in form.names if is_number(name)]) if form.counted else 0
        positions = [first, first + 1, first + 2]
    if timestamp and len(positions) == len(ROLES):
        positions.append(_timestamp(form, positions))
    # Of Parquet a column is read by its name, also where it is given by its position.
    if columns is None or not form.delimiter:
        for position in positions:
            _check_named_once(form, position)
    return positions, guessed


def spare_time(form: Form, positions: Sequence[int]) -> int | None:
    """Return the position of a column of times that nobody asked for, or None.

    It is read where pairs are rated twice and the last rating counts.

    Parameters
    ----------
    form : Form
        What the first file shows.
    positions : sequence of int
        Columns that are read anyway.
    """
    if form.names and not form.counted:
        at = find_column(form.names, "timestamp")
        found = at is not None and form.names.count(form.names[at]) == 1 and bool(_kind(form, at))
    else:
        at = max(positions) + 1
        found = at < form.width and bool(_kind(form, at).endswith("time") or unit_of_times(form.sample(at)))
    return at if found and at not in positions else None


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
        position = form.names.index(str(column))
        _check_named_once(form, position)
        return position
    if not is_word(column):
        if not 1 <= int(column) <= form.width:
            raise RatingsError(f"{option} must name columns from 1 to {form.width}, but got {column}")
        return int(column) - 1
    names = [name for name in form.names if name]
    if not names:
        raise RatingsError(
            f"{form.file} has no header to find {column} in: give {option} as positions, such as 1,2,3"
        )
    has = "its header has" if form.header else "it has" if form.names_columns else "--columns names"
    raise RatingsError(
        f"{form.file} has no column {str(column)!r}{did_you_mean(str(column), names)}: "
        f"{has} {', '.join(names)}"
    )


def positions_between(form: Form, column: str | int) -> list[int]:
    """Return the positions of a column, or of a range of them such as ``3-102``."""
    first, dash, last = str(column).partition("-")
    if str(column) in form.names or not dash or not first.isdigit() or not last.isdigit():
        return [position_of(form, column, "--columns")]
    begin, end = (position_of(form, at, "--columns") for at in (int(first), int(last)))
    return list(range(begin, end + 1))


def kind_of_times(form: Form, position: int) -> str:
    """Return how the times in a column are written: one of `toolkit.ingest.reading.times.KINDS`.

    Raises
    ------
    RatingsError
        When the column holds no times.
    """
    kind = _kind(form, position)
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
        wide = ", or say --wide if users are in rows and items in columns" if looks_wide(form.body) else ""
        raise RatingsError(
            f"{form.file}: none of the columns {_listed(form.names)} is recognised as "
            f"{', '.join(unknown)}: name user, item and rating"
            f"{', and timestamp,' if 'timestamp' in unknown else ''} with --columns{wide}"
        )
    return [position for position in positions.values() if position is not None]


def _listed(names: Sequence[str]) -> str:
    listed = ", ".join(name[:40] for name in names[:_MOST_NAMES])
    return f"{listed}, … ({len(names)} of them)" if len(names) > _MOST_NAMES else listed


def _timestamp(form: Form, others: list[int]) -> int:
    if form.names_columns or find_column(form.names, "timestamp") is not None:
        return _by_name(form, ["timestamp"])[0]
    # The time is in the fourth column of MovieLens, and of files that follow it.
    free = form.width > 3 and 3 not in others and not (form.names and form.names[3])
    if free and _kind(form, 3):
        return 3
    raise RatingsError(
        f"{form.file}: no column of times is found, and the split needs one: name it as the fourth of "
        "--columns, such as 1,2,3,4"
    )


def _kind(form: Form, position: int) -> str:
    return form.types.get(position) or (times.kind_of(form.sample(position)) if form.rows else "")


def _check_named_once(form: Form, position: int) -> None:
    """Refuse a column whose name another one has, too."""
    name = form.names[position] if position < len(form.names) else ""
    if name and form.names.count(name) > 1:
        way_out = (
            "give --columns as positions, such as 1,2,3" if form.delimiter else "write it with other names"
        )
        raise RatingsError(f"{form.file} has the column {name} {form.names.count(name)} times: {way_out}")
