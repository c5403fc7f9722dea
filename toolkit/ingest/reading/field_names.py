"""Names that a user gives to the fields of a file without a header, as ``names=`` does in pandas."""

from __future__ import annotations

from collections.abc import Sequence

from toolkit.errors import RatingsError
from toolkit.ingest.reading import times
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.tables import Role, find_column, is_number

ROLES: tuple[Role, ...] = ("user", "item", "rating")
_WAY_OUT = "name all fields in their order, or give positions such as 1,2,3"
# Ratings are smaller, Unix times larger.
_LEAST_TIME = 1e8


def is_word(column: str | int) -> bool:
    """Tell whether a column is given by its name, and not by its position."""
    return not str(column).isdigit()


def names_of_fields(file: RatingsFile, rows: list[list[str]], words: Sequence[str | int]) -> list[str]:
    """Return the name of each field; empty for fields behind those that are named.

    As many names as fields name all of them in their order. Fewer names are those of the first fields. They
    are refused where they could as well be those of the last, for which pandas takes ``names=``.

    Parameters
    ----------
    file : RatingsFile
        The file, for errors.
    rows : list of list of str
        Its first lines as fields; the first line is data, not a header.
    words : sequence of str or int
        Names of fields. The aliases of `toolkit.tables` say which is the user, item, rating and time.

    Raises
    ------
    RatingsError
        When the names leave open which field is which.
    """
    names, width = [str(word) for word in words], len(rows[0])
    listed = ",".join(names)
    if any(not is_word(name) for name in names):
        raise RatingsError(
            f"{file} has no header, and --columns mixes names and positions, {listed}: give either"
        )
    if len(set(names)) != len(names):
        raise RatingsError(f"--columns must name different columns, but got {listed}")
    unknown = [role for role in ROLES if find_column(names, role) is None]
    if unknown:
        raise RatingsError(
            f"{file} has no header to find {', '.join(names)} in, and none of these names says which field "
            f"is the {' or the '.join(unknown)}: name the fields in their order with the words user, item, "
            "rating and timestamp, such as item,user,rating, or give positions such as 1,2,3"
        )
    if len(names) > width:
        raise RatingsError(
            f"{file}: --columns names {len(names)} fields, {listed}, but the first line has {width}: "
            f"{_WAY_OUT}"
        )
    if len(names) < width:
        _check_readings(file, rows, names)
    return names + [""] * (width - len(names))


def _check_readings(file: RatingsFile, rows: list[list[str]], names: list[str]) -> None:
    """Refuse names that are fewer than the fields unless the first fields fit them and the last do not."""
    missing = len(rows[0]) - len(names)
    named = f"{file}: --columns names {len(names)} of {len(rows[0])} fields, {','.join(names)}"
    if not _fits(rows, names):
        rating = rows[0][find_column(names, "rating") or 0]
        raise RatingsError(
            f"{named}, but the first fields do not fit: the rating would be {rating[:80]!r}; {_WAY_OUT}"
        )
    if _fits([row[missing:] for row in rows], names):
        raise RatingsError(f"{named}, and both the first and the last fields fit: {_WAY_OUT}")


def _fits(rows: list[list[str]], names: list[str]) -> bool:
    """Tell whether most lines have a rating, and a time where one is named, in the fields of these names."""
    rating, time = find_column(names, "rating"), find_column(names, "timestamp")
    long = [row for row in rows if len(row) >= len(names)]
    ratings = [row[rating].strip() for row in long] if rating is not None else []
    good = sum(is_number(text) and abs(float(text)) < _LEAST_TIME for text in ratings)
    if good * 2 <= len(rows):
        return False
    return time is None or bool(times.kind_of([row[time].strip() for row in long]))
