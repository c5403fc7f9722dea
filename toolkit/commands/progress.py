"""How far a long command is: a bar on a terminal, a line now and then elsewhere, on standard error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

_SECONDS_BETWEEN_LINES = 5.0
Tell = Callable[[str, int, int], None]


@contextmanager
def progress() -> Iterator[Tell]:
    """Yield what is to be told the stage, the steps of it that are done, and all of them."""
    from rich.console import Console

    screen = Console(stderr=True)
    if screen.is_terminal:
        with _bar(screen) as show:
            yield show
        return
    last = time.perf_counter()

    def tell(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            click.echo(f"{stage}: {done} of {total}", err=True)

    yield tell


@contextmanager
def _bar(screen: Any) -> Iterator[Tell]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bars:
        shown: dict[str, Any] = {}

        def show(stage: str, done: int, total: int) -> None:
            if stage not in shown:
                shown[stage] = bars.add_task(stage, total=total)
            bars.update(shown[stage], completed=done, total=total)

        yield show
