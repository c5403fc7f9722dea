"""How to read ratings files: delimiter, header, and which columns hold what."""

from __future__ import annotations

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.errors import ConfigError, RatingsError, did_you_mean
from toolkit.ingest.reading import times
from toolkit.ingest.reading.files import RatingsFile, find_files, first_bytes, open_raw, reading
from toolkit.ingest.splitting.rule import SPLITS

ROLES = ("user", "item", "rating")
IdKind = Literal["auto", "integer", "text"]
ID_KINDS: tuple[IdKind, ...] = ("auto", "integer", "text")
# Tried in this order; the first that cuts every sampled line into the same number of fields, three or more,
# is taken.
DELIMITERS = ("::", "\t", ",", ";", "|", " ")
_SAMPLE_LINES = 50
_ALIASES = {
    "user": ("user", "userid", "user_id", "uid", "user_name", "username"),
    "item": (
        "item",
        "itemid",
        "item_id",
        "iid",
        "movie",
        "movieid",
        "movie_id",
        "product",
        "product_id",
        "book_id",
    ),
    "rating": ("rating", "ratings", "score", "stars", "value"),
    "timestamp": ("timestamp", "time", "datetime", "date", "ts", "unix_timestamp", "unixreviewtime"),
}


@dataclass(frozen=True, kw_only=True)
class RatingsSource:
    """Ratings files and how to read them.

    Attributes
    ----------
    files : tuple of RatingsFile
        Text files, compressed or not, or Parquet files; all of the same form.
    delimiter : str
        What separates fields: one character, or ``::``. Empty for Parquet.
    header : bool
        Whether the first line of each file names the columns.
    columns : tuple of int
        Positions of user, item and rating in a line, from 0.
    fields : int
        How many fields each line has.
    timestamp : int or None
        Position of the time of a rating, where it is to be read.
    time_kind : str
        How times are written: one of `toolkit.ingest.reading.times.KINDS`.
    split_column : int or None
        Position of the column that says train, valid or test, where it is to be read.
    given : tuple of int
        For each file the position in `SPLITS` of its ratings; empty where files do not decide.
    ids : tuple of str
        For users and items: ``integer`` where every id must be one, ``text`` where ids are taken as written,
        ``auto`` for integers where all are integers and text otherwise.
    """

    files: tuple[RatingsFile, ...]
    delimiter: str
    header: bool
    columns: tuple[int, int, int]
    fields: int
    timestamp: int | None = None
    time_kind: str = "integer"
    split_column: int | None = None
    given: tuple[int, ...] = ()
    ids: tuple[IdKind, IdKind] = ("auto", "auto")

    @property
    def paths(self) -> tuple[str, ...]:
        """The files as people write them."""
        return tuple(map(str, self.files))

    @property
    def parquet(self) -> bool:
        """Whether the files are Parquet."""
        return self.files[0].kind == "parquet"

    @classmethod
    def detect(
        cls,
        paths: Sequence[str | Path],
        *,
        delimiter: str | None = None,
        header: bool | None = None,
        columns: Sequence[str | int] | None = None,
        timestamp: bool = False,
        split_column: str | int | None = None,
        split_files: Mapping[str, Sequence[str | Path]] | None = None,
        ids: IdKind = "auto",
    ) -> RatingsSource:
        """Find out from the first lines what is not given.

        Parameters
        ----------
        paths : sequence of str or Path
            Files, patterns such as ``ratings-*.csv``, directories, ``FILE.zip/MEMBER``, or addresses such as
            ``s3://bucket/ratings/*.parquet``.
        delimiter : str, optional
            What separates fields.
        header : bool, optional
            Whether the first line names the columns.
        columns : sequence of str or int, optional
            User, item, rating and, where it is wanted, timestamp: names of the header, or positions from 1.
        timestamp : bool, default False
            Whether times are needed, and so a column of them is looked for.
        split_column : str or int, optional
            The column that says ``train``, ``valid`` or ``test``: a name, or a position from 1.
        split_files : mapping of {"valid", "test"} to sequence of str or Path, optional
            Files whose ratings are held out; those of `paths` are then for training.
        ids : {"auto", "integer", "text"}
            What ids are; ``integer`` makes any other a bad row.

        Raises
        ------
        RatingsError
            When a file is missing or empty, or its form cannot be told; the text says which option settles
            it.
        ConfigError
            When `ids` or `split_files` has another value, or an option is for text and the files are Parquet.
        """
        if ids not in ID_KINDS:
            raise ConfigError(f"--ids must be one of {', '.join(ID_KINDS)}, but got {ids!r}")
        files, given = _with_split(find_files(paths), split_files or {})
        kinds = {file.kind == "parquet" for file in files}
        if len(kinds) > 1:
            odd = next(file for file in files if (file.kind == "parquet") != (files[0].kind == "parquet"))
            raise RatingsError(f"{files[0]} and {odd} must be both text or both Parquet: ingest them apart")
        if columns is not None and len(columns) not in {3, 4}:
            raise RatingsError(
                "--columns must name user, item and rating in this order, and perhaps a timestamp, but got "
                f"{_listed(columns)}"
            )
        if kinds.pop():
            if delimiter is not None or header is not None:
                raise ConfigError(f"{files[0]} is Parquet: --delimiter and --header are for text")
            found = _of_parquet(files)
        else:
            found = _of_text(files[0], delimiter, header=header, columns=columns)
        positions = found.positions(columns, timestamp=timestamp)
        source = cls(
            files=files,
            delimiter=found.delimiter,
            header=found.header,
            columns=(positions[0], positions[1], positions[2]),
            fields=len(found.names or found.rows[0]),
            timestamp=positions[3] if len(positions) > 3 else None,
            time_kind=found.time_kind(positions[3]) if len(positions) > 3 else "integer",
            split_column=None if split_column is None else found.position(split_column, "--split-column"),
            given=given,
            ids=(ids, ids),
        )
        found.check_others(files[1:], source.timestamp)
        return source

    def number_of_split(self, text: str) -> int | None:
        """Return the position in `SPLITS` that a field of the split column names, or None for no split."""
        return SPLIT_NAMES.get(text.strip().lower())


