"""Command lines that are read as a group of commands reads them, and not run."""

from __future__ import annotations

import click

from cluster.cli import main


def parameters(words, group=main):
    """Return what a command is given by the words of a line, without the name of the group.

    A command that was first asked without its group would know ``--help`` alone from then on, without ``-h``.
    """
    parent = click.Context(group, **group.context_settings)
    name, *arguments = words
    with group.get_command(parent, name).make_context(name, arguments, parent=parent) as context:
        return context.params
