"""A few ratings in words, so that a person sees at a glance whether the files are read as they are meant."""

from __future__ import annotations

import dataclasses
import io

from toolkit.errors import WalslabError
from toolkit.ingest.reading.blocks import Piece, Unit, without_header
from toolkit.ingest.reading.columns import Columns
from toolkit.ingest.reading.groups import BYTES_PER_ROW, read_group
from toolkit.ingest.reading.quotes import sample_on_one_line
from toolkit.ingest.reading.ratings_file import first_bytes
from toolkit.ingest.reading.reader import read_piece
from toolkit.ingest.reading.source import RatingsSource

_LINES = 20
_ROWS = 20
_SHOWN = 40


def example_ratings(source: RatingsSource, number: int = 3) -> list[str]:
    """Return the first ratings of the first file in words, such as ``user 196 gave item 242 a 3``.

    A file that cannot be read gives none; who reads all of it says why.

    Parameters
    ----------
    source : RatingsSource
        The files and how to read them.
    number : int
        How many ratings, at most.
    """
    try:
        columns = first_columns(source.of_file(0), _LINES)
    except (WalslabError, ValueError, LookupError, OSError):
        return []
    users, items = ([str(one) for one in ids.distinct.tolist()] for ids in (columns.users, columns.items))
    rows = zip(columns.users.codes, columns.items.codes, columns.ratings.tolist(), strict=True)
    return [
        f"user {_shown(users[user])} gave item {_shown(items[item])} a {rating:.6g}"
        for user, item, rating in list(rows)[:number]
    ]


def first_columns(source: RatingsSource, lines: int) -> Columns:
    """Return the ratings of the first lines of the first file, or of the first rows of a group.

    Raises
    ------
    ValueError
        When some line is bad.
    """
    first = dataclasses.replace(source, files=source.files[:1])
    if source.typed:
        group = read_group(Unit(0, 0, 0, None), first, BYTES_PER_ROW * _ROWS)
        return next((columns for columns, *_ in group), Columns.none())
    data = without_header(first_bytes(source.files[0], lines + source.header), header=source.header)
    data = sample_on_one_line(data) if source.quoted else data
    data = b"".join(io.BytesIO(data).readlines()[:lines])
    return read_piece(Piece(data, 1, lines), first)[0]


def _shown(text: str) -> str:
    """Return an id as a terminal may show it: cut, and without characters that it would obey."""
    plain = text if text.isprintable() else repr(text)
    return plain if len(plain) <= _SHOWN else plain[: _SHOWN - 1] + "…"
