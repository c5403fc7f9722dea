"""Options that several commands have."""

from __future__ import annotations

import click

executor_option = click.option(
    "--in-process",
    is_flag=True,
    help="One trial after another in this process, each on all processors, without Ray.",
)
