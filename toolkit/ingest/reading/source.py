"""Ratings files and how to read them: what the user says, and for the rest what the first lines show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from toolkit.datasets import SPLITS, TRAIN
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest.reading.column_choice import choose_columns, kind_of_times, position_of
from toolkit.ingest.reading.file_listing import find_files
from toolkit.ingest.reading.form import check_form, parquet_form, text_form
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.inputs import checked_list, checked_word

IdKind = Literal["auto", "integer", "text"]
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

        Raises
        ------
        RatingsError
            When a file is missing or empty, or its form is open; the text says which option settles it.
        ConfigError
            When an argument is of the wrong kind, or is for text and the files are Parquet.
        """
        paths = checked_list("paths", paths, (str, Path), '["ratings.csv"]')
        if columns is not None:
            columns = checked_list("columns", columns, (str, int), '["user", "item", "rating"]')
        checked_word("--ids", ids, ID_KINDS)
        _check_arguments(delimiter, header, split_column)
        held_out = _checked_split_files(split_files)
        files, given = _with_split_files(find_files(paths), held_out)
        parquet = files[0].kind == "parquet"
        odd = next((file for file in files if (file.kind == "parquet") != parquet), None)
        if odd:
            raise RatingsError(f"{files[0]} and {odd} must be both text or both Parquet: ingest them apart")
        if parquet and (delimiter is not None or header is not None):
            raise ConfigError(f"{files[0]} is Parquet: --delimiter and --header are for text")
        form = (
            parquet_form(files[0])
            if parquet
            else text_form(files[0], delimiter, header=header, columns=columns)
        )
        user, item, rating, *time = choose_columns(form, columns, timestamp=timestamp)
        source = cls(
            files=files,
            delimiter=form.delimiter,
            header=form.header,
            columns=(user, item, rating),
            fields=form.width,
            timestamp=time[0] if time else None,
            time_kind=kind_of_times(form, time[0]) if time else "integer",
            split_column=None if split_column is None else position_of(form, split_column, "--split-column"),
            given=given,
            ids=(ids, ids),
        )
        check_form(form, files[1:], source.timestamp)
        return source


def _check_arguments(delimiter: Any, header: Any, split_column: Any) -> None:
    if delimiter is not None and delimiter != "::":
        one = isinstance(delimiter, str) and len(delimiter) == 1 and delimiter.isascii()
        if not one or delimiter in '"\r\n\0':
            raise ConfigError(f"--delimiter must be one ASCII character, tab, or '::', but got {delimiter!r}")
    if header is not None and not isinstance(header, bool):
        raise ConfigError(f"header must be True, False or None, but got {header!r}")
    if isinstance(split_column, bool) or not isinstance(split_column, str | int | None):
        raise ConfigError(f"split_column must be a name or a position from 1, but got {split_column!r}")


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
