"""``python -m cluster``: every command of `walslab` from a working directory, nothing installed."""

from __future__ import annotations

from cluster.cli import main

if __name__ == "__main__":
    main(prog_name="python -m cluster")
