"""A second look at a guess: whether every column of a sample fits the role that it was given.

The rows may come from lines of a file, from Arrow or from pandas: what is no text yet becomes text here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from toolkit.tables.text import is_number

# Fewer rows than this show no pattern.
_FEW_ROWS = 12
_MOST = 0.9
_WIDE = 20
# Times since 1970: seconds from 1973 to 2100, and the same in milliseconds, microseconds and nanoseconds.
_EPOCH = (1e8, 4.2e9)
_UNITS = {"seconds": 1, "milliseconds": 10**3, "microseconds": 10**6, "nanoseconds": 10**9}
_YEARS = (1900, 2100)
_USUAL_LARGEST = 100
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}([ T][0-9:.]+(Z|[ ]UTC|[+-][0-9:]+)?)?")


@dataclass(frozen=True)
class Doubt:
    """Why a guess may be wrong.

    Attributes
    ----------
    finding : str
        What the sample shows, to follow the name of the file.
    way_out : str
        What the user may say to settle it.
    """

    finding: str
    way_out: str


def doubt_of_roles(sample: Iterable[Sequence[object]], positions: Sequence[int]) -> Doubt | None:
    """Return the reason to doubt that columns without names are user, item and rating, or None.

    Parameters
    ----------
    sample : iterable of sequence
        Some rows, without a header; all as long as the first. Text, numbers, or None where there is nothing.
    positions : sequence of int
        Positions of user, item and rating, from 0.
    """
    rows = [["" if value is None else str(value).strip() for value in row] for row in sample]
    if not rows:
        return None
    user, item, rating = ([row[at] for row in rows] for at in positions)
    shown = ",".join(str(at + 1) for at in positions)
    name = f"columns {shown} were taken for user, item and rating, but"
    say = f"say which columns hold them, such as --columns {shown}"
    times = kind_of_large_numbers(rating)
    if times:
        return Doubt(f"{name} the ratings would be {times}, such as {rating[0]}", say)
    for role, ids in (("user", user), ("item", item)):
        if sum(bool(_DATE.fullmatch(text)) for text in ids) >= _MOST * len(ids):
            return Doubt(f"{name} the {role}s would be times, such as {ids[0]}", say)
        odd = [text for text in ids if _has_fraction(text)]
        if len(odd) * 10 > len(ids):
            return Doubt(
                f"{name} the {role}s would be numbers such as {odd[0]}",
                f"{say}, or --wide where users are in rows and items in columns",
            )
    for role, ids in (("user", user), ("item", item)):
        if ids.count("") * 2 > len(ids):
            return Doubt(
                f"{name} the {role}s would be empty",
                f"{say}, or squeeze blanks that stand several together, as in tr -s ' '",
            )
    return _doubt_of_pattern(rows, positions, name, say) if len(rows) >= _FEW_ROWS else None


def _doubt_of_pattern(  # noqa: PLR0911 - one return for each pattern
    rows: Sequence[Sequence[str]], positions: Sequence[int], name: str, say: str
) -> Doubt | None:
    """Return the reason to doubt that only several rows show, or None."""
    user, item = ([row[at].strip() for row in rows] for at in positions[:2])
    width = len(rows[0])
    shown = ",".join(str(at + 1) for at in positions)
    if looks_wide(rows):
        return Doubt(
            f"{name} all {width} columns hold numbers",
            f"say --wide where users are in rows and items in columns, or {say}",
        )
    shifted = _shift(rows, positions, user)
    if shifted:
        behind = [at + 1 for at in positions] if max(positions) + 1 < width else positions
        return Doubt(f"{name} {shifted}", say.replace(shown, ",".join(str(at + 1) for at in behind)))
    # A line that comes twice as a whole says nothing of its columns.
    different = len({tuple(row) for row in rows})
    pairs = len(set(zip(user, item, strict=True)))
    ids = _are_ids([row[positions[2]] for row in rows])
    if ids and pairs * 5 < different * 4:
        return Doubt(f"{name} the ratings look like ids, and pairs of user and item are repeated", say)
    if ids and _behind_looks_rated(rows, positions):
        return Doubt(f"{name} the ratings look like ids, and column {max(positions) + 2} like ratings", say)
    if _are_alike(rows, positions):
        alike = "the columns behind the users hold the same numbers, as in a list of neighbours"
        return Doubt(f"{name} {alike}", say)
    if different >= _FEW_ROWS and pairs * 2 < different:
        return Doubt(f"{name} more than half of the lines repeat a user and item", say)
    return None


def kind_of_large_numbers(texts: Sequence[str]) -> str:
    """Return ``times``, ``dates`` or ``years`` where nearly all texts are such numbers, or an empty text."""
    values = [float(text) for text in texts if is_number(text)]
    if not values or len(values) < _MOST * len(texts):
        return ""
    if unit_of_times(texts):
        return "times"
    whole = [value for value in values if value == int(value if abs(value) < 1e18 else 0)]
    if len(whole) < len(values):
        return ""
    dates = [value for value in whole if 1 <= value // 100 % 100 <= 12 and 1 <= value % 100 <= 31]
    if _share(dates, _YEARS[0] * 1e4, _YEARS[1] * 1e4) * len(dates) >= _MOST * len(values):
        return "dates"
    several = len(values) >= _FEW_ROWS and len(set(values)) > 1
    return "years" if several and _share(values, *_YEARS) >= _MOST else ""


def unit_of_times(texts: Sequence[str]) -> str:
    """Return the unit in which nearly all texts are times since 1970, or an empty text.

    Returns
    -------
    str
        ``seconds``, ``milliseconds``, ``microseconds`` or ``nanoseconds``.
    """
    values = [float(text) for text in texts if is_number(text)]
    for name, unit in _UNITS.items():
        if values and _share(values, *(bound * unit for bound in _EPOCH)) * len(values) >= _MOST * len(texts):
            return name
    return ""


def counts_rows(texts: Sequence[str]) -> bool:
    """Tell whether a column counts 0, 1, 2, … or 1, 2, 3, …, or on from another number."""
    if not all(text.isascii() and text.isdigit() for text in texts):
        return False
    first = int(texts[0])
    return all(int(text) == first + at for at, text in enumerate(texts))


def _shift(rows: Sequence[Sequence[str]], positions: Sequence[int], user: Sequence[str]) -> str:
    """Return why the first column may stand before user, item and rating, or an empty text."""
    behind = max(positions) + 1
    ratings = [row[positions[2]].strip() for row in rows]
    if behind == len(rows[0]):
        suspect = _are_ids(ratings)
    else:
        # Where a time follows, the rating of each user stands before it, as in a leave-one-out test.
        suspect = _are_ids(ratings) or not kind_of_large_numbers([row[behind].strip() for row in rows])
    if suspect and counts_rows(user):
        return f"each line has a user of its own, who counts {user[0]}, {user[1]}, {user[2]}, …"
    if behind >= len(rows[0]) or len(set(user)) < len(user):
        return ""
    users, items, ratings = ([row[at].strip() for row in rows] for at in (*positions[1:], behind))
    fits = all(map(is_number, ratings)) and not kind_of_large_numbers(ratings)
    if fits and len(set(ratings)) <= len(set(items)) > _FEW_ROWS and len(set(users)) < len(users):
        return "each line has a user of its own, and the columns behind it fit as well"
    return ""


def _behind_looks_rated(rows: Sequence[Sequence[str]], positions: Sequence[int]) -> bool:
    """Tell whether the column behind user, item and rating holds fewer numbers, as ratings are."""
    behind = max(positions) + 1
    if behind >= len(rows[0]):
        return False
    texts = {row[behind] for row in rows}
    fits = all(is_number(text) and abs(float(text)) <= _USUAL_LARGEST for text in texts)
    return fits and 1 < len(texts) < len({row[positions[2]] for row in rows})


def _are_ids(texts: Sequence[str]) -> bool:
    """Tell whether numbers look like ids: whole, many, and larger than ratings are."""
    if not all(text.isascii() and text.isdigit() for text in texts):
        return False
    return max(map(int, texts)) > _USUAL_LARGEST and len(set(texts)) > _FEW_ROWS


def looks_wide(rows: Sequence[Sequence[str]]) -> bool:
    """Tell whether all columns behind the first are numbers or empty, as in a table of users by items."""
    width = len(rows[0]) if rows else 0
    if width < 5:
        return False
    cells = [text.strip() for row in rows for text in row[1:]]
    filled = [text for text in cells if text]
    numbers = [text for text in filled if is_number(text)]
    if len(numbers) < _MOST * len(filled) or not numbers:
        return False
    if width >= _WIDE:
        return True
    # Of a few columns each holds the same few numbers, whichever it is.
    columns = [{row[at].strip() for row in rows} - {""} for at in range(1, width)]
    alike = set.union(*columns)
    full = sum(len(column) * 3 >= len(alike) for column in columns)
    return len(alike) <= _WIDE and full * 4 >= len(columns) * 3


def _are_alike(rows: Sequence[Sequence[str]], positions: Sequence[int]) -> bool:
    """Tell whether items, ratings and the column behind them are all ids of the same things."""
    behind = max(positions) + 1
    if behind >= len(rows[0]):
        return False
    items, *others = ([row[at].strip() for row in rows] for at in (*positions[1:], behind))
    return all(_are_ids(other) and len({*items} & {*other}) * 2 > len({*other}) for other in others)


def _has_fraction(text: str) -> bool:
    return "." in text and is_number(text) and abs(float(text)) < 1e15 and float(text) != int(float(text))


def _share(values: Sequence[float], low: float, high: float) -> float:
    return sum(low <= value < high for value in values) / max(len(values), 1)
