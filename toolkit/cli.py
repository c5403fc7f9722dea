"""The command line's common ground: lazy groups, the two output forms, errors as exit codes."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from toolkit.errors import WalslabError

if TYPE_CHECKING:
    from rich.console import Console

json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON object on the last line of standard output."
)


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for.

    Parameters
    ----------
    lazy : mapping of str to str
        Command name to ``"module:attribute"``; the order is the order of ``--help``.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the command names, in the order they were declared."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or None when there is no such command."""
        if cmd_name not in self.lazy:
            return None
        module, attribute = self.lazy[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn our own errors into one line on standard error and an exit code."""
        try:
            return super().invoke(ctx)
        except WalslabError as error:
            click.echo(f"walslab: error: {error}", err=True)
            ctx.exit(error.exit_code)


def console(*, as_json: bool) -> Console:
    """Return the console for people: standard output, or standard error beside ``--json``."""
    from rich.console import Console

    return Console(stderr=as_json, soft_wrap=False, highlight=False)


def emit(result: Mapping[str, Any]) -> None:
    """Print `result` as one JSON line, the last of standard output."""
    sys.stdout.flush()
    click.echo(json.dumps(dict(result), allow_nan=False))
