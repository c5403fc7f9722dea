"""Groups of commands: commands are imported when they are run, and their errors become exit codes."""

from __future__ import annotations

import atexit
import errno
import gc
import importlib
import io
import sys
from collections.abc import Mapping
from typing import Any

import click

from toolkit.errors import WalslabError, did_you_mean


class LazyGroup(click.Group):
    """A group that imports a command only when it is asked for.

    Parameters
    ----------
    lazy : mapping of str to str
        The ``"module:attribute"`` of each command by its name, in the order of ``--help``.
    """

    def __init__(self, *args: Any, lazy: Mapping[str, str], **kwargs: Any) -> None:
        super().__init__(*args, context_settings={"help_option_names": ["-h", "--help"]}, **kwargs)
        self.lazy = dict(lazy)

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the commands, in the order of their declaration."""
        return list(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import and return one command, or return None when there is no such command."""
        if cmd_name not in self.lazy:
            return None
        module, attribute = self.lazy[cmd_name].split(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def main(self, *args: Any, **kwargs: Any) -> Any:
        """Run the program; what the screen cannot show, such as an id in Chinese in Latin-1, is escaped."""
        for stream in (sys.stdout, sys.stderr):
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")
        _collect_rarely()
        return super().main(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; print its error, if it is one of ours, as one line, and leave with its exit code."""
        try:
            return super().invoke(ctx)
        except WalslabError as error:
            click.echo(f"walslab: error: {error}", err=True)
            ctx.exit(error.exit_code)
        except OSError as error:
            # A full disk or a missing permission is no mistake of ours. click handles a closed pipe.
            if error.errno in {None, errno.EPIPE}:
                raise
            click.echo(f"walslab: error: {error}", err=True)
            ctx.exit(1)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Return the command of that name; when there is none, fail and name the nearest one."""
        if args[0] not in self.lazy and not args[0].startswith("-"):
            ctx.fail(f"No such command {args[0]!r}{did_you_mean(args[0], self.lazy)}.")
        return super().resolve_command(ctx, args)


def _collect_rarely() -> None:
    """Let the garbage collector look through what is loaded rarely, and not once more when the program ends.

    A study loads half a million objects that live until its end. By Python's defaults a tenth of the
    processor time of a short study goes to looking through them again and again, and a fifth to a last look.
    """
    gc.set_threshold(100_000, 20, 100)
    atexit.register(gc.freeze)