SPLIT_NAMES = {
    **{name: SPLITS.index("train") for name in ("train", "training", "base")},
    **{name: SPLITS.index("valid") for name in ("valid", "validation", "val", "dev")},
    **{name: SPLITS.index("test") for name in ("test", "testing", "holdout")},
}


@dataclass(frozen=True)
class _Form:
    """What the beginning of the first file shows."""

    file: RatingsFile
    delimiter: str
    header: bool
    names: list[str]
    """Names of the columns; empty without a header."""
    rows: list[list[str]]
    """Sampled lines as fields, the header first where there is one; empty for Parquet."""
    types: Mapping[int, str]
    """Parquet: what times are, by position."""

    def positions(self, columns: Sequence[str | int] | None, *, timestamp: bool) -> list[int]:
        """Return the positions of user, item, rating and, where it is wanted, timestamp."""
        if columns is not None:
            found = [self.position(column, "--columns") for column in columns]
            if len(set(found)) != len(found):
                raise RatingsError(f"--columns must name different columns, but got {_listed(columns)}")
        elif self.names:
            found = self._by_alias(ROLES)
        else:
            found = [0, 1, 2]
        width = len(self.names or self.rows[0])
        if max(found) >= width:
            raise RatingsError(
                f"{self.file}: the first line has {width} field(s) when cut at {self.delimiter!r}, and no "
                f"column {max(found) + 1}: give --delimiter or --columns"
            )
        if self.header and self.rows and number(self.rows[0][found[2]]) is not None:
            raise RatingsError(
                f"{self.file}: the first line, {self.delimiter.join(self.rows[0])[:80]!r}, must be a header, "
                "but its rating column holds a number: give --no-header"
            )
        if timestamp and len(found) == 3:
            found.append(self._find_timestamp(found))
        return found

    def position(self, column: str | int, option: str) -> int:
        """Return the position of a column by its name, or by its number, from 1."""
        width = len(self.names or self.rows[0])
        if str(column) in self.names:
            return self.names.index(str(column))
        if str(column).isdigit():
            if not 1 <= int(column) <= width:
                raise RatingsError(f"{option} must name columns from 1 to {width}, but got {column}")
            return int(column) - 1
        if not self.names:
            raise RatingsError(
                f"{self.file} has no header to find {column} in: give {option} as positions, such as 1,2,3"
            )
        raise RatingsError(
            f"{self.file} has no column {str(column)!r}{did_you_mean(str(column), self.names)}: its header "
            f"has {_listed(self.names)}"
        )

    def _by_alias(self, roles: Sequence[str]) -> list[int]:
        # RecBole writes the type behind the name: user_id:token.
        lower = [name.lower().partition(":")[0] for name in self.names]
        found = [next((lower.index(a) for a in _ALIASES[role] if a in lower), None) for role in roles]
        unknown = [role for role, position in zip(roles, found, strict=True) if position is None]
        if unknown:
            raise RatingsError(
                f"{self.file}: none of the columns {_listed(self.names)} is recognised as "
                f"{_listed(unknown)}: name user, item and rating"
                f"{', and timestamp,' if 'timestamp' in unknown else ''} with --columns"
            )
        return [position for position in found if position is not None]

    def _find_timestamp(self, others: list[int]) -> int:
        if self.names:
            return self._by_alias(["timestamp"])[0]
        # MovieLens, and what follows it, has the time in the fourth column.
        if len(self.rows[0]) > 3 and 3 not in others and self._kind_of_times(3):
            return 3
        raise RatingsError(
            f"{self.file}: no column of times is found, and the split needs one: name it as the fourth of "
            "--columns, such as 1,2,3,4"
        )

    def time_kind(self, position: int) -> str:
        """Return how the times in a column are written."""
        kind = self.types.get(position) or self._kind_of_times(position)
        if not kind:
            column = self.names[position] if self.names else f"column {position + 1}"
            odd = next((text for text in self._sample(position) if not times.kind_of([text])), "")
            sample = f", such as {odd!r}," if self.rows else ""
            raise RatingsError(
                f"{self.file}: {column}{sample} must hold times, as numbers or as 2015-03-31 "
                "23:59:59.123456: name another as the fourth of --columns"
            )
        return kind

    def _sample(self, position: int) -> list[str]:
        body = self.rows[self.header :]
        return [row[position].strip() for row in body if position < len(row)] or [""]

    def _kind_of_times(self, position: int) -> str:
        return times.kind_of(self._sample(position)) if self.rows else ""

    def check_others(self, files: Sequence[RatingsFile], timestamp: int | None) -> None:
        """Refuse files that are not of this form."""
        for other in files:
            if self.file.kind == "parquet":
                self._check_schema(other, timestamp)
            elif self.header:
                first = _first_lines(other)[0]
                if split_line(first, self.delimiter) != self.rows[0]:
                    raise RatingsError(
                        f"{other}, line 1 must be the header of {self.file}, "
                        f"{self.delimiter.join(self.rows[0])!r}, but is {first!r}: ingest files of one form "
                        "together"
                    )

    def _check_schema(self, other: RatingsFile, timestamp: int | None) -> None:
        schema = _schema(other)
        names = list(schema.names)
        if names != self.names:
            raise RatingsError(
                f"{other} must have the columns of {self.file}, {_listed(self.names)}, but has "
                f"{_listed(names)}: ingest files of one form together"
            )
        if timestamp is None:
            return
        # A cast would make something of any number: the seconds of one file the microseconds of another.
        held, kind = schema.field(timestamp).type, self.types[timestamp]
        if times.kind_of_type(held) != kind:
            raise RatingsError(
                f"{other}: {names[timestamp]} must hold {kind}s, as in {self.file}, but holds {held}: "
                "ingest files of one form together"
            )


