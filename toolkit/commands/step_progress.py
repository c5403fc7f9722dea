"""The progress of a long command on standard error: a bar on a terminal, or a line every few seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click

from toolkit.progress_bars import StepProgress, shown_steps

_SECONDS_BETWEEN_LINES = 5.0


@contextmanager
def progress() -> Iterator[StepProgress]:
    """Yield a function that shows the progress of each stage on standard error."""
    last = time.perf_counter()

    def print_line(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.perf_counter()
        if now - last >= _SECONDS_BETWEEN_LINES:
            last = now
            click.echo(f"{stage}: {done} of {total}", err=True)

    with shown_steps(True if sys.stderr.isatty() else print_line) as show:
        yield show
