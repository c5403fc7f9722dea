"""A SQLite store that was moved together with its artifacts: its rows still name the folder of before.

MLflow writes where artifacts lie as absolute paths into the rows of experiments, runs and models.
"""

from __future__ import annotations

import contextlib
import logging
import sqlite3
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit

_log = logging.getLogger(__name__)
# The columns of MLflow's tables that say where artifacts lie.
_COLUMNS = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def local_path(uri: str | None) -> Path | None:
    """Return the folder on this machine that an artifact URI means, or None."""
    parts = urlsplit(uri or "")
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    return Path(uri) if uri and not parts.scheme else None


def moved_from(store: Path, artifact_uri: str) -> Path | None:
    """Return the folder that a store lay in when its rows were written, or None where it was not moved.

    Parameters
    ----------
    store : Path
        The file of the store, absolute.
    artifact_uri : str
        Where the artifacts of a run lie, as the store says.
    """
    place = local_path(artifact_uri)
    if place is None or place.exists():
        return None
    for before in place.parents:
        # A folder that is still there was copied, and not moved.
        if (store.parent / place.relative_to(before)).is_dir():
            return None if before.exists() else before
    return None


def follow_move(store: Path, artifact_uri: str) -> bool:
    """Write where artifacts are now into the rows of a store that was moved together with them.

    Parameters
    ----------
    store, artifact_uri
        As of `moved_from`.

    Returns
    -------
    bool
        Whether the store was moved.
    """
    before = moved_from(store, artifact_uri)
    if before is None:
        return False
    old, new = f"{before}/", f"{store.parent}/"
    forms = ((old, new), (f"file://{quote(old)}", f"file://{quote(new)}"))
    with contextlib.closing(sqlite3.connect(store, timeout=20)) as connection, connection:
        for table, column in _COLUMNS:
            # Another version of MLflow may lack one.
            names = connection.execute("SELECT name FROM pragma_table_info(?)", (table,)).fetchall()
            for start, other in forms if (column,) in names else ():
                connection.execute(
                    f"UPDATE {table} SET {column} = ? || substr({column}, ?) "  # noqa: S608 - names of ours
                    f"WHERE substr({column}, 1, ?) = ?",
                    (other, len(start) + 1, len(start), start),
                )
    _log.warning("the MLflow store %s was moved from %s: its rows name the new folder now", store, before)
    return True
