"""Ratings files and how to read them: what the user says, and for the rest what the first lines show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from toolkit.datasets import SPLITS, TRAIN
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest.reading.column_choice import (
    choose_columns,
    kind_of_times,
    position_of,
    positions_between,
    spare_time,
)
from toolkit.ingest.reading.file_listing import find_files
from toolkit.ingest.reading.form import cleaned, parquet_form, text_form
from toolkit.ingest.reading.layouts import Layout, match_files
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.second_look import check_roles
from toolkit.ingest.reading.wide_form import has_header, items_of
from toolkit.inputs import checked_list, checked_word
from toolkit.tables import split_line, split_plainly

IdKind = Literal["auto", "integer", "text", "words"]
"""``words`` is text in which whole numbers are taken as their digits, because another part of the input has text."""
ID_KINDS: tuple[IdKind, ...] = ("auto", "integer", "text")


@dataclass(frozen=True, kw_only=True)
class RatingsSource:
    r"""Ratings files and how to read them.

    Attributes
    ----------
    files : tuple of RatingsFile
        Text files, compressed or not, or Parquet files; all of the same form.
    delimiter : str
        What separates fields: one character, or ``::``. Empty for Parquet.
    header : bool
        Whether the first line of each file names the columns.
    counted : bool
        Whether that line only counts the columns, 0, 1, 2, …
    columns : tuple of int
        Positions of user, item and rating in a line, from 0.
    fields : int
        How many fields each line has.
    timestamp : int or None
        Position of the time of a rating, where it is to be read.
    spare_time : int or None
        Position of a column of times that was recognised, but is read only where pairs are rated twice and the
        last rating counts.
    time_kind : str
        How times are written: one of `toolkit.ingest.reading.times.KINDS`.
    split_column : int or None
        Position of the column that says train, valid or test, where it is to be read.
    given : tuple of int
        For each file the position in `SPLITS` of its ratings; empty where files do not decide.
    ids : tuple of str
        For users and items: ``integer`` where every id must be one, ``text`` where ids are taken as written,
        ``auto`` for integers where all are integers and text otherwise, ``words`` for the text of ``auto``.
    quotes : bool
        Whether a field in quotes may hold the delimiter and line ends; otherwise a quote is a character like
        any other.
    folded : bool
        Whether some quoted field goes over several lines, so that the lines are read one after the other.
    decimal : str
        What stands before the decimals of a rating: a point or a comma.
    items, item_columns : tuple of str, tuple of int
        Wide tables: the item of each column of ratings, and its position; empty for other files.
    no_rating : str or None
        Wide tables: what a cell without a rating holds, if not nothing.
    layouts : tuple of Layout
        For each file where its columns are; empty where all are like the first.

    Examples
    --------
    >>> from pathlib import Path
    >>> from tempfile import TemporaryDirectory
    >>> from toolkit import RatingsSource
    >>> with TemporaryDirectory() as folder:
    ...     path = Path(folder) / "ratings.dat"
    ...     _ = path.write_text("1::1193::5::978300760\n")
    ...     source = RatingsSource.detect([path], columns=["user", "item", "rating", "timestamp"])
    >>> source.delimiter, source.header, source.columns, source.timestamp
    ('::', False, (0, 1, 2), 3)
    """

    files: tuple[RatingsFile, ...]
    delimiter: str
    header: bool
    columns: tuple[int, int, int]
    fields: int
    timestamp: int | None = None
    spare_time: int | None = None
    time_kind: str = "integer"
    split_column: int | None = None
    given: tuple[int, ...] = ()
    ids: tuple[IdKind, IdKind] = ("auto", "auto")
    quotes: bool = True
    folded: bool = False
    decimal: str = "."
    items: tuple[str, ...] = ()
    item_columns: tuple[int, ...] = ()
    no_rating: str | None = None
    layouts: tuple[Layout, ...] = ()
    counted: bool = False

    @property
    def paths(self) -> tuple[str, ...]:
        """The files as people write them."""
        return tuple(map(str, self.files))

    @property
    def parquet(self) -> bool:
        """Whether the files are Parquet."""
        return self.files[0].kind == "parquet"

    @property
    def wide(self) -> bool:
        """Whether users are in rows and items in columns."""
        return bool(self.items)

    @property
    def quoted(self) -> bool:
        """Whether a field in quotes may hold the delimiter; where that is ``::``, none may."""
        return self.quotes and len(self.delimiter) == 1

    def split(self, line: str) -> list[str]:
        """Return the fields of a line."""
        return (split_line if self.quotes else split_plainly)(line, self.delimiter)

    def of_file(self, number: int) -> RatingsSource:
        """Return how to read one of the files: its columns may be in another order."""
        return replace(self, layouts=(), **vars(self.layouts[number])) if self.layouts else self

    def with_times(self) -> RatingsSource:
        """Return a source that reads the spare column of times."""
        layouts = tuple(replace(one, timestamp=one.spare_time, spare_time=None) for one in self.layouts)
        return replace(self, timestamp=self.spare_time, spare_time=None, layouts=layouts)

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
        quotes: bool = True,
        decimal: str = ".",
        wide: bool = False,
        no_rating: str | float | None = None,
    ) -> RatingsSource:
        """Return how to read some files, from the first lines where an argument does not say it.

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
            In files without a header, names of the fields in their order, as ``names=`` in pandas:
            ``["item", "user", "rating"]`` where the item comes first.
        timestamp : bool, default False
            Whether times are needed, and so a column of them is looked for.
        split_column : str or int, optional
            The column that says ``train``, ``valid`` or ``test``: a name, or a position from 1.
        split_files : mapping of {"valid", "test"} to sequence of str or Path, optional
            Files whose ratings are held out; those of `paths` are then for training.
        ids : {"auto", "integer", "text"}
            What ids are; ``integer`` makes any other a bad row.
        quotes : bool, default True
            Whether a field in quotes may hold the delimiter and line ends. Otherwise a quote is a character like
            any other.
        decimal : {".", ","}
            What stands before the decimals of a rating.
        wide : bool, default False
            Whether users are in rows and items in columns. `columns` may then name the column of users and those
            of items, as in ``[1, "3-102"]``; by default the first holds users, and all others are items.
        no_rating : str or float, optional
            Wide tables: what a cell without a rating holds, if not nothing.

        Raises
        ------
        RatingsError
            When a file is missing or empty, or its form is open or doubtful; the text says which option settles
            it.
        ConfigError
            When an argument is of the wrong kind, or is for text and the files are Parquet.
        """
        paths = checked_list("paths", paths, (str, Path), '["ratings.csv"]')
        if columns is not None:
            columns = checked_list("columns", columns, (str, int), '["user", "item", "rating"]')
        checked_word("--ids", ids, ID_KINDS)
        _check_arguments(delimiter, header, split_column)
        _check_flags(quotes, decimal, wide, no_rating)
        held_out = _checked_split_files(split_files)
        files, given = _with_split_files(find_files(paths), held_out)
        parquet = files[0].kind == "parquet"
        odd = next((file for file in files if (file.kind == "parquet") != parquet), None)
        if odd:
            raise RatingsError(f"{files[0]} and {odd} must be both text or both Parquet: ingest them apart")
        for_text = delimiter is not None or header is not None or not quotes or decimal != "."
        if parquet and (for_text or wide):
            raise ConfigError(
                f"{files[0]} is Parquet: --delimiter, --header, --quote, --decimal and --wide are for text"
            )
        if wide:
            if timestamp or split_column is not None:
                raise ConfigError("a wide table has neither times nor a column of splits: draw the split")
            return _wide_source(
                files,
                given,
                delimiter,
                header,
                columns,
                quotes=quotes,
                decimal=decimal,
                no_rating=no_rating,
                ids=ids,
            )
        form = (
            parquet_form(files[0])
            if parquet
            else text_form(files[0], delimiter, header=header, columns=columns, quotes=quotes)
        )
        (user, item, rating, *time), guessed = choose_columns(form, columns, timestamp=timestamp)
        if guessed:
            check_roles(form, (user, item, rating))
        spare = None if time else spare_time(form, [user, item, rating])
        layout = Layout(
            columns=(user, item, rating),
            fields=form.width,
            timestamp=time[0] if time else None,
            spare_time=spare,
            split_column=None if split_column is None else position_of(form, split_column, "--split-column"),
        )
        at = layout.timestamp if spare is None else spare
        kind = "integer" if at is None else kind_of_times(form, at)
        first = form.file
        if form.file.forms[-1:] == ("json",):
            # Of JSON lines only the keys that are read become fields.
            read = sorted(layout.positions())
            first = replace(first, keys=tuple(form.names[at] for at in read))
            form = replace(
                form, file=first, names=list(first.keys), rows=[[row[at] for at in read] for row in form.rows]
            )
            layout = layout.moved({at: n for n, at in enumerate(read)}, len(read))
        others, layouts = match_files(form, layout, files[1:], guessed=guessed)
        source = cls(
            files=(first, *others),
            delimiter=form.delimiter,
            header=form.header,
            time_kind=kind,
            given=given,
            ids=(ids, ids),
            quotes=quotes,
            folded=form.folded,
            decimal=decimal,
            counted=form.counted,
            layouts=(layout, *layouts) if any(one != layout for one in layouts) else (),
            **vars(layout),
        )
        return source


def _wide_source(
    files: tuple[RatingsFile, ...],
    given: tuple[int, ...],
    delimiter: str | None,
    header: bool | None,  # noqa: FBT001 - three states
    columns: Sequence[str | int] | None,
    *,
    quotes: bool,
    decimal: str,
    no_rating: str | float | None,
    ids: IdKind,
) -> RatingsSource:
    form = text_form(files[0], delimiter, header=False, columns=None, quotes=quotes, least=2)
    if form.file.forms[-1:] in {("json",), ("netflix",), ("matrix",)}:
        raise ConfigError(f"{files[0]} is no wide table: leave --wide out")
    header = has_header(form.rows) if header is None else header
    form = replace(form, header=header, names=cleaned(form.rows[0]) if header else [])
    user = 0 if not columns else position_of(form, columns[0], "--columns")
    chosen = [at for column in (columns or [])[1:] for at in positions_between(form, column)]
    chosen = chosen or [at for at in range(form.width) if at != user]
    if user in chosen or len(set(chosen)) < len(chosen):
        raise RatingsError("--columns must name different columns for users and items")
    items = items_of(form, user, chosen)
    layout = Layout((user, chosen[0], chosen[0]), form.width)
    others, layouts = match_files(form, layout, files[1:], guessed=False)
    odd = next((file for file, one in zip(others, layouts, strict=True) if one != layout), None)
    if odd:
        raise RatingsError(f"{odd} must have the items of {form.file} in the same columns: ingest them apart")
    return RatingsSource(
        files=(form.file, *others),
        delimiter=form.delimiter,
        header=header,
        columns=layout.columns,
        fields=form.width,
        given=given,
        ids=(ids, ids),
        quotes=quotes,
        folded=form.folded,
        decimal=decimal,
        items=items,
        item_columns=tuple(chosen),
        no_rating=None if no_rating is None else f"{no_rating}",
    )


def _check_arguments(delimiter: Any, header: Any, split_column: Any) -> None:
    if delimiter is not None and delimiter != "::":
        one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
        if not one or delimiter in '"\r\n\0':
            raise ConfigError(f"--delimiter must be one ASCII character, tab, or '::', but got {delimiter!r}")
    if header is not None and not isinstance(header, bool):
        raise ConfigError(f"header must be True, False or None, but got {header!r}")
    if isinstance(split_column, bool) or not isinstance(split_column, str | int | None):
        raise ConfigError(f"split_column must be a name or a position from 1, but got {split_column!r}")


def _check_flags(quotes: Any, decimal: Any, wide: Any, no_rating: Any) -> None:
    for name, flag in (("quotes", quotes), ("wide", wide)):
        if not isinstance(flag, bool):
            raise ConfigError(f"{name} must be True or False, but got {flag!r}")
    if decimal not in {".", ","}:
        raise ConfigError(f"--decimal must be a point or a comma, but got {decimal!r}")
    if no_rating is not None and (
        isinstance(no_rating, bool) or not isinstance(no_rating, str | int | float)
    ):
        raise ConfigError(f"no_rating must be a text or a number, but got {no_rating!r}")
    if no_rating is not None and not wide:
        raise ConfigError("--no-rating is for wide tables: give --wide, too")


def _checked_split_files(split_files: Any) -> dict[str, list[str | Path]]:
    if split_files is None:
        return {}
    if not isinstance(split_files, Mapping):
        raise ConfigError(f'split_files must be as {{"test": ["u1.test"]}}, but got {split_files!r}')
    unknown = [name for name in split_files if name not in {"valid", "test"}]
    if unknown:
        raise ConfigError(f"--split-file must be valid=FILE or test=FILE, but got {unknown[0]}=…")
    return {
        name: checked_list(f"split_files[{name!r}]", paths, (str, Path), '["u1.test"]')
        for name, paths in split_files.items()
    }


def _with_split_files(
    files: tuple[RatingsFile, ...], split_files: Mapping[str, Sequence[str | Path]]
) -> tuple[tuple[RatingsFile, ...], tuple[int, ...]]:
    """Return all files, and the split that each of them decides."""
    if not split_files:
        return files, ()
    given = [TRAIN] * len(files)
    for name, paths in split_files.items():
        held_out = find_files(paths)
        files += held_out
        given += [SPLITS.index(name)] * len(held_out)
    twice = {file for file in files if files.count(file) > 1}
    if twice:
        raise RatingsError(f"{min(twice)} is given twice, for training and held out: name it once")
    return files, tuple(given)