def _of_text(
    file: RatingsFile, delimiter: str | None, *, header: bool | None, columns: Sequence[str | int] | None
) -> _Form:
    lines = _first_lines(file)
    delimiter = delimiter or _find_delimiter(file, lines)
    rows = [split_line(line, delimiter) for line in lines]
    if len(rows[0]) < len(ROLES):
        raise RatingsError(
            f"{file}: the first line, {lines[0][:80]!r}, has {len(rows[0])} field(s) when cut at "
            f"{delimiter!r}, too few for user, item and rating: give another --delimiter"
        )
    named = columns is not None and any(not str(c).isdigit() for c in columns)
    if header is None:
        by_number = columns is not None and not named
        rating = int(columns[2]) - 1 if columns is not None and by_number else 2
        header = named or _looks_like_header(rows, rating)
    if named and not header:
        raise RatingsError(
            f"{file} has no header to find {_listed(columns or ())} in: give positions, such as 1,2,3"
        )
    names = [name.strip().strip('"') for name in rows[0]] if header else []
    return _Form(file, delimiter, header, names, rows, {})


def _of_parquet(files: Sequence[RatingsFile]) -> _Form:
    schema = _schema(files[0])
    kinds = {at: times.kind_of_type(field.type) for at, field in enumerate(schema)}
    types = {at: kind for at, kind in kinds.items() if kind}
    return _Form(files[0], "", header=True, names=list(schema.names), rows=[], types=types)


