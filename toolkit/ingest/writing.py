"""The last stages of making a dataset: ratings by item, tables of ids, and the list of all files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from toolkit.arrays import IntArray
from toolkit.datasets import SPLITS, TRAIN
from toolkit.ingest import range_pieces
from toolkit.ingest.checkpoints import Checkpoints
from toolkit.ingest.dataset_files import FileEntry, write_id_table
from toolkit.ingest.shards import RowShards, write_columns
from toolkit.tables import DistinctIds


def write_by_item(
    work: Checkpoints,
    folder: Path,
    rows: Sequence[RowShards],
    column_spans: Sequence[tuple[int, int]],
    n_users: int,
) -> list[tuple[FileEntry, IntArray]]:
    """Write the training ratings by item.

    Parameters
    ----------
    work : Checkpoints
        Where tasks run.
    folder : Path
        The dataset directory.
    rows : sequence of RowShards
        All ranges of users.
    column_spans : sequence of tuple of int
        First item of each range, and the one behind its last.
    n_users : int
        How many users there are.

    Returns
    -------
    list of tuple
        What `toolkit.ingest.shards.write_columns` returns of each range.
    """
    pieces = range_pieces.of_items([shards.run for shards in rows], len(column_spans))
    widest = max(stop - start for start, stop in column_spans)
    return work.run(
        "columns",
        "writing by item",
        [
            (write_columns, folder, work.folder, at, span, own, widest, n_users)
            for at, (span, own) in enumerate(zip(column_spans, pieces, strict=True))
        ],
    )


def list_files(
    folder: Path,
    ids: tuple[DistinctIds, DistinctIds],
    rows: Sequence[RowShards],
    columns: Sequence[tuple[FileEntry, IntArray]],
) -> list[FileEntry]:
    """Write the id tables, and return the manifest entries of all files.

    Parameters
    ----------
    folder : Path
        The dataset directory.
    ids : tuple
        All users and all items.
    rows : sequence of RowShards
        All ranges of users.
    columns : sequence of tuple
        What `write_by_item` returned.
    """
    of_users = np.concatenate([shards.n_train for shards in rows])
    of_items = np.concatenate([n_train for _, n_train in columns])
    return [
        write_id_table(folder, "users", ids[0], of_users),
        write_id_table(folder, "items", ids[1], of_items),
        *(shards.entries[TRAIN] for shards in rows),
        *(entry for entry, _ in columns),
        *(shards.entries[at] for at in range(1, len(SPLITS)) for shards in rows),
    ]
