"""Units of the input as columns: the way of every line that is read."""

from __future__ import annotations

from collections.abc import Iterator

from toolkit.errors import RatingsError
from toolkit.ingest.reading import diagnosis
from toolkit.ingest.reading.blocks import Piece, Unit, pieces
from toolkit.ingest.reading.columns import Columns
from toolkit.ingest.reading.groups import read_group
from toolkit.ingest.reading.parsing import parse
from toolkit.ingest.reading.quotes import OpenQuoteError
from toolkit.ingest.reading.rejections import BadRow, Rejections
from toolkit.ingest.reading.source import RatingsSource


def read_unit(
    unit: Unit, source: RatingsSource, block_bytes: int
) -> Iterator[tuple[Columns, Rejections, int]]:
    """Yield the ratings of a unit piece by piece, its bad rows, and the number of lines up to there.

    Parameters
    ----------
    unit : Unit
        The part of the input.
    source : RatingsSource
        How to read it.
    block_bytes : int
        Bytes that are read at once, about.

    Raises
    ------
    RatingsError
        When the file cannot be read.
    OpenQuoteError
        When a quoted field goes on in the next line, and lines are read apart from each other.
    """
    source = source.of_file(unit.file)
    if source.typed:
        yield from read_group(unit, source, block_bytes)
        return
    for piece in pieces(unit, source, block_bytes):
        end = piece.line - 1 + piece.lines
        if not piece.data or piece.data.isspace():
            yield Columns.none(), Rejections(), end
            continue
        try:
            columns, bad = read_piece(piece, source)
        except OpenQuoteError:
            raise
        except ValueError as error:
            raise RatingsError(f"{source.files[unit.file]} cannot be read: {error}") from error
        yield columns, bad, end


def read_piece(piece: Piece, source: RatingsSource) -> tuple[Columns, Rejections]:
    """Return the ratings of a piece, and its bad rows; only a piece that has some meets the diagnosis.

    Raises
    ------
    ValueError
        When the lines cannot be read although none of them is bad.
    """
    try:
        return parse(piece.data, source), Rejections()
    except ValueError:
        return diagnosis.salvage(piece, source)


def first_bad_row(unit: Unit, source: RatingsSource, block_bytes: int) -> BadRow | None:
    """Return the first bad row of a unit, its line counted from the beginning of the unit."""
    return next((bad.samples[0] for _, bad, _ in read_unit(unit, source, block_bytes) if bad.samples), None)
