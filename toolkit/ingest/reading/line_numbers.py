"""The file and the line of ratings that were read: looked up again, when an error names them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from toolkit.ingest.reading.blocks import Unit, pieces
from toolkit.ingest.reading.diagnosis import check_line, numbered_lines
from toolkit.ingest.reading.groups import pairs
from toolkit.ingest.reading.line_ends import restored
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.reading.typed_files import rows_before
from toolkit.ingest.reading.wide import items_in
from toolkit.tables import whole_number


def lines_before(source: RatingsSource, unit: Unit) -> int:
    """Return how many lines, or rows, of its file come before a unit."""
    file = source.files[unit.file]
    if unit.begin == 0:
        return file.before
    if file.typed:
        return file.before + rows_before(file, unit.begin)
    count = 0
    with file.open() as stream:
        left = unit.begin
        while left > 0 and (data := stream.read(min(left, 1 << 20))):
            count += data.count(b"\n")
            left -= len(data)
        # A line that begins before the unit belongs to the unit before it.
        stream.seek(unit.begin - 1)
        return count + (stream.read(1) != b"\n")


def pairs_with_lines(
    source: RatingsSource, unit: Unit, piece: int, block_bytes: int
) -> Iterator[tuple[str, tuple[str, str]]]:
    """Yield file and line of each rating, in input order, and its user and item.

    Parameters
    ----------
    source : RatingsSource
        The input.
    unit : Unit
        A unit of it.
    piece : int
        Number of a piece of the unit.
    block_bytes : int
        Size of the pieces.
    """
    source = source.of_file(unit.file)
    file, before = source.files[unit.file], lines_before(source, unit)
    if source.typed:
        for row, user, item in pairs(unit, source, block_bytes, piece):
            yield f"{file}, row {before + row}", (user, item)
        return
    read = next(itertools.islice(pieces(unit, source, block_bytes), piece, None))
    for at, line in numbered_lines(read.data, before + read.line):
        if not check_line(line, at, source):
            fields = source.split(line.decode("utf-8", "surrogateescape"))
            user = _as_kept(fields[source.columns[0]], source.ids[0])
            items = items_in(fields, source) if source.wide else [fields[source.columns[1]]]
            for item in items:
                yield f"{file}, line {at}", (user, _as_kept(item, source.ids[1]))


def _as_kept(text: str, kind: str) -> str:
    text = restored(text).strip()
    return text if kind == "text" else whole_number(text)