def _schema(file: RatingsFile) -> Any:
    import pyarrow.parquet as pq

    with reading(file, "as Parquet"), open_raw(file.path) as raw:
        return pq.read_schema(raw)


def _with_split(
    files: tuple[RatingsFile, ...], split_files: Mapping[str, Sequence[str | Path]]
) -> tuple[tuple[RatingsFile, ...], tuple[int, ...]]:
    """Return all files, and the split that each of them decides."""
    unknown = [name for name in split_files if name not in {"valid", "test"}]
    if unknown:
        raise ConfigError(f"--split-file must be valid=FILE or test=FILE, but got {unknown[0]}=…")
    if not split_files:
        return files, ()
    given = [SPLITS.index("train")] * len(files)
    for name, paths in split_files.items():
        held = find_files(paths)
        files += held
        given += [SPLITS.index(name)] * len(held)
    twice = {file for file in files if files.count(file) > 1}
    if twice:
        raise RatingsError(f"{min(twice)} is given twice, for training and held out: name it once")
    return files, tuple(given)


def split_line(line: str, delimiter: str) -> list[str]:
    """Cut one line into fields; a field in double quotes may hold a one-character delimiter."""
    if len(delimiter) == 1 and '"' in line:
        if len(line) > csv.field_size_limit():
            csv.field_size_limit(len(line))
        return next(csv.reader([line], delimiter=delimiter))
    return line.split(delimiter)


def number(text: str) -> float | None:
    """Return a field as a number, or None when it is none."""
    try:
        # Python's 1_000 is no number in a file.
        return None if "_" in text else float(text)
    except ValueError:
        return None


def _first_lines(file: RatingsFile) -> list[str]:
    with reading(file, "to its end"):
        raw = first_bytes(file, _SAMPLE_LINES)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RatingsError(
            f"{file} is not UTF-8 text: byte {error.start} is {raw[error.start]:#04x}; convert it, or "
            "decompress it first"
        ) from error
    # Not splitlines: a field may hold one of the other characters that end a line in Unicode.
    lines = [line for line in re.split("[\r\n]", text) if line.strip()]
    if not lines:
        raise RatingsError(f"{file} is empty: a ratings file has one user, item and rating a line")
    return lines


def _find_delimiter(file: RatingsFile, lines: list[str]) -> str:
    for delimiter in DELIMITERS:
        widths = {len(split_line(line, delimiter)) for line in lines}
        if len(widths) == 1 and widths.pop() >= len(ROLES):
            return delimiter
    # Some line is off: take what cuts most of them, and let the reader name the line.
    cuts = {d: sum(len(split_line(line, d)) >= len(ROLES) for line in lines) for d in DELIMITERS}
    best = max(DELIMITERS, key=lambda d: cuts[d])
    if cuts[best] * 2 < len(lines):
        two = next((d for d in DELIMITERS if all(len(split_line(line, d)) == 2 for line in lines)), "")
        if two:
            raise RatingsError(
                f"{file}: its lines have two fields when cut at {two!r}, such as {lines[0]!r}, and a ratings "
                "file has at least three: user, item and rating"
            )
        raise RatingsError(
            f"{file}: no delimiter cuts its lines into user, item and rating; line 1 is {lines[0]!r}: "
            "give --delimiter"
        )
    return best


def _looks_like_header(rows: list[list[str]], rating: int) -> bool:
    """Tell whether line 1 has no number at all, in a file whose ratings are numbers."""
    first = rows[0][rating] if rating < len(rows[0]) else ""
    return number(first) is None and all(number(field) is None for field in rows[0])


def _listed(names: Sequence[str | int]) -> str:
    return ", ".join(map(str, names))
