"""All users that are asked for, part by part, into one file that is complete or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from toolkit import __version__
from toolkit.errors import ConfigError
from toolkit.files import atomic
from toolkit.models import Model
from toolkit.recommending.engine import Rank
from toolkit.recommending.ranker import FEW_RATINGS, Rule
from toolkit.recommending.table import Table, check_format

_Array = np.ndarray[Any, Any]
# Rows of a part, which are in memory at once, and users, who share a product of matrices.
_ROWS, _USERS = 1 << 18, 1 << 14


class Report(NamedTuple):
    """What was written.

    Attributes
    ----------
    users, rows : int
        Users that were asked for, and rows of the file.
    items : int
        Different items that were recommended.
    few_ratings : float
        Share of rows whose item has less than `FEW_RATINGS` training ratings.
    """

    users: int
    rows: int
    items: int
    few_ratings: float


def check_target(out: str | Path, *, overwrite: bool) -> None:
    """Refuse, before anything is computed, a file that `recommend_to_file` would refuse.

    Raises
    ------
    ConfigError
        When its ending is that of no format, or it exists and `overwrite` is false, or is a directory.
    """
    out = Path(out)
    check_format(out)
    if out.is_dir():
        raise ConfigError(f"{out} is a directory, and a file is to be made there: choose another path")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists already: choose another path, or overwrite it")


def recommend_to_file(
    model: Model,
    rows: _Array,
    out: str | Path,
    rule: Rule,
    rank: Rank,
    *,
    titles: Any = None,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Write the best items of many users to one file.

    Memory is that of one part and of what `rank` holds: it does not grow with the number of users, but for 8
    bytes each in `rows` and what the model's table of ids takes.

    Parameters
    ----------
    model : Model
    rows : array of int64, shape (n_users,)
        Row numbers of the users, in the order to write them.
    out : str or Path
        ``.parquet`` or ``.csv``.
    rule : Rule
        What is recommended.
    rank : callable
        Given users in parts, generates the best items of each part; as `ranking` yields.
    titles : array of str, shape (n_items,), optional
        For a column of titles.
    overwrite : bool, default False
        Whether an existing file is replaced, once the new one is complete.
    progress : callable, optional
        Told the stage, the users that are done, and all of them.

    Raises
    ------
    ConfigError
        As `check_target`.
    OSError
        When the disk is full.
    """
    out = Path(out)
    check_target(out, overwrite=overwrite)
    step = max(1, min(_USERS, _ROWS // min(rule.n, max(1, len(model.items)))))
    parts = [rows[begin : begin + step] for begin in range(0, len(rows), step)]
    counts, times = np.asarray(model.item_counts), np.zeros(len(model.items), np.int64)
    tell = progress or (lambda *_: None)
    facts = {
        "walslab.version": __version__,
        "walslab.dataset_digest": model.dataset_digest or "",
        "walslab.n": str(rule.n),
        "walslab.include_seen": str(rule.include_seen).lower(),
        "walslab.min_ratings": str(rule.min_ratings),
    }
    try:
        with atomic.file(out, overwrite=overwrite) as file:
            table = Table(file, out.suffix, model, titles, facts)
            try:
                done = 0
                tell("recommending", done, len(rows))
                # Closed, so that no task of a cluster runs on when the disk is full.
                with contextlib.closing(rank(parts)) as found:
                    for part, best in zip(parts, found, strict=True):
                        table.add(part, best)
                        times += np.bincount(best.items[best.items >= 0], minlength=len(times))
                        done += len(part)
                        tell("recommending", done, len(rows))
                table.close()
            except BaseException:
                table.abandon()
                raise
    except FileExistsError as error:
        raise ConfigError(str(error)) from error
    except OSError as error:
        # Arrow does not say which file it was.
        if error.errno and error.filename is None:
            raise OSError(error.errno, os.strerror(error.errno), str(out)) from error
        raise
    few = float(times[counts < FEW_RATINGS].sum() / max(1, times.sum()))
    return Report(len(rows), table.rows, int(np.count_nonzero(times)), few)
