"""Titles of items, from the files that come with ratings: MovieLens, RecBole, or a table of one's own."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets.ids import IdTable
from toolkit.errors import ConfigError
from toolkit.files.address import as_path, error_text
from toolkit.files.masking import mask

_Array = np.ndarray[Any, Any]
# Names of columns in lower case; of several that a header has, the first of this list is taken.
_ID_NAMES = (
    *("item", "item_id", "itemid", "movie", "movieid", "movie_id", "content", "contentid", "content_id"),
    *("product", "productid", "product_id", "article", "articleid", "article_id", "book_id", "iid", "id"),
)
_TITLE_NAMES = (
    *("title", "movie_title", "item_title", "content_title", "product_title", "article_title"),
    *("name", "item_name", "movie_name", "product_name", "headline"),
)
# Between the last two, a field in quotes may hold the delimiter and go over several lines.
_PLAIN, _QUOTED = ("::", "\t", "|"), (",", ";")
_SAMPLE_LINES = 50
# An array of text is as wide as its longest element.
_LONGEST = 500
_EXPECTED = "u.item, movies.dat or movies.csv of MovieLens, or a table with an id and a title in each line"
# What a terminal would obey instead of showing it: control characters, and marks that turn the direction of
# text around. Those that only part words become a blank.
_OBEYED = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
_REPLACED = {code: " " if chr(code).isspace() else "\ufffd" for code in _OBEYED}


def read_titles(path: str | Path, items: IdTable) -> _Array:
    """Return the title of each item of a model.

    The form is found out from the file: text with ``::``, tabs, ``|``, commas or semicolons between fields,
    plain or compressed by gzip, or Parquet. A first line that names a column of ids (item_id, movieId,
    contentId and others) or of titles (title, movie_title, name and others) is a header; where none does, ids
    come first and titles second. A file that is not UTF-8 is taken as Latin-1.

    Parameters
    ----------
    path : str or Path
        The file, or its address.
    items : IdTable
        The items of the model; ids that it does not have are passed over.

    Returns
    -------
    array of str, shape (n_items,)
        Empty for an item without a title. Of an id that comes twice the first title counts that is not empty.
        Characters that a terminal would obey are replaced, and titles are cut to 500 characters.

    Raises
    ------
    ConfigError
        When the file cannot be read as titles, or none of its ids is an item of the model.
    """
    name = mask(str(path))
    data = _read(path, name)
    titles: dict[str, str] = {}
    for key, title in _of_parquet(data, name) if data.startswith(b"PAR1") else _of_text(data, name, items):
        titles[key] = titles.get(key) or title
    found = [_shown(titles[key]) if key in titles else None for key in map(str, items.ids.tolist())]
    if all(title is None for title in found):
        theirs, ours = (
            ", ".join(repr(str(key)[:40]) for key in itertools.islice(keys, 3))
            for keys in (titles, items.ids)
        )
        raise ConfigError(
            f"{name}: none of its {len(titles):,} ids is an item of the model: it has {theirs or 'none'}, "
            f"the model has {ours}; choose the file that belongs to the ratings, or name its columns in a "
            "first line, item_id and title"
        )
    return np.array([title or "" for title in found])


def _shown(title: str) -> str:
    text = " ".join(title.translate(_REPLACED).split())
    return text if len(text) <= _LONGEST else text[: _LONGEST - 1] + "…"


def _read(path: str | Path, name: str) -> bytes:
    try:
        data = as_path(path, ConfigError).read_bytes()
        return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
    except ConfigError:
        raise
    except Exception as error:  # each store has errors of its own, and so has a damaged gzip file
        raise ConfigError(
            f"the titles file {name} cannot be read: {error_text(error, str(path))}; give {_EXPECTED}, plain "
            "or compressed by gzip"
        ) from error


def _of_parquet(data: bytes, name: str) -> Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(data))
        columns = list(file.schema_arrow.names)
        if len(columns) < 2:
            raise ConfigError(f"{name} must have a column of ids and one of titles, but has {columns}")
        chosen = _columns(columns) or (0, 1)
        held = [file.read(columns=[columns[at]]).column(0).to_pylist() for at in chosen]
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{name} cannot be read as Parquet: {error_text(error, name)}; write it again"
        ) from error
    for key, title in zip(*held, strict=True):
        # Whole numbers beside missing ones are kept as floating-point by some programs.
        whole = int(key) if isinstance(key, float) and key.is_integer() else key
        yield _text(whole).strip(), _text(title)


def _of_text(data: bytes, name: str, items: IdTable) -> Iterator[tuple[str, str]]:
    """Yield id and title of each line."""
    if b"\0" in data:
        raise ConfigError(
            f"{name} holds a zero byte, so it is not text: save it as UTF-8, or give {_EXPECTED}"
        )
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    # Not splitlines: a title may hold one of the other characters that end a line in Unicode.
    lines = re.split("\r\n|\n|\r", text)
    delimiter = _delimiter(lines, name)
    width, chosen = 0, (0, 1)
    for number, row in _rows(lines, text, delimiter, name):
        if not width:
            width = len(row)
            header = None if items.find(row[0].strip())[0] >= 0 else _columns(row)
            if header:
                chosen = header
                continue
        if len(row) != width:
            raise ConfigError(
                f"{name}, line {number} has {len(row)} field(s) where the first has {width} (delimiter "
                f"{delimiter!r}): {delimiter.join(row)[:80]!r}; mend the line"
                + (f", with quotes around a title that holds {delimiter!r}" if delimiter in _QUOTED else "")
            )
        yield row[chosen[0]].strip(), row[chosen[1]]


def _delimiter(lines: Sequence[str], name: str) -> str:
    """Return what cuts most of the first lines into as many fields as the first of them, two at least."""
    sample = [line for line in lines if line.strip()][:_SAMPLE_LINES]
    if not sample:
        raise ConfigError(f"{name} is empty: give {_EXPECTED}")
    widths = {d: [len(_cut(line, d)) for line in sample] for d in (*_PLAIN, *_QUOTED)}
    # Of several that cut all lines alike, as commas in titles may, the one that finds most fields.
    best = max(widths, key=lambda d: (widths[d].count(widths[d][0]) * (widths[d][0] > 1), widths[d][0]))
    if widths[best][0] < 2:
        raise ConfigError(
            f"{name}, line 1 must hold an id and a title, with '::', a tab, '|', ',' or ';' between them, "
            f"but is {sample[0][:80]!r}: give {_EXPECTED}"
        )
    return best


def _rows(lines: Sequence[str], text: str, delimiter: str, name: str) -> Iterator[tuple[int, list[str]]]:
    """Yield the number and the fields of each line that is not blank."""
    if delimiter in _PLAIN:
        yield from ((at, _cut(line, delimiter)) for at, line in enumerate(lines, 1) if line.strip())
        return
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    begun = 1
    try:
        for row in reader:
            if any(field.strip() for field in row):
                yield begun, row
            begun = reader.line_num + 1
    except csv.Error as error:
        raise ConfigError(
            f"{name}, line {begun}: {error}; close the quotes of each title, and double those within"
        ) from error


def _cut(line: str, delimiter: str) -> list[str]:
    if delimiter in _QUOTED and '"' in line:
        return next(csv.reader([line], delimiter=delimiter))
    return [_unquoted(field) for field in line.split(delimiter)]


def _unquoted(field: str) -> str:
    """Return a field without the quotes that a program put around it; quotes of a title's own stay."""
    inner = field[1:-1].replace('""', "")
    quoted = len(field) > 1 and field[0] == field[-1] == '"' and '"' not in inner
    return field[1:-1].replace('""', '"') if quoted else field


def _columns(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the positions of ids and titles in a header, or None where it names neither."""
    # RecBole writes the type behind the name: item_id:token.
    lower = [name.strip().lower().partition(":")[0] for name in names]
    ids = next((lower.index(name) for name in _ID_NAMES if name in lower), None)
    titles = next((lower.index(name) for name in _TITLE_NAMES if name in lower), None)
    if ids is None and titles is None:
        return None
    if ids is None:
        ids = 1 if titles == 0 else 0
    if titles is None:
        titles = 0 if ids == 1 else 1
    return ids, titles


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
