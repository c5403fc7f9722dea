"""How to read ratings files: delimiter, header, and which columns hold user, item and rating."""

from __future__ import annotations

import csv
import glob
import gzip
import itertools
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from toolkit.errors import RatingsError, did_you_mean

ROLES = ("user", "item", "rating")
# Tried in this order; the first that cuts every sampled line into the same number of fields, three or more,
# is taken.
DELIMITERS = ("::", "\t", ",", ";", "|", " ")
_SAMPLE_LINES = 50
_ALIASES = {
    "user": ("user", "userid", "user_id", "uid", "user_name", "username"),
    "item": (
        "item",
        "itemid",
        "item_id",
        "iid",
        "movie",
        "movieid",
        "movie_id",
        "product",
        "product_id",
        "book_id",
    ),
    "rating": ("rating", "ratings", "score", "stars", "value"),
}


@dataclass(frozen=True, kw_only=True)
class RatingsSource:
    """Ratings files and how to read them.

    Attributes
    ----------
    paths : tuple of str
        Plain or gzip-compressed text files, all of the same form.
    delimiter : str
        What separates fields: one character, or ``::``.
    header : bool
        Whether the first line of each file names the columns.
    columns : tuple of int
        Positions of user, item and rating in a line, from 0.
    fields : int
        How many fields each line has.
    """

    paths: tuple[str, ...]
    delimiter: str
    header: bool
    columns: tuple[int, int, int]
    fields: int

    @classmethod
    def detect(
        cls,
        paths: Sequence[str | Path],
        *,
        delimiter: str | None = None,
        header: bool | None = None,
        columns: Sequence[str | int] | None = None,
    ) -> RatingsSource:
        """Find out from the first lines what is not given.

        Parameters
        ----------
        paths : sequence of str or Path
            Files, or patterns such as ``ratings-*.csv``.
        delimiter : str, optional
            What separates fields.
        header : bool, optional
            Whether the first line names the columns.
        columns : sequence of str or int, optional
            User, item and rating: names of the header, or positions from 1.

        Raises
        ------
        RatingsError
            When a file is missing or empty, or its form cannot be told; the text says which option settles
            it.
        """
        files = _expand(paths)
        lines = _first_lines(files[0])
        delimiter = delimiter or _find_delimiter(files[0], lines)
        rows = [split_line(line, delimiter) for line in lines]
        if len(rows[0]) < len(ROLES):
            raise RatingsError(
                f"{files[0]}: the first line, {lines[0][:80]!r}, has {len(rows[0])} field(s) when cut at "
                f"{delimiter!r}, too few for user, item and rating: give another --delimiter"
            )
        names = isinstance(columns, Sequence) and any(not str(c).isdigit() for c in columns)
        positions = None if columns is None or names else _positions_of_numbers(columns, rows[0])
        if header is None:
            header = names or _looks_like_header(rows, (positions or (0, 1, 2))[2])
        if positions is None:
            if names and not header:
                raise RatingsError(
                    f"{files[0]} has no header to find {_listed(columns or ())} in: give positions, such "
                    "as 1,2,3"
                )
            positions = _positions_in_header(files[0], rows[0], columns) if header else (0, 1, 2)
        if max(positions) >= len(rows[0]):
            raise RatingsError(
                f"{files[0]}: the first line has {len(rows[0])} field(s) when cut at {delimiter!r}, and no "
                f"column {max(positions) + 1}: give --delimiter or --columns"
            )
        if header and number(rows[0][positions[2]]) is not None:
            raise RatingsError(
                f"{files[0]}: the first line, {lines[0][:80]!r}, must be a header, but its rating column "
                "holds a number: give --no-header"
            )
        source = cls(
            paths=tuple(files), delimiter=delimiter, header=header, columns=positions, fields=len(rows[0])
        )
        if header:
            for other in files[1:]:
                first = _first_lines(other)[0]
                if split_line(first, delimiter) != rows[0]:
                    raise RatingsError(
                        f"{other}, line 1 must be the header of {files[0]}, {lines[0]!r}, but is {first!r}: "
                        "ingest files of one form together"
                    )
        return source


def split_line(line: str, delimiter: str) -> list[str]:
    """Cut one line into fields; a field in double quotes may hold a one-character delimiter."""
    if len(delimiter) == 1 and '"' in line:
        return next(csv.reader([line], delimiter=delimiter))
    return line.split(delimiter)


