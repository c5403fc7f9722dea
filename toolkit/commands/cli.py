"""The command line's common ground: lazy groups, the two output forms, errors as exit codes."""

from __future__ import annotations

import errno
import importlib
import json
import math
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import click

from toolkit.errors import WalslabError, did_you_mean

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
        super().__init__(*args, context_settings={"help_option_names": ["-h", "--help"]}, **kwargs)
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
        except OSError as error:
            # A full disk or a missing permission is the machine's, not ours. A closed pipe is click's to end.
            if error.errno in {None, errno.EPIPE}:
                raise
            click.echo(f"walslab: error: {error}", err=True)
            ctx.exit(1)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the command that was asked for; name the nearest one when there is none."""
        if args[0] not in self.lazy and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{did_you_mean(args[0], self.lazy)}.")
        return super().resolve_command(ctx, args)


def console(*, as_json: bool) -> Console:
    """Return the console for people: standard output, or standard error beside ``--json``.

    Paths and ids are printed as they are: ``[/b]`` or ``:b:`` in one of them is not markup.
    """
    from rich.console import Console

    return Console(stderr=as_json, soft_wrap=False, highlight=False, markup=False, emoji=False)


def emit(result: Mapping[str, Any]) -> None:
    """Print `result` as one JSON line, the last of standard output; NaN and infinity become null."""
    sys.stdout.flush()
    click.echo(json.dumps(_finite(result), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
