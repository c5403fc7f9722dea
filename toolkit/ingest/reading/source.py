"""Ratings files and how to read them: what the user says, and for the rest what the first lines show."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from toolkit.ingest.reading.asked import ID_KINDS, Asked, IdKind
from toolkit.ingest.reading.detection import found_form
from toolkit.ingest.reading.layouts import Layout
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.tables import split_line

__all__ = ["ID_KINDS", "IdKind", "RatingsSource"]

_LISTED = 12


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
        Position of a column of times that was recognised, but is read only where pairs are rated twice and
        the last rating counts.
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
    def listed(self) -> str:
        """The files as a message lists them, a few of them where there are many."""
        names = [*dict.fromkeys(self.paths)]
        more = f", … ({len(names)} of them)" if len(names) > _LISTED else ""
        return ", ".join(names[:_LISTED]) + more

    @property
    def typed(self) -> bool:
        """Whether the files hold columns of types instead of text: Parquet, or the tables of a program."""
        return self.files[0].typed

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
        return split_line(line, self.delimiter) if self.quotes else line.split(self.delimiter)

    def of_file(self, number: int) -> RatingsSource:
        """Return how to read one of the files: its columns may be in another order."""
        return replace(self, layouts=(), **vars(self.layouts[number])) if self.layouts else self

    def with_times(self) -> RatingsSource:
        """Return a source that reads the spare column of times."""
        layouts = tuple(replace(one, timestamp=one.spare_time, spare_time=None) for one in self.layouts)
        return replace(self, timestamp=self.spare_time, layouts=layouts)

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
            Whether a field in quotes may hold the delimiter and line ends. Otherwise a quote is a character
            like any other.
        decimal : {".", ","}
            What stands before the decimals of a rating.
        wide : bool, default False
            Whether users are in rows and items in columns. `columns` may then name the column of users and
            those of items, as in ``[1, "3-102"]``; by default the first holds users, and all others are
            items.
        no_rating : str or float, optional
            Wide tables: what a cell without a rating holds, if not nothing.

        Raises
        ------
        RatingsError
            When a file is missing or empty, or its form is open or doubtful; the text says which option
            settles it.
        ConfigError
            When an argument is of the wrong kind, or is for text and the files are Parquet.
        """
        asked = Asked(
            delimiter=delimiter,
            header=header,
            columns=columns,
            timestamp=timestamp,
            split_column=split_column,
            ids=ids,
            quotes=quotes,
            decimal=decimal,
            wide=wide,
            no_rating=no_rating,
        )
        return cls(**found_form(paths, split_files, asked))
