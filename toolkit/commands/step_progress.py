"""The progress of a long command on standard error: bars on a terminal, or a line every few seconds."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import TaskID

_SECONDS_BETWEEN_LINES = 5.0
StepProgress = Callable[[str, int, int], None]
"""Takes the name of a stage, how many of its steps have ended, and how many there are."""


@contextmanager
def progress() -> Iterator[StepProgress]:
    """Yield a function that shows the progress of each stage on standard error."""
    from rich.console import Console

    screen = Console(stderr=True)
    if screen.is_terminal:
        with _bars(screen) as show:
            yield show
        return
    last = time.perf_counter()

    def print_line(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            click.echo(f"{stage}: {done} of {total}", err=True)

    yield print_line


@contextmanager
def _bars(screen: Console) -> Iterator[StepProgress]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description:<16}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=screen, transient=True) as bars:
        stages: dict[str, TaskID] = {}

        def move_bar(stage: str, done: int, total: int) -> None:
            if stage not in stages:
                stages[stage] = bars.add_task(stage, total=total)
            bars.update(stages[stage], completed=done, total=total)

        yield move_bar
