"""The delimiter of lines of ratings: the guess, and a second look at what else would cut the lines."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence

from toolkit.tables.text import DELIMITERS, find_delimiter, is_number

_ALIKE = 0.9
_DECIMAL_COMMA = re.compile(r"[+-]?[0-9]+,[0-9]+")


def delimiters_in_question(
    lines: Sequence[str],
    *,
    least: int,
    cut: Callable[[str, str], list[str]],
    positions: Callable[[list[str]], Sequence[int]],
) -> list[str]:
    """Return the delimiter of some lines; two where both of them cut the lines into ratings.

    Parameters
    ----------
    lines : sequence of str
        Some lines of a table, the header first where there is one.
    least : int
        Fewer fields than this do not count.
    cut : callable
        Cuts a line at a delimiter.
    positions : callable
        Returns the positions of user, item and rating for the fields of the first line.
    """
    best = find_delimiter(lines, least=least, cut=cut)
    readings = {delimiter: [cut(line, delimiter) for line in lines] for delimiter in DELIMITERS}
    width = len(readings[best][0])
    rivals = [
        delimiter
        for delimiter, rows in readings.items()
        if delimiter == best or _share_alike(rows, least) >= _ALIKE
    ]
    if len(rivals) == 1 or width < least:
        return [best]
    merits = {
        delimiter: _fit(readings[delimiter], positions(readings[delimiter][0]), delimiter, rivals)
        for delimiter in rivals
    }
    most = max(merits.values())
    chosen = [delimiter for delimiter in rivals if merits[delimiter] == most]
    return [best] if best in chosen and len(chosen) > 1 and not most[1] else chosen


def _share_alike(rows: Sequence[list[str]], least: int) -> float:
    width, count = Counter(map(len, rows)).most_common(1)[0]
    return count / len(rows) if width >= least else 0.0


def _fit(
    rows: Sequence[list[str]], positions: Sequence[int], delimiter: str, rivals: Sequence[str]
) -> tuple[bool, bool]:
    """Tell whether the ratings are numbers, and whether no other delimiter is within users and items."""
    user, item, rating = positions
    long = [row for row in rows if len(row) > max(positions)]
    ratings = [row[rating].strip() for row in long]
    numbers = sum(
        is_number(text) or (delimiter != "," and bool(_DECIMAL_COMMA.fullmatch(text))) for text in ratings
    )
    others = [rival for rival in rivals if rival not in {delimiter, " "}]
    clean = sum(not any(_holds_others(row[at], others, rivals) for at in (user, item)) for row in long)
    return numbers * 2 >= len(rows), clean >= _ALIKE * len(rows)


def _holds_others(field: str, others: Sequence[str], rivals: Sequence[str]) -> bool:
    """Tell whether another delimiter is within a field; a blank between words is none."""
    if any(other in field for other in others):
        return True
    words = field.split(" ")
    return " " in rivals and len(words) > 1 and all(map(is_number, words))
