"""The text of the default specification, which holds every default."""

from __future__ import annotations

import importlib.resources


def default_text() -> str:
    """Return the commented default specification."""
    return importlib.resources.files("tune.spec").joinpath("default.yaml").read_text(encoding="utf-8")
