"""Items as the commands show them: options for model and titles, names of items, and a table of items."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.table import Table

    from toolkit.arrays import IdLike, IntArray
    from toolkit.models import Model

model_argument = click.argument("model", metavar="MODEL")
titles_option = click.option(
    "--titles",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="Titles of items: u.item, movies.dat or movies.csv of MovieLens, or a table with an id and a title "
    "in each line.  [default: those of the model, if it has any]",
)


class Items:
    """The items of a model as a person reads them.

    Parameters
    ----------
    model : Model
        Gives the items.
    titles : Path, optional
        A file of titles, instead of the titles of the model.
    """

    def __init__(self, model: Model, titles: Path | None = None) -> None:
        self.model = model
        if titles is None:
            self.titles = model.titles
        else:
            from toolkit.datasets import read_titles

            self.titles = read_titles(titles, model.items)

    def rows(self, ids: IdLike) -> IntArray:
        """Return the row numbers of items in the model, which the other methods take."""
        return self.model.items.rows(ids)

    def title(self, row: int) -> str:
        """Return an item's title, or an empty string."""
        return "" if self.titles is None else str(self.titles[row])

    def name(self, row: int) -> str:
        """Return the title and the id of an item, to be used within a sentence."""
        id_, title = plain(self.model.items.id(row)), plain(self.title(row))
        return f"{title} ({id_})" if title else id_

    def ratings(self, row: int) -> int:
        """Return how many ratings an item has."""
        return int(self.model.item_counts[row])

    def entry(self, row: int, **facts: object) -> dict[str, object]:
        """Return an item as an entry of ``--json``, with its title where titles are known."""
        titled = {} if self.titles is None else {"title": self.title(row)}
        return {"item": self.model.items.id(row), **titled, **facts, "ratings": self.ratings(row)}

    def table(self, figure: str, rows: Iterable[tuple[int, str, str]], last: str = "") -> Table:
        """Return a table of items.

        Parameters
        ----------
        figure : str
            The name of the column of figures.
        rows : iterable of (int, str, str)
            Row number of an item in the model, its figure, and the text of the last column.
        last : str
            The name of the last column; without a name there is none.
        """
        from rich.table import Table

        table = Table("item")
        if self.titles is not None:
            table.add_column("title")
        table.add_column(figure, justify="right")
        table.add_column("ratings", justify="right")
        if last:
            table.add_column(last)
        for row, value, text in rows:
            cells = [plain(self.model.items.id(row))]
            cells += [] if self.titles is None else [plain(self.title(row))]
            cells += [value, f"{self.ratings(row):,}"]
            table.add_row(*cells, *([plain(text)] if last else []))
        return table


def plain(value: object) -> str:
    """Return a text without characters that a terminal would obey."""
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in str(value))
