"""How ratings files are to be read: found out from their beginnings where the user does not say it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.datasets import SPLITS, TRAIN
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest.reading.asked import Asked, checked_split_files
from toolkit.ingest.reading.column_choice import choose_columns, kind_of_times, position_of, spare_time
from toolkit.ingest.reading.file_listing import find_files
from toolkit.ingest.reading.form import Form, parquet_form, text_form
from toolkit.ingest.reading.layouts import Layout, match_files
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.ingest.reading.second_look import check_cut_decimals, check_decimal, check_roles
from toolkit.ingest.reading.wide_form import wide_form
from toolkit.inputs import checked_list


def found_form(paths: Any, split_files: Any, asked: Asked) -> dict[str, Any]:
    """Return the attributes of the `RatingsSource` of some files.

    Parameters
    ----------
    paths, split_files
        Arguments of `RatingsSource.detect`.
    asked : Asked
        Its other arguments.

    Raises
    ------
    RatingsError
        When a file is missing or empty, or its form is open or doubtful.
    ConfigError
        When an argument is of the wrong kind, or is for text and the files are Parquet.
    """
    paths = checked_list("paths", paths, (str, Path), '["ratings.csv"]')
    held_out = checked_split_files(split_files)
    files, given = _with_split_files(find_files(paths), held_out)
    parquet = files[0].kind == "parquet"
    odd = next((file for file in files if (file.kind == "parquet") != parquet), None)
    if odd:
        raise RatingsError(f"{files[0]} and {odd} must be both text or both Parquet: ingest them apart")
    if parquet and asked.for_text:
        raise ConfigError(
            f"{files[0]} is Parquet: --delimiter, --header, --quote, --decimal and --wide are for text"
        )
    said = {
        "given": given,
        "ids": (asked.ids, asked.ids),
        "quotes": asked.quotes,
        "decimal": asked.decimal,
    }
    return said | (wide_form(files, asked) if asked.wide else _form_of(files, asked))


def _form_of(files: Sequence[RatingsFile], asked: Asked) -> dict[str, Any]:
    parquet = files[0].kind == "parquet"
    form = parquet_form(files[0]) if parquet else text_form(files[0], asked)
    (user, item, rating, *time), guessed = choose_columns(form, asked.columns, timestamp=asked.timestamp)
    if guessed:
        check_roles(form, (user, item, rating))
        check_cut_decimals(form, rating)
    if asked.decimal == "." and form.rows:
        check_decimal(form.file, form.sample(rating))
    split = asked.split_column
    layout = Layout(
        columns=(user, item, rating),
        fields=form.width,
        timestamp=time[0] if time else None,
        spare_time=None if time else spare_time(form, [user, item, rating]),
        split_column=None if split is None else position_of(form, split, "--split-column"),
    )
    at = layout.timestamp if layout.spare_time is None else layout.spare_time
    kind = "integer" if at is None else kind_of_times(form, at)
    form, layout = _of_keys(form, layout)
    others, layouts = match_files(form, layout, files[1:], guessed=guessed)
    if any(one.spare_time is None for one in layouts):
        # Times that are not alike in all files tell no order.
        layout, *layouts = (replace(one, spare_time=None) for one in (layout, *layouts))
    return {
        "files": (form.file, *others),
        "delimiter": form.delimiter,
        "header": form.header,
        "counted": form.counted,
        "time_kind": kind,
        "folded": form.folded,
        "layouts": (layout, *layouts) if any(one != layout for one in layouts) else (),
        **vars(layout),
    }


def _of_keys(form: Form, layout: Layout) -> tuple[Form, Layout]:
    """Return form and layout; of JSON lines, those in which only the keys that are read are fields."""
    if form.file.forms[-1:] != ("json",):
        return form, layout
    read = sorted(layout.positions())
    keys = tuple(form.names[at] for at in read)
    rows = [[row[at] for at in read] for row in form.rows]
    form = replace(form, file=replace(form.file, keys=keys), names=list(keys), rows=rows)
    return form, layout.moved({at: n for n, at in enumerate(read)}, len(read))


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
