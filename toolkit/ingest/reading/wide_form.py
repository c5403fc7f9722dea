"""The form of wide tables: a line for each user, a column for each item; their header and their items."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from toolkit.errors import RatingsError
from toolkit.ingest.reading.asked import Asked
from toolkit.ingest.reading.beginnings import beginning_of
from toolkit.ingest.reading.column_choice import position_of, positions_between
from toolkit.ingest.reading.form import Form, cleaned, counted_columns, text_form
from toolkit.ingest.reading.line_ends import restored
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.second_look import check_decimal
from toolkit.ingest.reading.wide_cells import check_cells
from toolkit.tables import find_column, is_number, split_line, whole_number

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
    header = [restored(name).strip().strip('"') for name in form.rows[0]] if form.header else []
    names = [whole_number(header[at]) if header else str(n) for n, at in enumerate(chosen, 1)]
    empty = next((at for at, name in zip(chosen, names, strict=True) if not name), None)
    if empty is not None:
        raise RatingsError(
            f"{form.file}: column {empty + 1} has no name, and so no item: name it in the header"
        )
    ((twice, count),) = Counter(names).most_common(1)
    if count > 1:
        raise RatingsError(f"{form.file}: two columns are the item {twice!r}: name each item once")
    users = [row[user].strip() for row in form.body]
    if len(set(users)) < len(users):
        again = Counter(users).most_common(1)[0][0]
        raise RatingsError(
            f"{form.file}: --wide needs a line for each user, but column {user + 1} has the user {again!r} "
            "several times: say which column holds users and which are items, as in --columns 2,3-102; where "
            "none holds users, number the lines first, as in awk '{print NR \",\" $0}'"
        )
    return tuple(names)


def wide_form(files: Sequence[RatingsFile], asked: Asked) -> dict[str, Any]:
    """Return the attributes of the `RatingsSource` of wide tables.

    Raises
    ------
    RatingsError
        When the files are no wide tables, or not of the same items.
    """
    form = text_form(files[0], replace(asked, header=False, columns=None), least=2)
    if form.file.forms[-1:] in {("json",), ("netflix",), ("matrix",)}:
        raise RatingsError(f"{files[0]} is no wide table: leave --wide out")
    header = has_header(form.rows) if asked.header is None else asked.header
    form = replace(form, header=header, names=cleaned(form.rows[0]) if header else [])
    columns = asked.columns or []
    user = position_of(form, columns[0], "--columns") if columns else 0
    chosen = [at for column in columns[1:] for at in positions_between(form, column)]
    chosen = chosen or [at for at in range(form.width) if at != user]
    if user in chosen or len(set(chosen)) < len(chosen):
        raise RatingsError("--columns must name different columns for users and items")
    if asked.decimal == "." and form.body:
        filled = [row[at].strip() for row in form.body for at in chosen if row[at].strip() not in NO_RATING]
        check_decimal(form.file, filled or [""])
    check_cells(form, chosen, no_rating=asked.no_rating is not None, named=len(columns) > 1)
    others = [beginning_of(file, quotes=asked.quotes) for file in files[1:]]
    for other in others:
        first = (split_line if asked.quotes else str.split)(other.lines[0], form.delimiter)
        if first != form.rows[0] if header else len(first) != form.width:
            raise RatingsError(
                f"{other.file} must have the items of {form.file} in the same columns: ingest them apart"
            )
    return {
        "files": (form.file, *(other.file for other in others)),
        "delimiter": form.delimiter,
        "header": header,
        "columns": (user, chosen[0], chosen[0]),
        "fields": form.width,
        "folded": form.folded,
        "items": items_of(form, user, chosen),
        "item_columns": tuple(chosen),
        "no_rating": None if asked.no_rating is None else f"{asked.no_rating}",
    }