def open_bytes(path: str) -> BinaryIO:
    """Open a file for reading, through gzip where its name says so."""
    return cast("BinaryIO", gzip.open(path, "rb")) if path.endswith(".gz") else Path(path).open("rb")


def number(text: str) -> float | None:
    """Return a field as a number, or None when it is none."""
    try:
        # Python's 1_000 is no number in a file.
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _expand(paths: Sequence[str | Path]) -> list[str]:
    found: list[str] = []
    for path in map(str, paths):
        matches = [path] if Path(path).exists() else sorted(glob.glob(path))  # noqa: PTH207 - a Path cannot hold an absolute pattern
        if not matches:
            folder = Path(path).parent
            near = did_you_mean(
                Path(path).name, [p.name for p in folder.iterdir()] if folder.is_dir() else []
            )
            raise RatingsError(f"there is no ratings file {path}{near}")
        found += matches
    folders = [path for path in found if Path(path).is_dir()]
    if folders:
        raise RatingsError(
            f"{folders[0]} is a folder: name its files, or a pattern such as '{folders[0]}/*.csv'"
        )
    if not found:
        raise RatingsError("no ratings file was given")
    return found


def _first_lines(path: str) -> list[str]:
    try:
        with open_bytes(path) as file:
            raw = b"".join(itertools.islice(file, _SAMPLE_LINES))
        text = raw.decode("utf-8-sig")
    except (OSError, EOFError, zlib.error) as error:
        raise RatingsError(f"{path} cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise RatingsError(
            f"{path} is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}; convert it, or "
            "decompress it first"
        ) from error
    lines = [line for line in text.splitlines() if line.strip()]
    if not lines:
        raise RatingsError(f"{path} is empty: a ratings file has one user, item and rating a line")
    return lines


def _find_delimiter(path: str, lines: list[str]) -> str:
    for delimiter in DELIMITERS:
        widths = {len(split_line(line, delimiter)) for line in lines}
        if len(widths) == 1 and widths.pop() >= len(ROLES):
            return delimiter
    # Some line is off: take what cuts most of them, and let the reader name the line.
    cuts = {d: sum(len(split_line(line, d)) >= len(ROLES) for line in lines) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: cuts[d])
    if cuts[best] * 2 <= len(lines):
        raise RatingsError(
            f"{path}: no delimiter cuts its lines into user, item and rating; line 1 is {lines[0]!r}: "
            "give --delimiter"
        )
    return best


def _looks_like_header(rows: list[list[str]], rating: int) -> bool:
    """Tell whether line 1 has no number at all, in a file whose ratings are numbers."""
    first = rows[0][rating] if rating < len(rows[0]) else ""
    return number(first) is None and all(number(field) is None for field in rows[0])


def _positions_of_numbers(columns: Sequence[str | int], first: list[str]) -> tuple[int, int, int]:
    numbers = [int(c) for c in columns]
    if (
        len(numbers) != len(ROLES)
        or len(set(numbers)) != len(ROLES)
        or not all(1 <= n <= len(first) for n in numbers)
    ):
        raise RatingsError(
            f"--columns must name three different columns, user, item and rating, from 1 to {len(first)}, "
            f"but got {numbers}"
        )
    return numbers[0] - 1, numbers[1] - 1, numbers[2] - 1


def _positions_in_header(
    path: str, header: list[str], columns: Sequence[str | int] | None
) -> tuple[int, int, int]:
    clean = [name.strip().strip('"') for name in header]
    if columns is not None:
        wanted = [str(c) for c in columns]
        if len(wanted) != len(ROLES):
            raise RatingsError(
                f"--columns must name user, item and rating in this order, but got {_listed(wanted)}"
            )
        missing = [name for name in wanted if name not in clean]
        if missing:
            raise RatingsError(
                f"{path} has no column {missing[0]!r}{did_you_mean(missing[0], clean)}: its header has "
                f"{_listed(clean)}"
            )
        return clean.index(wanted[0]), clean.index(wanted[1]), clean.index(wanted[2])
    lower = [name.lower() for name in clean]
    found = [next((lower.index(a) for a in _ALIASES[role] if a in lower), None) for role in ROLES]
    user, item, rating = found
    if user is None or item is None or rating is None:
        unknown = [role for role, position in zip(ROLES, found, strict=True) if position is None]
        raise RatingsError(
            f"{path}: none of the columns {_listed(clean)} is recognised as {_listed(unknown)}: "
            "name user, item and rating with --columns"
        )
    return user, item, rating


def _listed(names: Sequence[str | int]) -> str:
    return ", ".join(map(str, names))
