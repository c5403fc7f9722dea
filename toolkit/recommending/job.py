"""The job that recommends to many users, part by part, into one file that is complete or not there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from toolkit import __version__
from toolkit.arrays import Array, IntArray
from toolkit.errors import ConfigError
from toolkit.files import atomic
from toolkit.models import Model
from toolkit.recommending.engine import Rank
from toolkit.recommending.ranker import FEW_RATINGS, Rule
from toolkit.recommending.table import Table, check_format

# Most rows of the file, and most users, of a part. A part is in memory at once.
_ROWS, _USERS = 1 << 18, 1 << 14


class Report(NamedTuple):
    """Figures of a file of recommendations.

    Attributes
    ----------
    users, rows : int
        Users that were asked for, and rows of the file.
    items : int
        Different items that were recommended.
    few_ratings : float
        Share of rows whose item has less than `FEW_RATINGS` ratings.
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
        When its ending is that of no format, it exists and `overwrite` is false, or it is a directory.
    """
    out = Path(out)
    check_format(out)
    if out.is_dir():
        raise ConfigError(f"{out} is a directory, and a file is to be made there: choose another path")
    if out.exists() and not overwrite:
        raise ConfigError(f"{out} exists already: choose another path, or overwrite it")


def recommend_to_file(
    model: Model,
    rows: IntArray,
    out: str | Path,
    rule: Rule,
    rank: Rank,
    *,
    titles: Array | None = None,
    overwrite: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> Report:
    """Write the best items of many users to one file.

    One part of the users is in memory at once. So memory does not grow with the number of users, but for the
    8 bytes of each in `rows`, and the model's table of ids.

    Parameters
    ----------
    model : Model
        Gives the ids of users and items.
    rows : array of int64, shape (n_users,)
        Row numbers of the users, in the order to write them.
    out : str or Path
        ``.parquet`` or ``.csv``.
    rule : Rule
        Which items are recommended.
    rank : callable
        Takes users in parts and yields the best items of each part; `ranking` yields such a function.
    titles : array of str, shape (n_items,), optional
        Titles of the items, for a column of titles.
    overwrite : bool, default False
        Whether an existing file is replaced, once the new one is complete.
    progress : callable, optional
        Called with the stage, the number of users that are done, and the number of all.

    Raises
    ------
    ConfigError
        When the file cannot be made, as `check_target` says.
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
        "walslab.exclude_seen": str(rule.exclude_seen).lower(),
        "walslab.min_ratings": str(rule.min_ratings),
    }
    try:
        with atomic.file(out, overwrite=overwrite) as file:
            table = Table(file, out.suffix, model, titles, facts)
            try:
                done = 0
                tell("recommending", done, len(rows))
                # Closed, so that no task of a cluster runs on when the disk is full.
                with contextlib.closing(rank(parts)) as ranked:
                    for part, best in zip(parts, ranked, strict=True):
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
        # Arrow does not name the file.
        if error.errno and error.filename is None:
            raise OSError(error.errno, os.strerror(error.errno), str(out)) from error
        raise
    few = float(times[counts < FEW_RATINGS].sum() / max(1, times.sum()))
    return Report(len(rows), table.rows, int(np.count_nonzero(times)), few)
