"""``python -m tune``: this package's commands from a working directory, nothing installed."""

from __future__ import annotations

from tune.commands import main

if __name__ == "__main__":
    main(prog_name="python -m tune")
