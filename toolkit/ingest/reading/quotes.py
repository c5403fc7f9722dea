"""Quoted fields that hold line ends, as RFC 4180 allows: brought to one line, and told from odd quotes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cache

from toolkit.errors import RatingsError
from toolkit.ingest.reading import line_ends

# What may separate fields in a sample, whose delimiter is not known yet.
_ANY = ",\t;|"
_LONGEST = 16 << 20
_WAY_OUT = "mend the line, or say --quote none where quotes are characters like any other"


class OpenQuoteError(RatingsError):
    """A quoted field goes on in the next line, so that lines cannot be read apart from each other."""


class _UnclosedError(ValueError):
    """A quote is not closed, or something follows the closing one; `at` is where it opens."""

    def __init__(self, at: int, *, ended: bool) -> None:
        super().__init__("an open quote")
        self.at = at
        self.ended = ended


def on_one_line(data: bytes, delimiters: str = _ANY) -> bytes:
    """Return lines without line ends in quotes (`line_ends.taken_out`), and blank lines behind the record.

    So every record is on one line, which has the number of the record's first line, and what follows keeps
    its number.

    Parameters
    ----------
    data : bytes
        Lines; the first begins outside of quotes.
    delimiters : str
        The characters behind which a quoted field may begin.

    Raises
    ------
    ValueError
        When a quote is not closed, or closed in the middle of a field of several lines.
    """
    if b'"' not in data:
        return data
    parts: list[bytes] = []
    done = owed = 0
    for field in _quoted(delimiters).finditer(data):
        inner = field[1]
        if not field[2]:
            raise _UnclosedError(field.start(), ended=False)
        if b"\n" not in inner and b"\r" not in inner:
            continue
        ends = inner.count(b"\n" if b"\n" in data else b"\r")
        if data[field.end() : field.end() + 1] not in {b"", b"\r", b"\n", *(d.encode() for d in delimiters)}:
            raise _UnclosedError(field.start(), ended=True)
        parts.append(_paid(data[done : field.start()], owed))
        owed = (0 if b"\n" in data[done : field.start()] else owed) + ends
        parts.append(b'"' + line_ends.taken_out(inner) + b'"')
        done = field.end()
    parts.append(_paid(data[done:], owed))
    return b"".join(parts)


def sample_on_one_line(data: bytes) -> bytes:
    """Return the first lines of a file as `on_one_line` does; without the last record, where it goes on."""
    try:
        return on_one_line(data)
    except _UnclosedError as quote:
        cut = data.rfind(b"\n", 0, quote.at) + 1
        return data if quote.ended or not cut else on_one_line(data[:cut])


def records(pieces: Iterator[bytes], delimiter: str, file: object) -> Iterator[bytes]:
    """Yield pieces of whole lines again, as pieces of whole records, each on one line.

    Parameters
    ----------
    pieces : iterator of bytes
        Whole lines.
    delimiter : str
        What separates fields.
    file : object
        The file, for errors.

    Raises
    ------
    RatingsError
        When a quote is not closed, or a noncharacter is there already; the text names the line.
    """
    rest, line = b"", 1
    for piece in pieces:
        if (at := line_ends.find_stand_in(piece)) >= 0:
            number, stand_in = line + (rest + piece[:at]).count(b"\n"), piece[at : at + 3].decode()
            raise RatingsError(
                f"{file}, line {number} holds {stand_in!r}, which is no character: remove it, or say --quote "
                "none where no field goes over several lines"
            )
        data = rest + piece
        try:
            whole, rest = data, b""
            yield on_one_line(whole, delimiter)
        except _UnclosedError as quote:
            if quote.ended or len(data) > _LONGEST + len(piece):
                raise _error(data, quote, line, file) from None
            cut = data.rfind(b"\n", 0, quote.at) + 1
            whole, rest = data[:cut], data[cut:]
            if whole:
                yield on_one_line(whole, delimiter)
        line += whole.count(b"\n")
    if rest:
        try:
            yield on_one_line(rest, delimiter)
        except _UnclosedError as quote:
            raise _error(rest, quote, line, file) from None


@cache
def _quoted(delimiters: str) -> re.Pattern[bytes]:
    before = re.escape(delimiters.encode())
    return re.compile(rb"(?:(?<=[" + before + rb'\n\r])|\A)"((?:[^"]++|"")*+)("|\Z)')


def _paid(text: bytes, owed: int) -> bytes:
    """Return text with a number of blank lines behind its first line."""
    end = text.find(b"\n") + 1
    return text[:end] + b"\n" * owed + text[end:] if owed and end else text


def _error(data: bytes, quote: _UnclosedError, line: int, file: object) -> RatingsError:
    begin = data.rfind(b"\n", 0, quote.at) + 1
    text = data[begin : begin + 320].splitlines()[0].decode("utf-8", "backslashreplace")[:80]
    how = "closes in the middle of a field, lines below" if quote.ended else "does not close"
    number = line + data.count(b"\n", 0, begin)
    return RatingsError(f"{file}, line {number} opens a quote that it {how}: {text!r}; {_WAY_OUT}")
