"""Units of work: parts of the input that one task reads, and the whole lines of each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest.reading.quotes import records
from toolkit.ingest.reading.ratings_file import RatingsFile, file_system, open_raw, read_errors
from toolkit.ingest.reading.source import RatingsSource
from toolkit.ingest.reading.typed_files import group_count

BOM = b"\xef\xbb\xbf"
_TAIL = 1 << 16
_COUNTED = 1 << 17


@dataclass(frozen=True)
class Unit:
    """A part of one file that is read by one task.

    Attributes
    ----------
    number : int
        Position in the input.
    file : int
        Position of the file in the source.
    begin, end : int or None
        Text: the lines that start in bytes ``begin <= at < end``; all of them where `end` is None.
        Typed columns: the row group or record batch `begin`.
    """

    number: int
    file: int
    begin: int
    end: int | None


@dataclass(frozen=True)
class Piece:
    """Whole lines of text.

    Attributes
    ----------
    data : bytes
        The lines, without the header and the byte order mark of the file.
    line : int
        Number of the first line, from 1, counted from the beginning of the unit.
    lines : int
        How many there are.
    """

    data: bytes
    line: int
    lines: int


def units(source: RatingsSource, block_bytes: int) -> list[Unit]:
    """Return the units of all files, in input order.

    A plain text file is cut into blocks. One that can be read from its beginning only is one unit: it is
    compressed, of another form, or has quoted fields of several lines. A file of typed columns has one unit a
    row group or record batch.
    """
    every: list[Unit] = []
    for number, file in enumerate(source.files):
        if file.typed:
            every += [Unit(len(every) + group, number, group, None) for group in range(group_count(file))]
        elif file.streamed or source.folded:
            every.append(Unit(len(every), number, 0, None))
        else:
            size = file.size()
            every += [
                Unit(len(every) + at, number, begin, min(begin + block_bytes, size))
                for at, begin in enumerate(range(0, size, block_bytes))
            ]
    return every


def pieces(unit: Unit, source: RatingsSource, block_bytes: int) -> Iterator[Piece]:
    """Yield the lines of a unit of text, in pieces of about `block_bytes`.

    Raises
    ------
    RatingsError
        When the file cannot be read to its end.
    """
    file = source.files[unit.file]
    line = 1
    with read_errors(file, "to its end"):
        chunks = _chunks(file, unit, block_bytes)
        if source.folded:
            chunks = records(chunks, source.delimiter, file)
        for number, data in enumerate(chunks):
            lines = count_lines(data)
            if number == 0 and unit.begin == 0:
                body = without_header(data, header=source.header)
                yield Piece(body, line + lines - count_lines(body), count_lines(body))
            else:
                yield Piece(data, line, lines)
            line += lines


def without_header(data: bytes, *, header: bool) -> bytes:
    """Return the beginning of a file without its byte order mark, and without its header where it has one."""
    data = data.removeprefix(BOM)
    return data[_header_end(data) if header else 0 :]


def count_lines(data: bytes) -> int:
    """Return the number of lines; the last of them need not be ended."""
    if b"\n" not in data:
        return len(data.splitlines())
    # NumPy counts without holding the interpreter lock, and fastest in the processor's cache.
    bytes_ = np.frombuffer(data, np.uint8)
    ends = sum(
        int(np.count_nonzero(bytes_[begin : begin + _COUNTED] == ord("\n")))
        for begin in range(0, len(bytes_), _COUNTED)
    )
    return ends + (not data.endswith(b"\n"))


def cut_lines(data: bytes, parts: int) -> list[bytes]:
    """Return data in at most `parts` pieces of whole lines."""
    step = max(1, len(data) // parts)
    cuts = [0]
    while cuts[-1] < len(data):
        at = data.find(b"\n", min(cuts[-1] + step, len(data)) - 1)
        cuts.append(len(data) if at < 0 else at + 1)
    return [data[a:b] for a, b in itertools.pairwise(cuts)]


def _chunks(file: RatingsFile, unit: Unit, block_bytes: int) -> Iterator[bytes]:
    if unit.end is None:
        yield from _stream(file, block_bytes)
    elif file.remote:
        yield _remote_range(file, unit.begin, unit.end)
    else:
        yield _local_range(file, unit.begin, unit.end)


def _stream(file: RatingsFile, block_bytes: int) -> Iterator[bytes]:
    with file.open() as stream:
        rest = b""
        while data := stream.read(block_bytes):
            data = rest + data
            end = data.rfind(b"\n") + 1
            rest = data[end:]
            if end:
                yield data[:end]
        if rest:
            yield rest


def _local_range(file: RatingsFile, begin: int, end: int) -> bytes:
    with open_raw(file.path) as stream:
        # A block holds the lines that begin in it. The one before it ends behind the first line end from
        # here.
        stream.seek(max(begin - 1, 0))
        if begin:
            stream.readline()
        begin = stream.tell()
        if begin >= end:
            return b""
        stream.seek(end - 1)
        stream.readline()
        end = stream.tell()
        stream.seek(begin)
        return stream.read(end - begin)


def _remote_range(file: RatingsFile, begin: int, end: int) -> bytes:
    """Return the lines that begin in a range, with one request unless a line goes far over its end."""
    system, path = file_system(file.path)
    start, reach = max(begin - 1, 0), end + _TAIL
    data: bytes = system.cat_file(path, start=start, end=reach)
    if len(data) > reach - start:
        # A server of HTTP may ignore the range; block after block would be the beginning of the file.
        raise RatingsError(f"{file} is on a server that sends no parts of files: download it first")
    while data.find(b"\n", end - 1 - start) < 0 and reach < file.size():
        data += system.cat_file(path, start=reach, end=reach + 16 * _TAIL)
        reach += 16 * _TAIL
    first = data.find(b"\n") + 1 if begin else 0
    if (begin and not first) or start + first >= end:
        return b""
    last = data.find(b"\n", end - 1 - start)
    return data[first : last + 1] if last >= 0 else data[first:]


def _header_end(data: bytes) -> int:
    # The header is the first line that is not blank; nearly always it ends near the beginning.
    for part in (data[:_TAIL], data):
        end = 0
        for line in part.splitlines(keepends=True):
            end += len(line)
            if line.strip() and (end < len(part) or part is data):
                return end
    return len(data)
