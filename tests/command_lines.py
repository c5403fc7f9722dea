"""A parser of command lines that does not run the commands."""

from __future__ import annotations

import click

from cluster.cli import main


def parameters(words, group=main):
    """Return the parameters that a command gets from the words of a line.

    The words begin with the name of the command, not of its group. The command is parsed within its group,
    because Click caches the help option: parsed alone first, a command would know ``--help`` and not ``-h``.
    """
    parent = click.Context(group, **group.context_settings)
    name, *arguments = words
    with group.get_command(parent, name).make_context(name, arguments, parent=parent) as context:
        return context.params
