"""The texts of the default specifications, which hold every default."""

from __future__ import annotations

from pathlib import Path


def default_text() -> str:
    """Return the commented default specification."""
    return _text("default.yaml")


def posterior_text() -> str:
    """Return the keys whose defaults are others with ``model: posterior``."""
    return _text("posterior.yaml")


def _text(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")
