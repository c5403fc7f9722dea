"""SQLite stores of MLflow: the file that a tracking URI names, and a new store, complete or not there."""

from __future__ import annotations

import contextlib
import os
import sqlite3
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

from toolkit.files import atomic

SQLITE = "sqlite:///"
_SAFE = "/ :#&;+',=@()"  # characters that stand for themselves in the path of such a URI


def absolute_uri(uri: str) -> str:
    """Return a tracking URI that means the same file from every folder."""
    name = uri.removeprefix(SQLITE)
    if not uri.startswith(SQLITE) or name.startswith(("/", ":", "file:")):
        return uri
    # SQLAlchemy decodes % in such a URI, and ends the path at a ?.
    return f"{SQLITE}{quote(str(Path.cwd()), safe=_SAFE).rstrip('/')}/{name}"


def sqlite_file(uri: str) -> Path | None:
    """Return the file of a SQLite store; None for other stores, and for SQLite's own forms of a name."""
    name = uri.removeprefix(SQLITE)
    own_form = name.startswith((":", "file:"))
    return Path(unquote(name)) if name != uri and name and not own_form else None


def make_store(file: Path) -> None:
    """Make a SQLite store, complete or not at all: MLflow cannot use one whose making was cut off."""
    from mlflow import MlflowClient
    from sqlalchemy import Engine, event

    with atomic.scratch(file) as folder:
        made = folder / file.name
        # MLflow makes a store of its first version, and takes it through all versions since. No other way is
        # there: SQLite does not take the tables of today at once. Nothing has to be on the disk before the
        # end, because a store that is cut off here is made anew.
        write_late = partial(_write_late, made)
        event.listen(Engine, "connect", write_late)
        try:
            MlflowClient(tracking_uri=f"{SQLITE}{quote(str(made), safe=_SAFE)}")
        finally:
            event.remove(Engine, "connect", write_late)
        with made.open("rb+") as written:
            os.fsync(written.fileno())
        # Another process may have made it in the meantime.
        with contextlib.suppress(FileExistsError):
            os.link(made, file)


def _write_late(file: Path, connection: Any, _record: object) -> None:
    """Let a new connection to a SQLite file leave to the system when it writes to the disk.

    SQLAlchemy tells of all connections of the process, those of other threads to other stores among them.
    """
    if not isinstance(connection, sqlite3.Connection):
        return
    ((_, _, opened),) = connection.execute("PRAGMA database_list")
    if opened and os.path.realpath(opened) == os.path.realpath(file):
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA journal_mode = MEMORY")
