"""A second look at what was guessed of ratings files: what is doubtful is refused, with the way out."""

from __future__ import annotations

import re
from collections.abc import Sequence

from toolkit.errors import RatingsError
from toolkit.ingest.reading.form import Form
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.tables import doubt_of_roles, is_number

_MOST = 0.9
_SEVERAL = 12
_THOUSANDS = re.compile(r"[+-]?[1-9][0-9]{0,2}(?:,[0-9]{3})+")
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


def check_roles(form: Form, columns: Sequence[int]) -> None:
    """Refuse columns that were taken by their positions and do not look like user, item and rating.

    Parameters
    ----------
    form : Form
        What the first file shows.
    columns : sequence of int
        Positions of user, item and rating.

    Raises
    ------
    RatingsError
        Naming what the sample shows, and the options that settle it.
    """
    if form.body and max(columns) < form.width:
        _refuse(form.file, form.body, columns)


def check_decimal(file: RatingsFile, texts: Sequence[str]) -> None:
    """Refuse ratings with a decimal comma, of which `--bad-rows drop` would keep the whole numbers alone.

    Parameters
    ----------
    file : RatingsFile
        A file of those that have a decimal point.
    texts : sequence of str
        Some of its ratings, at least one.

    Raises
    ------
    RatingsError
        Naming one of them, and the option.
    """
    odd = [text for text in texts if _DECIMAL_COMMA.fullmatch(text)]
    if len(odd) * (10 if len(texts) >= _SEVERAL else 2) > len(texts):
        if all(map(_THOUSANDS.fullmatch, odd)):
            raise RatingsError(
                f"{file}: ratings have commas, such as {odd[0]!r}: say --decimal comma where decimals follow "
                "them, or remove them where they part thousands"
            )
        raise RatingsError(f"{file}: ratings have a decimal comma, such as {odd[0]!r}: say --decimal comma")


def check_cut_decimals(form: Form, rating: int) -> None:
    """Refuse a field behind ratings that seems to be what a decimal comma cut off.

    Parameters
    ----------
    form : Form
        What the first file shows; its columns were taken by their positions.
    rating : int
        Position of the ratings.

    Raises
    ------
    RatingsError
        With the ways out.
    """
    if form.header or form.delimiter != "," or form.width != rating + 2:
        return
    wholes, decimals = form.sample(rating), {*form.sample(rating + 1)}
    halves = decimals <= {"0", "5"} or decimals <= {"00", "25", "50", "75"}
    if halves and any(map(int, decimals)) and len(wholes) >= _SEVERAL and all(map(str.isdigit, wholes)):
        raise RatingsError(
            f"{form.file}: ratings may have a decimal comma that cuts them in two, as in "
            f"{','.join(form.body[0])!r}: put them in quotes or write a point, or say --columns 1,2,3 where "
            "the last field is a column of its own"
        )


def check_alike(
    form: Form, columns: Sequence[int], file: RatingsFile, rows: Sequence[Sequence[str]], *, guessed: bool
) -> None:
    """Refuse a file without a header whose columns are not those of the first file.

    Parameters
    ----------
    form : Form
        What the first file shows.
    columns : sequence of int
        Positions of user, item and rating in it.
    file : RatingsFile
        Another file.
    rows : sequence of sequence of str
        Its first lines.
    guessed : bool
        Whether the columns were taken by their positions.

    Raises
    ------
    RatingsError
        Naming the file.
    """
    others = [row for row in rows if len(row) == form.width]
    if not others or not form.body:
        return
    if guessed and len(others) == len(rows):
        _refuse(file, others, columns)
    _check_swapped(form, columns, file, others)
    theirs, ours = _numbers(others, columns[2]), _numbers(form.body, columns[2])
    if not theirs or not ours:
        return
    low, high = min(ours), max(ours)
    if _within(theirs, low, high) * 2 >= 1:
        return
    for role, at in zip(("user", "item"), columns, strict=False):
        swapped = _numbers(others, at)
        if len(swapped) == len(others) and _within(swapped, low, high) > _MOST:
            raise RatingsError(
                f"{file}: its ratings, such as {theirs[0]:g}, are outside of those of {form.file}, {low:g} "
                f"to {high:g}, and its {role}s within: give all files the same order of columns, or a header "
                "that names them"
            )


def _check_swapped(
    form: Form, columns: Sequence[int], file: RatingsFile, rows: Sequence[Sequence[str]]
) -> None:
    """Refuse a file whose users are items of the first file, and whose items are its users."""
    users, items = ({row[at].strip() for row in form.body} for at in columns[:2])
    theirs, others = ({row[at].strip() for row in rows} for at in columns[:2])
    few = min(len(theirs), len(others)) * 2 < _SEVERAL
    crossed = len(theirs & items) > _MOST * len(theirs) and len(others & users) > _MOST * len(others)
    if crossed and not few and not theirs & users and not others & items:
        raise RatingsError(
            f"{file}: its users, such as {rows[0][columns[0]]}, are items of {form.file}, and its items are "
            "users there: give all files the same order of columns, or a header that names them"
        )


def _refuse(file: RatingsFile, rows: Sequence[Sequence[str]], columns: Sequence[int]) -> None:
    doubt = doubt_of_roles(rows, columns)
    if doubt:
        raise RatingsError(f"{file}: {doubt.finding}: {doubt.way_out}")


def _numbers(rows: Sequence[Sequence[str]], at: int) -> list[float]:
    return [float(row[at]) for row in rows if is_number(row[at].strip())]


def _within(values: Sequence[float], low: float, high: float) -> float:
    return sum(low <= value <= high for value in values) / len(values)
