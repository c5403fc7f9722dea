"""The form of wide tables: a line for each user, a column for each item; their header and their items."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import RatingsError
from toolkit.ingest.reading.form import Form, cleaned, counted_columns
from toolkit.tables import find_column, is_number, whole_number

NO_RATING = ("", "NA", "N/A", "NaN", "nan", "null", "NULL", "None", "-", "?")
"""What a cell without a rating may hold, besides the value that the user names."""


def has_header(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether the first line of a wide table names the items."""
    first, body = cleaned(rows[0]), [row for row in rows[1:] if len(row) == len(rows[0])]
    if not first[0] or find_column(first[:1], "user", also=["id"]) is not None or counted_columns(first):
        return True
    if not body:
        return False
    if not all(is_number(cell) or cell in NO_RATING for cell in first[1:]):
        return True
    of_users = [is_number(row[0].strip()) for row in body]
    if not is_number(first[0]) and sum(of_users) * 2 > len(of_users):
        return True
    cells = [float(cell) for row in body for cell in row[1:] if is_number(cell.strip())]
    named = [float(cell) for cell in first[1:] if is_number(cell)]
    outside = [value for value in named if not min(cells, default=0) <= value <= max(cells, default=0)]
    return len(outside) * 2 > len(first) - 1 and len(set(first[1:])) == len(first) - 1


def items_of(form: Form, user: int, chosen: Sequence[int]) -> tuple[str, ...]:
    """Return the id of each item column of a wide table.

    Parameters
    ----------
    form : Form
        What the first file shows.
    user : int
        Position of the users.
    chosen : sequence of int
        Positions of the items.

    Raises
    ------
    RatingsError
        When an item has no name, or one that another has; or when users come in several lines.
    """
    names = [whole_number(form.names[at]) if form.header else str(n) for n, at in enumerate(chosen, 1)]
    empty = next((at for at, name in zip(chosen, names, strict=True) if not name), None)
    if empty is not None:
        raise RatingsError(
            f"{form.file}: column {empty + 1} has no name, and so no item: name it in the header"
        )
    twice = (
        next((name for name in names if names.count(name) > 1), "") if len(set(names)) < len(names) else ""
    )
    if twice:
        raise RatingsError(f"{form.file}: two columns are the item {twice!r}: name each item once")
    users = [row[user].strip() for row in form.body]
    if len(set(users)) < len(users):
        again = next(name for name in users if users.count(name) > 1)
        raise RatingsError(
            f"{form.file}: --wide needs a line for each user, but the user {again!r} of column {user + 1} has "
            "several: say which column holds users and which are items, as in --columns 2,3-102; where none "
            "holds users, number the lines first, as in awk '{print NR \",\" $0}'"
        )
    return tuple(names)
