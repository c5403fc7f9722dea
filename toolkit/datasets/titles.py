"""Titles of items, from the files that come with ratings: MovieLens, RecBole, or a table of one's own."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

from toolkit.arrays import Array
from toolkit.datasets.ids import IdTable
from toolkit.datasets.texts import as_objects
from toolkit.errors import ConfigError
from toolkit.files import as_path, error_text, mask
from toolkit.tables import find_column, find_delimiter, lines_of, split_line, split_plainly

# Between the last two, a field in quotes may hold the delimiter and go over several lines. Between the others
# quotes are a part of the title.
_PLAIN, _QUOTED = ("::", "\t", "|"), (",", ";")
_SAMPLE_LINES = 50
# Titles are cut to so many characters: what is longer is no title.
_LONGEST = 500
_EXPECTED = "u.item, movies.dat or movies.csv of MovieLens, or a table with an id and a title in each line"
# Characters that a terminal obeys instead of showing them: control characters, and marks that turn the
# direction of text around. Those that only part words become a blank.
_OBEYED = (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A), 0x2028, 0x2029)
_REPLACED = {code: " " if chr(code).isspace() else "\ufffd" for code in _OBEYED}


def read_titles(path: str | Path, items: IdTable) -> Array:
    """Return the title of each item of a model.

    The file shows its form: text with ``::``, tabs, ``|``, commas or semicolons between fields,
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
    array of objects of str, shape (n_items,)
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
    matched = [_harmless(titles[key]) if key in titles else None for key in map(str, items.ids)]
    if all(title is None for title in matched):
        theirs, ours = (
            ", ".join(repr(str(key)[:40]) for key in itertools.islice(keys, 3))
            for keys in (titles, items.ids)
        )
        raise ConfigError(
            f"{name}: none of its {len(titles):,} ids is an item of the model: it has {theirs or 'none'}, "
            f"the model has {ours}; choose the file that belongs to the ratings, or name its columns in a "
            "first line, item_id and title"
        )
    return as_objects((title or "" for title in matched), len(matched))


def _harmless(title: str) -> str:
    """Return a title that a terminal shows as it is, cut to `_LONGEST` characters."""
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
        ids, titles = (file.read(columns=[columns[at]]).column(0).to_pylist() for at in chosen)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(
            f"{name} cannot be read as Parquet: {error_text(error, name)}; write it again"
        ) from error
    for key, title in zip(ids, titles, strict=True):
        # Some programs keep whole numbers beside missing ones as floating-point numbers.
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
    lines = lines_of(text)
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
    sample = [line for line in lines if line.strip()][:_SAMPLE_LINES]
    if not sample:
        raise ConfigError(f"{name} is empty: give {_EXPECTED}")
    best = find_delimiter(sample, least=2, candidates=(*_PLAIN, *_QUOTED), cut=_cut)
    if len(_cut(sample[0], best)) < 2:
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
        return split_line(line, delimiter)
    return split_plainly(line, delimiter)


def _columns(names: Sequence[str]) -> tuple[int, int] | None:
    """Return the positions of ids and titles in a header, or None where it names neither."""
    ids, titles = find_column(names, "item", also=["id"]), find_column(names, "title")
    if ids is None and titles is None:
        return None
    if ids is None:
        ids = 1 if titles == 0 else 0
    if titles is None:
        titles = 0 if ids == 1 else 1
    return ids, titles


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return "" if value is None else str(value)
