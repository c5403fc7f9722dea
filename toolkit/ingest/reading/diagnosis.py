"""Bad lines: which of a block that the reader refused are bad, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from toolkit.datasets import LONGEST_ID, SPLIT_NAMES, SPLITS, split_number
from toolkit.errors import RatingsError
from toolkit.ingest.reading import times, wide
from toolkit.ingest.reading.blocks import Piece, count_lines, cut_lines
from toolkit.ingest.reading.columns import Columns
from toolkit.ingest.reading.line_ends import restored
from toolkit.ingest.reading.parsing import closes_quotes, parse
from toolkit.ingest.reading.quotes import OpenQuoteError
from toolkit.ingest.reading.rejections import BadRow, Rejections
from toolkit.ingest.reading.source import RatingsSource
from toolkit.tables import DELIMITERS, can_be_read_as, is_number, is_rounded, whole_number

_SHOWN = 80
_LARGEST = float(np.finfo(np.float32).max)
_INTEGER = re.compile(r"-?[1-9][0-9]{0,18}|0")
_USUAL_NUMBER = r"-?[0-9]{1,15}(?:\.[0-9]{1,9})?"
_USUAL_TIME = (
    r"[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|1[0-9]|2[0-8])[ T](?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
)
_USUAL_TIMES = {
    "integer": r"-?[0-9]{1,18}",
    "number": _USUAL_NUMBER,
    "time": _USUAL_TIME,
    "zoned time": _USUAL_TIME + "Z",
}
# This many lines are looked at one by one; more are cut up first, so that one bad line costs little.
_FEW_LINES = 1 << 11
_CUTS = 16


def salvage(piece: Piece, source: RatingsSource) -> tuple[Columns, Rejections]:
    """Return the ratings of the good lines of a piece, and its bad lines.

    Parameters
    ----------
    piece : Piece
        Lines that `toolkit.ingest.reading.parsing.parse` refused.
    source : RatingsSource
        How to read them.

    Raises
    ------
    ValueError
        When the lines cannot be read although none of them is bad.
    """
    rejections = Rejections()
    good = b"".join(_good_lines(piece, source, rejections, _usual_line(source)))
    return parse(good, source) if good else Columns.none(), rejections


def numbered_lines(data: bytes, line: int) -> Iterator[tuple[int, bytes]]:
    """Yield lines that are not blank, and their numbers.

    A carriage return alone ends a line, too. It counts only where no line feed ends a line, as in
    `toolkit.ingest.reading.blocks.count_lines`.

    Parameters
    ----------
    data : bytes
        Whole lines.
    line : int
        Number of the first.
    """
    lines = data.split(b"\n") if b"\n" in data else data.splitlines()
    for at, whole in enumerate(lines, line):
        for text in whole.splitlines():
            if text.strip():
                yield at, text


def _good_lines(
    piece: Piece, source: RatingsSource, rejections: Rejections, usual: re.Pattern[bytes]
) -> Iterator[bytes]:
    """Yield the good lines of a piece, and add the bad ones to `rejections`."""
    parts = cut_lines(piece.data, _CUTS)
    if len(parts) < 2 or piece.lines <= _FEW_LINES:
        for at, text in numbered_lines(piece.data, piece.line):
            bad = None if usual.fullmatch(text) else check_line(text, at, source)
            if bad:
                rejections.add(bad)
            else:
                yield text + b"\n"
        return
    line = piece.line
    for data in parts:
        lines = count_lines(data)
        try:
            parse(data, source)
        except ValueError:
            yield from _good_lines(Piece(data, line, lines), source, rejections, usual)
        else:
            yield data if data.endswith(b"\n") else data + b"\n"
        line += lines


def _usual_line(source: RatingsSource) -> re.Pattern[bytes]:
    """Return a pattern that only good lines match, most of them; it is ten times as fast as a check."""
    if (
        source.wide
        or source.decimal != "."
        or source.delimiter not in DELIMITERS
        or (source.delimiter == " " and source.time_kind.endswith("time"))
    ):
        return re.compile(rb"(?!)")
    fields = [rf'[^"{source.delimiter[0]}\x00-\x1f\x7f-\xff]*'] * source.fields
    for position, kind in zip(source.columns[:2], source.ids, strict=True):
        fields[position] = r"[1-9][0-9]{0,17}" if kind == "integer" else rf"[A-Za-z0-9_.-]{{1,{LONGEST_ID}}}"
    fields[source.columns[2]] = _USUAL_NUMBER
    if source.timestamp is not None:
        fields[source.timestamp] = _USUAL_TIMES[source.time_kind]
    if source.split_column is not None:
        fields[source.split_column] = f"(?:{'|'.join(SPLIT_NAMES)})"
    return re.compile(re.escape(source.delimiter).join(fields).encode())


def check_line(line: bytes, at: int, source: RatingsSource) -> BadRow | None:
    """Return the mistake of a line, or None for a good line.

    Parameters
    ----------
    line : bytes
        The line, without its end.
    at : int
        Its number.
    source : RatingsSource
        How to read it.

    Raises
    ------
    OpenQuoteError
        When a quoted field goes on in the next line.
    """
    if b"\0" in line:
        return _bad(at, "zero byte", line, "holds a zero byte, so it is not text: mend or remove the line")
    text = line.decode("utf-8", "surrogateescape")
    if source.quoted and not closes_quotes(text, source.delimiter):
        raise OpenQuoteError(f"line {at} opens a quote that it does not close: {text[:_SHOWN]!r}")
    fields = source.split(text)
    if len(fields) != source.fields and source.files[0].keys:
        return _bad(at, "not JSON", line, "must be a JSON object; mend or remove the line")
    if len(fields) != source.fields:
        return _bad(
            at,
            "field count",
            line,
            f"has {len(fields)} field(s) where line 1 has {source.fields} (delimiter {source.delimiter!r}): "
            f"{text[:_SHOWN]!r}; mend the line, or give --delimiter",
        )
    if not _is_utf8(fields, source):
        message = f"is not UTF-8 text: {line[:_SHOWN]!r}; convert the file, for example with iconv"
        return _bad(at, "not UTF-8", line, message)
    for role, position, kind in zip(("user", "item"), source.columns[:2], source.ids, strict=True):
        if role == "user" or not source.wide:
            bad = _check_id(role, restored(fields[position]).strip(), kind)
            if bad:
                return _bad(at, bad[0], line, bad[1])
    if source.wide:
        bad = wide.problem_of(fields, source)
    else:
        bad = _check_rating(fields[source.columns[2]], source.decimal) or _check_others(fields, source)
    return _bad(at, bad[0], line, bad[1]) if bad else None


def bad_row_error(source: RatingsSource, file: int, row: BadRow) -> RatingsError:
    """Return the error that names a bad row.

    Parameters
    ----------
    source : RatingsSource
        The input.
    file : int
        Position of the row's file in the source.
    row : BadRow
        The row, its line counted from the beginning of the file.
    """
    separator = "" if row.message.startswith(("has ", "holds ", "must be ", "is not UTF-8")) else ":"
    unit = "row" if source.typed else "line"
    plain = not source.typed and not source.files[0].keys
    header = row.line == 1 and row.reason == "rating not a number" and plain
    hint = "; if that is a header, say --header" if header else ""
    if "timestamp" in row.reason and source.timestamp == source.spare_time:
        hint = "; times are read as pairs are rated twice: --duplicates mean, sum and error need none"
    drop = 'bad_rows="drop"' if source.files[file].kind == "arrow" else "--bad-rows drop"
    return RatingsError(
        f"{source.files[file]}, {unit} {row.line}{separator} {row.message}{hint} (or have bad rows left out, "
        f"counted, with {drop})"
    )


def _bad(at: int, reason: str, line: bytes, message: str) -> BadRow:
    # A character takes four bytes at most, so that the cut goes through none that is shown.
    text = restored(line[: 4 * _SHOWN].decode("utf-8", "backslashreplace"))[:_SHOWN]
    return BadRow(at, reason, text, restored(message))


def _is_utf8(fields: list[str], source: RatingsSource) -> bool:
    """Tell whether the fields that are read are UTF-8; the reader does not look at the others."""
    others = (position for position in (source.timestamp, source.split_column) if position is not None)
    try:
        "".join(fields[position] for position in (*source.columns, *others)).encode()
    except UnicodeEncodeError:
        return False
    return True


def _check_id(role: str, text: str, kind: str) -> tuple[str, str] | None:
    if not text:
        return f"{role} missing", f"the {role} is missing; mend or remove the line"
    if (size := len(text.encode())) > LONGEST_ID:
        return f"{role} too long", (
            f"the {role} must have at most {LONGEST_ID:,} bytes, but has {size:,}, and begins with "
            f"{text[:_SHOWN]!r}; mend or remove the line"
        )
    if kind != "text" and is_rounded(text):
        return f"{role} rounded", (
            f"the {role} {text} was rounded when it was written, so that several {role}s may have it: write "
            "ids in full, or say --ids text"
        )
    text = whole_number(text)
    if kind == "integer" and not (_INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63):
        return f"{role} not an integer", f"the {role} must be an integer of 64 bits, but is {text[:_SHOWN]!r}"
    return None


def _check_rating(field: str, decimal: str) -> tuple[str, str] | None:
    import pyarrow as pa

    point = field.translate({ord(","): ".", ord("."): ","}) if decimal == "," else field
    if can_be_read_as(point, pa.float32()):
        return None
    text = field.strip()
    rule = f"the rating must be a finite float32 number, but is {text[:_SHOWN]!r}"
    if re.fullmatch(r"-?\d+,\d+", text):
        rule += f"; write it with a point, {text.replace(',', '.')}, or say --decimal comma"
    if is_number(text) and not abs(float(text)) <= _LARGEST:
        return "rating not finite", rule
    return ("rating not a number" if text else "rating missing"), rule


def _check_others(fields: list[str], source: RatingsSource) -> tuple[str, str] | None:
    if source.timestamp is not None:
        text = fields[source.timestamp]
        if not times.can_be_read(text, source.time_kind):
            rule = {"integer": "an integer", "number": "a number"}.get(
                source.time_kind, f"a {source.time_kind} such as 2015-03-31 23:59:59"
            )
            message = f"the timestamp must be {rule}, as in the first lines, but is {text.strip()[:_SHOWN]!r}"
            return "bad timestamp", message
    if source.split_column is not None:
        text = fields[source.split_column]
        if split_number(text) is None:
            message = f"the split must be one of {', '.join(SPLITS)}, but is {text[:_SHOWN]!r}"
            return "unknown split", message
    return None
