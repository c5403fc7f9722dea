"""Files of other forms as lines of ratings: UTF-16, ``sep=``, JSON lines, Netflix's blocks, MatrixMarket.

Each line of the file becomes one line, so that the number of a line is that of the file. A line without a
rating becomes a blank one.
"""

from __future__ import annotations

import codecs
import io
import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import IO, Any

from toolkit.ingest.reading.line_ends import find_stand_in, taken_out

Form = str
"""One of the keys of `_TRANSLATORS`."""
DELIMITERS: dict[Form, str] = {"json": ",", "netflix": ",", "matrix": " "}
"""What separates the fields of the lines that a form becomes."""
NAMES: dict[Form, tuple[str, ...]] = {"netflix": ("item", "user", "rating", "timestamp")}
"""Names of the fields that a form becomes, where the form says them."""
_AT_ONCE = 1 << 20
_BINARY = {
    b"SQLite format 3": "an SQLite database",
    b"\x93NUMPY": "an array of NumPy",
    b"\x80\x04\x95": "a pickle of Python",
    b"\x80\x05\x95": "a pickle of Python",
    b"\x89HDF": "an HDF5 file",
    b"ARROW1": "an Arrow file",
    b"Obj\x01": "an Avro file",
    b"\xd0\xcf\x11\xe0": "an old workbook",
}
_BLOCK = re.compile(rb"\s*[0-9]+:\s*")
_OBJECT = re.compile(rb"""\s*\{\s*["'}]""")
_SEPARATOR = re.compile(r'"?sep=(::|[^"])"?', re.IGNORECASE)
_MATRIX = b"%%matrixmarket"


