"""Commands of the command line, one file each, and what they share: options, output, progress, checks."""

from __future__ import annotations

import click

from toolkit.commands.command_group import LazyGroup
from toolkit.commands.machine_checks import Check, versions
from toolkit.commands.options import place_from, place_options
from toolkit.commands.output import console, emit, json_option, posterior_text, say_if_nothing_is_left
from toolkit.commands.step_progress import progress

__all__ = [
    "COMMANDS",
    "Check",
    "LazyGroup",
    "console",
    "emit",
    "json_option",
    "main",
    "place_from",
    "place_options",
    "posterior_text",
    "progress",
    "say_if_nothing_is_left",
    "versions",
]

COMMANDS = {
    "fetch": "toolkit.commands.fetch:fetch",
    "synth": "toolkit.commands.synth:synth",
    "ingest": "toolkit.commands.ingest:ingest",
    "describe": "toolkit.commands.describe:describe",
    "sample": "toolkit.commands.sample:sample",
    "train": "toolkit.commands.train:train",
    "evaluate": "toolkit.commands.evaluate:evaluate",
    "recommend": "toolkit.commands.recommend:recommend",
    "similar": "toolkit.commands.similar:similar",
    "explain": "toolkit.commands.explain:explain",
    "export": "toolkit.commands.export:export",
}


@click.group(cls=LazyGroup, lazy=COMMANDS)
def main() -> None:
    """Ratings in, factors out."""
