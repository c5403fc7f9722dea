"""Bad rows: found, named to the line and field, and dropped where that is asked for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from toolkit.errors import RatingsError
from toolkit.ingest import times
from toolkit.ingest.blocks import Piece, count_lines, cut_lines
from toolkit.ingest.columns import Columns
from toolkit.ingest.parsing import parse
from toolkit.ingest.source import RatingsSource, number, split_line
from toolkit.ingest.split import SPLITS

SAMPLES = 5
_LARGEST = float(np.finfo(np.float32).max)
_INTEGER = re.compile(r"-?[1-9]\d{0,18}|0")
# Few enough lines to look at one by one; more are cut up first, so that one bad line costs little.
_FEW_LINES = 64
_CUTS = 16


@dataclass(frozen=True)
class BadRow:
    """A row that is no rating.

    Attributes
    ----------
    line : int
        Number of the line, from 1, or of the row of a Parquet file.
    reason : str
        Which rule it breaks: one of a few words, for counting.
    text : str
        The beginning of the line.
    message : str
        What is wrong and the way out, to be put behind the name of file and line.
    """

    line: int
    reason: str
    text: str
    message: str


@dataclass
class Rejections:
    """How many rows were dropped, and some of them.

    Attributes
    ----------
    reasons : Counter
        Rows by reason.
    samples : list of BadRow
        The first few of each reason.
    """

    reasons: Counter[str] = field(default_factory=Counter)
    samples: list[BadRow] = field(default_factory=list)

    def add(self, row: BadRow) -> None:
        """Count a row."""
        self.reasons[row.reason] += 1
        if self.reasons[row.reason] <= SAMPLES:
            self.samples.append(row)

    def merge(self, other: Rejections) -> None:
        """Add what comes later in the input."""
        for row in other.samples:
            if sum(sample.reason == row.reason for sample in self.samples) < SAMPLES:
                self.samples.append(row)
        self.reasons.update(other.reasons)


def read_piece(piece: Piece, source: RatingsSource) -> tuple[Columns, Rejections]:
    """Read lines, and set the bad ones aside.

    Raises
    ------
    ValueError
        When the lines cannot be read although none of them is bad.
    """
    rejections = Rejections()
    try:
        return parse(piece.data, source), rejections
    except ValueError:
        good = list(_salvage(piece, source, rejections))
        if not rejections.reasons:
            raise
        return parse(b"".join(good), source) if good else Columns.none(), rejections


def _salvage(piece: Piece, source: RatingsSource, rejections: Rejections) -> Iterator[bytes]:
    """Yield the good lines of a piece that has bad ones."""
    parts = cut_lines(piece.data, _CUTS)
    if len(parts) < 2 or count_lines(piece.data) <= _FEW_LINES:
        for at, text in enumerate(piece.data.splitlines(), piece.line):
            if not text.strip():
                continue
            bad = check(text, at, source)
            if bad:
                rejections.add(bad)
            else:
                yield text + b"\n"
        return
    line = piece.line
    for data in parts:
        part = Piece(data, line)
        try:
            parse(data, source)
        except ValueError:
            yield from _salvage(part, source, rejections)
        else:
            yield data if data.endswith(b"\n") else data + b"\n"
        line += count_lines(data)


def check(line: bytes, at: int, source: RatingsSource) -> BadRow | None:
    """Return what is wrong with a line, if anything is.

    Parameters
    ----------
    line : bytes
        The line, without its end.
    at : int
        Its number.
    source : RatingsSource
        How to read it.
    """
    if b"\0" in line:
        return _bad(at, "zero byte", line, "holds a zero byte, so it is not text: mend or remove the line")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        message = f"is not UTF-8 text: {line[:80]!r}; convert the file, for example with iconv"
        return _bad(at, "not UTF-8", line, message)
    fields = split_line(text, source.delimiter)
    if len(fields) != source.fields:
        return _bad(
            at,
            "field count",
            line,
            f"has {len(fields)} field(s) where line 1 has {source.fields} (delimiter {source.delimiter!r}): "
            f"{text[:80]!r}; mend the line, or give --delimiter",
        )
    for role, position, kind in zip(("user", "item"), source.columns[:2], source.ids, strict=True):
        bad = _check_id(role, fields[position].strip(), kind)
        if bad:
            return _bad(at, bad[0], line, bad[1])
    bad = _check_rating(fields[source.columns[2]].strip(), at) or _check_others(fields, source)
    return _bad(at, bad[0], line, bad[1]) if bad else None


def error(source: RatingsSource, file: int, row: BadRow) -> RatingsError:
    """Return the error that names a bad row."""
    separator = "" if row.message.startswith(("has ", "holds ", "is not UTF-8")) else ":"
    unit = "row" if source.parquet else "line"
    return RatingsError(
        f"{source.files[file]}, {unit} {row.line}{separator} {row.message} (or have bad rows left out, "
        f"counted, "
        "with --bad-rows drop)"
    )


def _bad(at: int, reason: str, line: bytes, message: str) -> BadRow:
    return BadRow(at, reason, line[:80].decode("utf-8", "backslashreplace"), message)


def _check_id(role: str, text: str, kind: str) -> tuple[str, str] | None:
    if not text:
        return f"{role} missing", f"the {role} is missing; mend or remove the line"
    if kind == "integer" and not (_INTEGER.fullmatch(text) and -(2**63) <= int(text) < 2**63):
        return f"{role} not an integer", f"the {role} must be an integer of 64 bits, but is {text[:80]!r}"
    return None


def _check_rating(text: str, at: int) -> tuple[str, str] | None:
    value = number(text)
    if value is not None and abs(value) <= _LARGEST:
        return None
    rule = f"the rating must be a finite float32 number, but is {text[:80]!r}"
    if re.fullmatch(r"-?\d+,\d+", text):
        rule += f"; write it with a point, {text.replace(',', '.')}"
    if value is not None:
        return "rating not finite", rule
    if at == 1:
        rule += "; if that is a header, say --header"
    return ("rating not a number" if text else "rating missing"), rule


def _check_others(fields: list[str], source: RatingsSource) -> tuple[str, str] | None:
    if source.timestamp is not None:
        text = fields[source.timestamp].strip()
        if not times.is_time(text, source.time_kind):
            rule = {"integer": "an integer", "number": "a number"}.get(
                source.time_kind, f"a {source.time_kind} such as 2015-03-31 23:59:59"
            )
            return (
                "bad timestamp",
                f"the timestamp must be {rule}, as in the first lines, but is {text[:80]!r}",
            )
    if source.split_column is not None:
        text = fields[source.split_column]
        if source.number_of_split(text) is None:
            return "unknown split", f"the split must be one of {', '.join(SPLITS)}, but is {text[:80]!r}"
    return None