def forms_of(head: bytes) -> tuple[Form, ...]:
    """Return the translations that a file needs, in their order, from its first bytes.

    Raises
    ------
    ValueError
        When it is of a form that cannot be read; the text says what it is, and the way out.
    """
    if head.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        raise ValueError("is UTF-32 text: convert it, as in iconv -f UTF-32 -t UTF-8")
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        even = head[: len(head) // 2 * 2]
        return ("utf-16", *forms_of(even.decode("utf-16", "replace").encode("utf-8", "replace")))
    for magic, what in _BINARY.items():
        if head.startswith(magic):
            raise ValueError(f"is {what}, not text: write its ratings as CSV or Parquet")
    if head[257:262] == b"ustar":
        raise ValueError("is a tar archive: unpack it, as in tar -xf, and name the ratings file within")
    for name, zeros, others in (("LE", head[1:64:2], head[:64:2]), ("BE", head[:64:2], head[1:64:2])):
        if len(head) > 3 and not any(zeros) and all(others):
            raise ValueError(
                f"has a zero byte in every second place: convert it, as in iconv -f UTF-16{name} -t UTF-8"
            )
    return _forms_of_text(head)


def _forms_of_text(head: bytes) -> tuple[Form, ...]:
    lines = [line for line in head.removeprefix(codecs.BOM_UTF8).splitlines() if line.strip()]
    first = lines[0] if lines else b""
    if _SEPARATOR.fullmatch(first.decode("latin-1").strip(" ")):
        return ("sep",)
    if first.lower().startswith(_MATRIX):
        _check_matrix(first.decode("latin-1").lower().split())
        return ("matrix",)
    if _BLOCK.fullmatch(first) and b"," in next((line for line in lines if not _BLOCK.fullmatch(line)), b""):
        return ("netflix",)
    if _OBJECT.match(first):
        return ("json",)
    if first.strip() == b"{":
        raise ValueError(
            "is one JSON document, or objects over several lines: write one object a line, as in jq -c . "
            "FILE, or jq -c '.[]' FILE"
        )
    if re.fullmatch(rb"\s*\[[^\[{]*\],?\s*", first):
        raise ValueError("has JSON arrays for lines: write them as CSV, as in jq -r '@csv' FILE")
    if first.strip() == b"[" or first.lstrip().startswith((b"[{", b"[ {")):
        raise ValueError("is one JSON document: write one object a line, as in jq -c '.[]' FILE")
    return ()


def separator_of(line: str) -> str | None:
    """Return what the line ``sep=;`` of a workbook's export names, or None for another line."""
    found = _SEPARATOR.fullmatch(line.removeprefix("\ufeff").strip("\r\n"))
    return found[1] if found else None


def translated(stream: IO[bytes], forms: Sequence[Form], keys: Sequence[str]) -> IO[bytes]:
    """Return a stream that reads as lines of ratings.

    Parameters
    ----------
    stream : binary file
        The file, decompressed.
    forms : sequence of str
        What `forms_of` found.
    keys : sequence of str
        JSON lines: the keys of the fields.
    """
    pieces: Iterator[bytes] = iter(lambda: stream.read(_AT_ONCE), b"")
    if forms and forms[0] != "utf-16":
        mark = next(pieces, b"")
        pieces = itertools.chain([mark.removeprefix(codecs.BOM_UTF8)], pieces)
    for form in forms:
        translate = _TRANSLATORS.get(form)
        pieces = _decoded(pieces) if translate is None else translate(_lines(pieces), keys)
    return io.BufferedReader(_Pieces(pieces), _AT_ONCE)


class _Pieces(io.RawIOBase):
    """Pieces of bytes as a file."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        super().__init__()
        self._pieces = pieces
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not len(self._rest):
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._rest = memoryview(piece)
        size = min(len(buffer), len(self._rest))
        buffer[:size] = self._rest[:size]
        self._rest = self._rest[size:]
        return size


def _decoded(pieces: Iterable[bytes]) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-16")()
    for piece in pieces:
        yield decoder.decode(piece).encode()
    yield decoder.decode(b"", final=True).encode()


def _lines(pieces: Iterable[bytes]) -> Iterator[list[bytes]]:
    """Yield whole lines, many at once, without their ends."""
    rest: list[bytes] = []
    for piece in pieces:
        if b"\n" not in piece:
            rest.append(piece)
            continue
        *lines, last = (b"".join(rest) + piece).split(b"\n")
        rest = [last]
        yield lines
    if any(rest):
        yield [b"".join(rest)]


def _of_separator(lines: Iterable[list[bytes]], _: Sequence[str]) -> Iterator[bytes]:
    for number, some in enumerate(lines):
        if number == 0:
            at = next((at for at, line in enumerate(some) if line.strip()), 0)
            some[at] = b""
        yield _joined(some)


def _of_blocks(lines: Iterable[list[bytes]], _: Sequence[str]) -> Iterator[bytes]:
    """Put the item of a block, ``17:``, before each of its lines."""
    item = b""
    for some in lines:
        for at, line in enumerate(some):
            if _BLOCK.fullmatch(line):
                item, some[at] = line.strip()[:-1] + b",", b""
            elif line.strip():
                some[at] = item + line
        yield _joined(some)


def _of_matrix(lines: Iterable[list[bytes]], _: Sequence[str]) -> Iterator[bytes]:
    entries: int | None = None
    sizes = (0, 0)
    found = number = 0
    for some in lines:
        for at, line in enumerate(some):
            number += 1
            words = line.split()
            if not words or words[0].startswith(b"%"):
                some[at] = b""
            elif entries is None:
                if len(words) != 3 or not all(word.isdigit() for word in words):
                    raise ValueError(
                        f"the line of sizes must be rows, columns and entries, but is {line[:80]!r}"
                    )
                sizes, entries, some[at] = (int(words[0]), int(words[1])), int(words[2]), b""
            else:
                found += 1
                _check_entry(words, sizes, number)
                some[at] = b" ".join(words)
        yield _joined(some)
    if entries is not None and found != entries:
        raise ValueError(f"its line of sizes promises {entries:,} entries, but it holds {found:,}")


def _check_entry(words: Sequence[bytes], sizes: tuple[int, int], line: int) -> None:
    """Refuse an entry beyond the sizes of its table; the reader names one that is no entry."""
    inside = [
        not word.lstrip(b"-").isdigit() or 0 < int(word) <= size
        for word, size in zip(words, sizes, strict=False)
    ]
    if not all(inside):
        text = b" ".join(words).decode("latin-1")
        raise ValueError(
            f"line {line}, {text!r:.80}, lies outside of its {sizes[0]:,} rows and {sizes[1]:,} "
            "columns, which count from 1"
        )


def _check_matrix(words: Sequence[str]) -> None:
    if len(words) != 5 or words[1] != "matrix":
        raise ValueError("has a damaged first line of MatrixMarket: write it again, as in scipy.io.mmwrite")
    _, _, layout, field, symmetry = words
    if layout != "coordinate":
        raise ValueError(
            "is a dense MatrixMarket table, in which 0 may be a rating: write the ratings alone, as in "
            "scipy.io.mmwrite of a coo_matrix"
        )
    if field not in {"real", "integer", "double"}:
        raise ValueError(f"is a MatrixMarket table of {field} entries, which are no ratings: write real ones")
    if symmetry != "general":
        raise ValueError(
            f"is a {symmetry} MatrixMarket table, whose users would be its items: write it as general"
        )


def _of_json(lines: Iterable[list[bytes]], keys: Sequence[str]) -> Iterator[bytes]:
    for some in lines:
        yield _joined([json_fields(line, keys) for line in some])


def json_fields(line: bytes, keys: Sequence[str]) -> bytes:
    """Return the values of some keys of a JSON object as fields of a CSV line.

    A key that is missing, null or an object of its own gives an empty field. A line that is no JSON object
    becomes one field, and so no rating.
    """
    if not line.strip():
        return b""
    try:
        found = json.loads(line)
        return b",".join([_csv_field(found.get(key)) for key in keys])
    except (ValueError, AttributeError, RecursionError):
        return b"no JSON object"


def _csv_field(value: object) -> bytes:
    if isinstance(value, str):
        if value.isalnum():
            return value.encode()
        # Half a character becomes bytes that are no UTF-8, so that the line is a bad row.
        plain = value.replace('"', '""').encode("utf-8", "surrogatepass")
        # So does one that would stand for a line end.
        return b'"' + (b"\xff" if find_stand_in(plain) >= 0 else taken_out(plain)) + b'"'
    if isinstance(value, bool) or not isinstance(value, int | float):
        return b""
    return repr(value).encode()


def json_keys(lines: Sequence[str]) -> list[str]:
    """Return the keys of some JSON lines whose values are text or numbers, in the order in which they come.

    Raises
    ------
    ValueError
        When most lines are no JSON objects.
    """
    keys: dict[str, None] = {}
    objects = 0
    for line in lines:
        try:
            found = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(found, dict):
            objects += 1
            keys.update((key, None) for key, value in found.items() if isinstance(value, str | int | float))
    if objects * 2 < len(lines):
        raise ValueError(
            "begins like JSON lines, but most of its lines are no JSON objects: write one object a line, as "
            "in pandas.DataFrame.to_json(lines=True, orient='records')"
        )
    if not keys:
        raise ValueError(
            "has JSON objects without text or numbers in them: write one flat object a line, with a user, "
            "an item and a rating"
        )
    return list(keys)


def _joined(lines: list[bytes]) -> bytes:
    return b"\n".join(itertools.chain(lines, [b""]))


_TRANSLATORS: dict[Form, Callable[[Iterable[list[bytes]], Sequence[str]], Iterator[bytes]]] = {
    "sep": _of_separator,
    "json": _of_json,
    "netflix": _of_blocks,
    "matrix": _of_matrix,
}
