"""Lines of text cut into fields: the delimiter, quotes, and numbers."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Callable, Sequence

# The first two hardly ever occur by accident; a blank separates words before it separates fields.
_RANKS = {"::": 0, "\t": 1, ",": 2, ";": 2, "|": 2, " ": 3}
DELIMITERS = tuple(_RANKS)


def lines_of(text: str) -> list[str]:
    """Return the lines of a text, without their ends.

    `str.splitlines` would also cut at the other characters that end a line in Unicode, which a field may
    hold.
    """
    return re.split("\r\n|\n|\r", text)


def split_line(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line; a field in double quotes may hold a delimiter of one character."""
    if len(delimiter) == 1 and '"' in line:
        if len(line) > csv.field_size_limit():
            csv.field_size_limit(len(line))
        return next(csv.reader([line], delimiter=delimiter))
    return line.split(delimiter)


def split_plainly(line: str, delimiter: str) -> list[str]:
    """Return the fields of a line in which a quote is a character like any other.

    A pair of quotes around a whole field is removed, as a program may have put it there.
    """
    return [_unquoted(field) for field in line.split(delimiter)]


def find_delimiter(
    lines: Sequence[str],
    *,
    least: int,
    candidates: Sequence[str] = DELIMITERS,
    cut: Callable[[str, str], list[str]] = split_line,
) -> str:
    """Return the delimiter that cuts most lines into the same number of fields.

    Of several, ``::`` and the tab come first, then the one that finds more fields, and the blank comes last.

    Parameters
    ----------
    lines : sequence of str
        Some lines of a table, at least one.
    least : int
        Fewer fields than this do not count.
    candidates : sequence of str
        Delimiters to choose from.
    cut : callable
        Cuts a line at a delimiter.

    Returns
    -------
    str
        One of the candidates, even where none finds `least` fields.
    """

    def merit(delimiter: str) -> tuple[int, int, int]:
        widths = Counter(len(cut(line, delimiter)) for line in lines)
        width, alike = max(widths.items(), key=lambda one: (one[1] * (one[0] >= least), one[0]))
        return alike * (width >= least), -_RANKS[delimiter], width

    return max(candidates, key=merit)


def is_number(text: str) -> bool:
    """Tell whether a field is a number as files have them: Python's 1_000 is none."""
    if "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unquoted(field: str) -> str:
    inner = field[1:-1].replace('""', "")
    quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner
    return field[1:-1].replace('""', '"') if quoted else field
