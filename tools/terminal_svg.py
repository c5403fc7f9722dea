"""Draw commands and what they print as a picture of a terminal.

    python tools/terminal_svg.py docs/demo.svg 'walslab results first --top 5' 'walslab refit first'

The commands run in the current folder, one after another. If one fails, no picture is written.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys

from rich.console import Console
from rich.text import Text

_WIDTH = 104


def main(path: str, *commands: str) -> None:
    """Run commands, and write a picture of them and their output to `path`."""
    screen = Console(record=True, width=_WIDTH, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
    environment = {**os.environ, "COLUMNS": str(_WIDTH), "FORCE_COLOR": "1", "TERM": "xterm-256color"}
    for command in commands:
        screen.print(Text(f"$ {command}", style="bold green"), soft_wrap=True)
        done = subprocess.run(  # noqa: S602 - the user typed it
            command, shell=True, env=environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            sys.exit(f"{command}: {done.stderr}")
        screen.print(Text.from_ansi(done.stdout.rstrip("\n")), soft_wrap=True)
        screen.print()
    drawn = screen.export_svg(title="walslab")
    # Rich refers to fonts of another host. A picture must not load anything.
    drawn = re.sub(r"@font-face \{[^}]*\}", "", drawn)
    with open(path, "w", encoding="utf-8") as file:  # noqa: PTH123
        file.write(drawn)


if __name__ == "__main__":
    main(*sys.argv[1:])
