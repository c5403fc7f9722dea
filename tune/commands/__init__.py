"""The commands of `tune`: many trainings at once."""

from __future__ import annotations

import click

from toolkit.commands import LazyGroup

COMMANDS = {
    "tune": "tune.commands.tune:tune",
    "resume": "tune.commands.resume:resume",
    "results": "tune.commands.results:results",
    "refit": "tune.commands.refit:refit",
    "prune": "tune.commands.prune:prune",
    "ui": "tune.commands.ui:ui",
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def main() -> None:
    """Many trainings at once: search, resume, compare, refit, prune, look."""
