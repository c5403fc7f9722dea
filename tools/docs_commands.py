"""Make the reference of the command line, a page with the help text of every command."""

from __future__ import annotations

import inspect
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click
from mkdocs.structure.files import File, Files

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig

ROOT = Path(__file__).resolve().parent.parent
PAGE = "reference/commands.md"
# Mkdocs runs as a script of its own: the root of the repository is not on its path.
if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the page to the files of the site."""
    files.append(File.generated(config, PAGE, content=page()))
    return files


def page() -> str:
    """Return the page in Markdown."""
    from cluster.cli import main

    parent = click.Context(main, info_name="walslab", **main.context_settings)
    commands = [main.get_command(parent, name) for name in main.list_commands(parent)]
    head = (
        "# Command line\n\n"
        "Every command takes `--help`. With `--json`, it prints one JSON object on the last line of\n"
        "standard output. Exit codes: 0 done, 1 failed, 2 bad usage or bad input. In a checkout,\n"
        "`python -m toolkit`, `python -m tune` and `python -m cluster` run the same commands.\n"
    )
    return "\n".join([head, *(section(command, parent) for command in commands if command)])


def section(command: click.Command, parent: click.Context) -> str:
    """Return the section of one command: its description, its usage and its options."""
    context = click.Context(command, info_name=command.name, parent=parent)
    usage = " ".join(["walslab", str(command.name), *command.collect_usage_pieces(context)])
    parts = [f"## walslab {command.name} {{ #{command.name} }}", *description(command.help or "")]
    parts += ["```text\n" + usage + "\n```"]
    parts += [option(p, context) for p in command.get_params(context) if isinstance(p, click.Option)]
    return "\n\n".join(parts) + "\n"


def description(text: str) -> list[str]:
    """Return the paragraphs of a help text in Markdown.

    Click keeps the lines of a paragraph that begins with a backspace character. Such a paragraph becomes a
    caption and a block of code.
    """
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        if not paragraph.startswith("\b"):
            paragraphs.append(prose(paragraph))
            continue
        # The first line is the caption; the indented lines below it are the code.
        caption, *lines = paragraph.removeprefix("\b").strip("\n").splitlines()
        body = inspect.cleandoc("\n" + "\n".join(lines))
        language = "sh" if body.startswith("walslab ") else "text"
        paragraphs.append(f"{prose(caption)}\n\n```{language}\n{body}\n```")
    return paragraphs


def option(parameter: click.Option, context: click.Context) -> str:
    """Return an option as a list item: its flags, the kind of its value, and its help text."""
    record = parameter.get_help_record(context)
    if record is None or parameter.hidden:
        return ""
    flags, text = record
    return f"- `{flags}`{{ .flag }}<br>{prose(text)}"


def prose(text: str) -> str:
    """Return plain text as Markdown that shows the same text, with flags as code."""
    text = re.sub(r"([\\*_<>\[\]|])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![\w`-])(--[a-z][\w-]*)", r"`\1`", text)
