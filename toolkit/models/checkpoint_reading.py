"""Reading a checkpoint without trust in what it holds: it may be damaged, or of another hand."""

from __future__ import annotations

import contextlib
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from toolkit.errors import ConfigError, ModelError

# What NumPy, zipfile, json and look-ups raise of files that no training wrote.
_UNREADABLE = (
    *(OSError, EOFError, ValueError, LookupError, TypeError, AttributeError, RecursionError),
    *(zipfile.BadZipFile, zlib.error),
)


@contextlib.contextmanager
def reading_checkpoint(path: Path) -> Iterator[None]:
    """Turn all errors of what a checkpoint holds into one that names it.

    Raises
    ------
    ConfigError
        As the block does: of a checkpoint of another training.
    ModelError
        When the checkpoint cannot be read.
    """
    try:
        yield
    except ConfigError:
        raise
    except _UNREADABLE as error:
        reason = str(error) if isinstance(error, ModelError) else repr(error)
        raise ModelError(f"{path} is no checkpoint that can be read ({reason:.300}): remove it") from error


def checked_history(history: Any, names: Iterable[str], n: int | None = None) -> list[Any]:
    """Return the figures of each iteration.

    Parameters
    ----------
    history : object
        What a checkpoint holds.
    names : iterable of str
        The figures of an iteration.
    n : int, optional
        How many iterations there are.

    Raises
    ------
    ValueError
        When it is something else.
    """
    names = set(names)
    if not isinstance(history, list) or not all(
        isinstance(each, dict) and names <= each.keys() for each in history
    ):
        raise ValueError("its history is not one of iterations")
    if n is not None and len(history) != n:
        raise ValueError(f"its history has {len(history)} iterations, but its factors have {n}")
    return history
