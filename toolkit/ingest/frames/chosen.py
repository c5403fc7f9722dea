"""The columns of a table that hold users, items, ratings and times, as for files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from toolkit.errors import RatingsError
from toolkit.ingest.reading import RatingsSource
from toolkit.ingest.reading.asked import Asked
from toolkit.ingest.reading.column_choice import choose_columns, kind_of_times, position_of, spare_time
from toolkit.ingest.reading.field_names import ROLES
from toolkit.ingest.reading.form import counted_columns, typed_form
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.second_look import check_roles
from toolkit.tables import find_column

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Chosen:
    """Which columns of a table are read, in the order in which they are written.

    Attributes
    ----------
    positions : tuple of int
        Where they are in the table.
    names : tuple of str
        Their names.
    roles : tuple of str
        ``user``, ``item``, ``rating``, ``timestamp`` or ``split``.
    source : RatingsSource
        How the files of these columns are read; they are not written yet.
    """

    positions: tuple[int, ...]
    names: tuple[str, ...]
    roles: tuple[str, ...]
    source: RatingsSource

    def at(self, positions: tuple[int, ...]) -> Chosen:
        """Return the same columns of a table that has them at other positions."""
        return replace(self, positions=positions)


def check_index(title: str, frame: Any, asked: Asked) -> None:
    """Refuse a frame that has users, items or ratings in its index, which is not read.

    Parameters
    ----------
    title : str
        What errors call the table.
    frame : object
        A frame of pandas' kind, or of another that has no index.
    asked : Asked
        What the user says.

    Raises
    ------
    RatingsError
        Naming the index.
    """
    index = [str(name) for name in getattr(getattr(frame, "index", None), "names", ()) if name is not None]
    names = [str(name) for name in frame.columns] if index else []
    for role in ROLES:
        at = find_column(index, role)
        if at is not None and asked.columns is None and find_column(names, role) is None:
            raise RatingsError(
                f"{title}: no column is recognised as {role}, but the index is named {index[at]}: make a "
                "column of it with reset_index()"
            )


def chosen_columns(
    title: str, schema: pa.Schema, sample: Callable[[], list[list[str]]], asked: Asked
) -> Chosen:
    """Return the columns that are read of a table.

    Parameters
    ----------
    title : str
        What errors call the table.
    schema : pyarrow.Schema
        Its names and types.
    sample : callable
        Returns some rows as text. It is called where the names only count the columns.
    asked : Asked
        What the user says.

    Raises
    ------
    RatingsError
        When a column is not there, none is recognised, or the columns do not look like user, item and rating.
    """
    file = RatingsFile("", "arrow", title=title)
    names = list(schema.names)
    if not names:
        raise RatingsError(f"{title} has no columns: it must have user, item and rating")
    rows = [names, *sample()] if counted_columns(names) else []
    form = typed_form(file, schema, rows)
    (user, item, rating, *time), guessed = choose_columns(form, asked.columns, timestamp=asked.timestamp)
    if guessed:
        check_roles(form, (user, item, rating))
    spare = None if time else spare_time(form, [user, item, rating])
    wanted = {"user": user, "item": item, "rating": rating}
    kind = "integer"
    for at in (*time, spare):
        if at is not None:
            wanted["timestamp"] = at
            kind = kind_of_times(form, at)
    if asked.split_column is not None:
        wanted["split"] = position_of(form, asked.split_column, "split_column")
    roles = tuple(wanted)
    at_time = roles.index("timestamp") if "timestamp" in roles else None
    source = RatingsSource(
        files=(file,),
        delimiter="",
        header=True,
        columns=(0, 1, 2),
        fields=len(roles),
        timestamp=at_time if time else None,
        spare_time=None if time else at_time,
        time_kind=kind,
        split_column=roles.index("split") if "split" in roles else None,
        ids=(asked.ids, asked.ids),
    )
    positions = tuple(wanted.values())
    return Chosen(positions, tuple(names[at] for at in positions), roles, source)
