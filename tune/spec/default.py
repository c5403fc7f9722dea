"""The text of the default specification, which holds every default."""

from __future__ import annotations

from pathlib import Path


def default_text() -> str:
    """Return the commented default specification."""
    return Path(__file__).with_name("default.yaml").read_text(encoding="utf-8")
