"""Paths in a study's files, from the study's own folder where both lie in one project, which can move."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from toolkit.files import is_address

_SQLITE = "sqlite:///"
_SAFE = "/ :#&;+',=@()"  # characters that stand for themselves in the path of such a URI
_PATHS = ("dataset", "model", "tracking_uri")


def kept(facts: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return facts as a study keeps them: paths from its folder, where both lie in the current folder.

    Parameters
    ----------
    facts : mapping
        Facts of ``study.json``, ``state.json`` or ``refit.json``, with absolute paths.
    folder : Path
        The study's folder, absolute.
    """
    project = Path(os.path.realpath("."))
    changed = dict(facts)
    for name, prefix, path in _local_paths(facts):
        if all(one.is_relative_to(project) for one in (folder, path)):
            relative = os.path.relpath(path, folder)
            changed[name] = prefix + (quote(relative, safe=_SAFE) if prefix else relative)
    return changed


def resolved(facts: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """Return facts of a study's files with absolute paths."""
    changed = dict(facts)
    for name, prefix, path in _local_paths(facts):
        if not path.is_absolute():
            absolute = os.path.normpath(folder / path)
            changed[name] = prefix + (quote(absolute, safe=_SAFE) if prefix else absolute)
    return changed


def _local_paths(facts: Mapping[str, Any]) -> list[tuple[str, str, Path]]:
    """Return each path by its name, with what stands before it."""
    found = []
    for name in _PATHS:
        text = facts.get(name)
        if not isinstance(text, str) or not text:
            continue
        path = text.removeprefix(_SQLITE)
        if path != text and path and not path.startswith((":", "file:")):
            found.append((name, _SQLITE, Path(unquote(path))))
        elif name != "tracking_uri" and not is_address(text):
            found.append((name, "", Path(text)))
    return found
