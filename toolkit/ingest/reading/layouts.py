"""Several files of one ingest: where the columns of each of them are, and files that do not match."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from toolkit.errors import RatingsError
from toolkit.ingest.reading import times
from toolkit.ingest.reading.beginnings import Beginning, beginning_of
from toolkit.ingest.reading.field_names import ROLES
from toolkit.ingest.reading.form import Form, cleaned
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.second_look import check_alike, check_decimal
from toolkit.ingest.reading.typed_files import schema_of
from toolkit.tables import find_column, split_line, unit_of_times


@dataclass(frozen=True)
class Layout:
    """Where the columns of one file are.

    Attributes
    ----------
    columns : tuple of int
        Positions of user, item and rating, from 0.
    fields : int
        How many fields each line has.
    timestamp, spare_time, split_column : int or None
        Positions of these, where they are read.
    """

    columns: tuple[int, int, int]
    fields: int
    timestamp: int | None = None
    spare_time: int | None = None
    split_column: int | None = None

    def moved(self, to: Mapping[int, int], fields: int) -> Layout:
        """Return the layout of a file whose columns are at other positions."""
        user, item, rating = (to[at] for at in self.columns)
        others = {
            name: None if at is None else to[at]
            for name, at in (
                ("timestamp", self.timestamp),
                ("spare_time", self.spare_time),
                ("split_column", self.split_column),
            )
        }
        return Layout((user, item, rating), fields, **others)

    def positions(self) -> list[int]:
        """Return the positions of all columns that are read or may be."""
        others = (self.timestamp, self.spare_time, self.split_column)
        return [*self.columns, *(at for at in others if at is not None)]


def match_files(
    form: Form, layout: Layout, files: Sequence[RatingsFile], *, guessed: bool
) -> tuple[list[RatingsFile], list[Layout]]:
    """Return the other files of an ingest, with what they are translated from, and the layout of each.

    Parameters
    ----------
    form : Form
        What the first file shows.
    layout : Layout
        Where its columns are.
    files : sequence of RatingsFile
        The other files.
    guessed : bool
        Whether the columns of the first file were taken by their positions.

    Raises
    ------
    RatingsError
        Naming a file that is not of the form of the first, and what differs.
    """
    if form.file.kind == "parquet":
        return list(files), [_layout_of_parquet(form, layout, file) for file in files]
    begun = [beginning_of(file, quotes=form.quotes, first=form.header) for file in files]
    layouts = [_layout_of_text(form, layout, one, guessed=guessed) if one.lines else layout for one in begun]
    return [dataclasses.replace(one.file, keys=form.file.keys) for one in begun], layouts


def _layout_of_text(form: Form, layout: Layout, begun: Beginning, *, guessed: bool) -> Layout:
    mine = form.file.forms[-1] if form.file.forms else ""
    if {mine, begun.form} & {"json", "netflix", "matrix"} and mine != begun.form:
        raise RatingsError(
            f"{begun.file} must be of the form of {form.file}, {mine or 'lines of fields'}, but is of the "
            f"form {begun.form or 'lines of fields'}: ingest files of one form together"
        )
    if mine == "json":
        return layout
    if begun.delimiter not in {None, form.delimiter}:
        raise RatingsError(
            f"{begun.file} says that {begun.delimiter!r} separates its fields, but {form.file} has "
            f"{form.delimiter!r}: ingest files of one form together"
        )
    cut = split_line if form.quotes else str.split
    rows = [cut(line, form.delimiter) for line in begun.lines]
    moved = layout
    if not form.header:
        _check_no_header(form, layout, begun.file, rows[0])
        check_alike(form, layout.columns, begun.file, rows, guessed=guessed)
    elif rows[0] != form.rows[0]:
        moved = _moved_by_name(form, layout, begun, rows[0])
    body = rows[form.header :]
    ratings = _column(body, moved.columns[2])
    if form.decimal == "." and ratings:
        check_decimal(begun.file, ratings)
    return _with_times(form, layout, moved, begun.file, body)


def _check_no_header(form: Form, layout: Layout, file: RatingsFile, first: Sequence[str]) -> None:
    """Refuse a header that names other positions than those of a first file without one.

    With `--bad-rows drop`, it would be a bad row, and the columns below it would be mixed up.
    """
    names = cleaned(first)
    named = [find_column(names, role) for role in ROLES]
    if None not in named and named != [*layout.columns]:
        raise RatingsError(
            f"{file} has a header, {form.delimiter.join(first)!r:.200}, and {form.file} has none, but other "
            "columns: give all files a header, or ingest them apart"
        )


def _moved_by_name(form: Form, layout: Layout, begun: Beginning, first: Sequence[str]) -> Layout:
    names = cleaned(first)
    to = {} if form.counted else _found(form, layout, names)
    if len(to) < len(set(layout.positions())):
        raise RatingsError(
            f"{begun.file}, line 1 must be the header of {form.file}, "
            f"{form.delimiter.join(form.rows[0])!r:.200}, but is {begun.lines[0]!r:.200}: ingest files of "
            "one form together"
        )
    return layout.moved(to, len(names))


def _with_times(
    form: Form, layout: Layout, moved: Layout, file: RatingsFile, rows: Sequence[Sequence[str]]
) -> Layout:
    """Return the layout of a file, without its spare times where they are in another unit.

    Raises
    ------
    RatingsError
        When times that are wanted are in another unit.
    """
    if layout.timestamp is not None and moved.timestamp is not None:
        mine, theirs = form.sample(layout.timestamp), _column(rows, moved.timestamp)
        units = unit_of_times(mine), unit_of_times(theirs)
        if all(units) and units[0] != units[1]:
            raise RatingsError(
                f"{file}: its times are {units[1]} since 1970, but those of {form.file} are {units[0]}: "
                "bring them to one unit"
            )
    if layout.spare_time is not None and moved.spare_time is not None:
        mine, theirs = form.sample(layout.spare_time), _column(rows, moved.spare_time)
        alike = times.kind_of(mine) == times.kind_of(theirs) and unit_of_times(mine) == unit_of_times(theirs)
        if theirs and not alike:
            return dataclasses.replace(moved, spare_time=None)
    return moved


def _column(rows: Sequence[Sequence[str]], at: int) -> list[str]:
    return [row[at].strip() for row in rows if at < len(row)]


def _layout_of_parquet(form: Form, layout: Layout, file: RatingsFile) -> Layout:
    schema = schema_of(file)
    names = list(schema.names)
    to = {at: at for at in range(len(names))} if names == form.names else _found(form, layout, names)
    if len(to) < len(set(layout.positions())):
        raise RatingsError(
            f"{file} must have the columns of {form.file}, {', '.join(form.names)}, but has "
            f"{', '.join(names)}: ingest files of one form together"
        )
    moved = layout.moved(to, len(names))
    if layout.spare_time is not None and moved.spare_time is not None:
        kind = times.kind_of_type(schema.field(moved.spare_time).type)
        if kind != form.types[layout.spare_time]:
            return dataclasses.replace(moved, spare_time=None)
    if layout.timestamp is not None and moved.timestamp is not None:
        # A cast would make something of any number: the seconds of one file the microseconds of another.
        arrow_type, kind = schema.field(moved.timestamp).type, form.types[layout.timestamp]
        if times.kind_of_type(arrow_type) != kind:
            raise RatingsError(
                f"{file}: {names[moved.timestamp]} must hold {kind}s, as in {form.file}, but holds "
                f"{arrow_type}: ingest files of one form together"
            )
    return moved


def _found(form: Form, layout: Layout, names: Sequence[str]) -> dict[int, int]:
    """Return the positions of the first file's columns in another file, where each is named once."""
    wanted = {at: form.names[at] for at in layout.positions()}
    return {at: names.index(name) for at, name in wanted.items() if name and names.count(name) == 1}
