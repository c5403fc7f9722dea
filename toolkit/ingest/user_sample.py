"""A sample of users as a dataset of its own: all ratings of some users, in the splits that they have."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import __version__
from toolkit.arrays import Array, IntArray
from toolkit.datasets import SPLITS, TRAIN, IdTable, RatingsDataset, Texts
from toolkit.engines import Engine, Threads
from toolkit.errors import ConfigError
from toolkit.files import strip_file_scheme
from toolkit.ingest.checkpoints import FOLDER, Checkpoints, can_resume
from toolkit.ingest.chosen_users import checked_seed, checked_share, chosen_users
from toolkit.ingest.manifest_content import identity
from toolkit.ingest.memory import capacity, default_budget
from toolkit.ingest.sample_tasks import ITEM_COUNTS, KINDS, count_rows, take_users, write_taken
from toolkit.ingest.shards import automatic_shard_ratings, ranges
from toolkit.ingest.sorting.array_files import read_array
from toolkit.ingest.sorting.merging import Part
from toolkit.ingest.sorting.numbering import facts_of_ids
from toolkit.ingest.target import checked_out, new_dataset
from toolkit.ingest.writing import list_files, write_by_item
from toolkit.inputs import checked_number, checked_type
from toolkit.processors import usable_processors
from toolkit.progress_bars import ShownSteps, shown_steps
from toolkit.tables import DistinctIds


def sample_users(
    data: RatingsDataset | str | Path,
    share: float,
    out: str | Path,
    *,
    seed: int = 0,
    memory_bytes: int | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    scratch: str | Path | None = None,
    progress: ShownSteps = None,
) -> RatingsDataset:
    """Make a dataset of some of the users of another, with all of their ratings.

    A user is in the sample by id and seed alone: an eighth of the users is a part of a half of them, and a
    half of a half, with the same seed, is that half. Each rating stays in its split. Items keep their
    columns, also those that nobody of the sample rated, so that an item is the same column in both datasets.
    The same ratings give the same dataset, whatever the shards of `data`, memory and engine.

    Parameters
    ----------
    data : RatingsDataset, or its path or address
    share : float
        The chance of each user to be in the sample, above 0 and up to 1.
    out : str or Path
        The directory to make, or an address such as ``s3://bucket/eighth``; it is complete or not there.
    seed : int, default 0
        Another seed chooses other users.
    memory_bytes : int, optional
        Memory that this process may take, beside 40 bytes for each user of `data`; by default a quarter of
        the machine's.
    engine : Engine, optional
        Where the work is done; by default in threads of this process.
    overwrite : bool, default False
        Whether an existing dataset is replaced, once the new one is complete.
    scratch : str or Path, optional
        Where `out` is an address: the folder of this machine in which the dataset is made before it is sent;
        by default the system's temporary folder.
    progress : bool or callable, optional
        As `toolkit.ingest_ratings` takes it.

    Returns
    -------
    RatingsDataset
        The sample, opened. ``derived`` in its manifest says what it comes from.

    Raises
    ------
    ConfigError
        When an argument is of the wrong kind or out of range, or the sample has no rating to train on.
    DatasetError
        When `data` is damaged, or `out` exists and `overwrite` is false.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from toolkit import ingest_ratings, sample_users
    >>> frame = pd.DataFrame({"user": list("aabbccdd"), "item": [1, 2] * 4, "rating": [4.0, 2.0] * 4})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = ingest_ratings(frame, f"{folder}/all")
    ...     some = sample_users(data, 0.4, f"{folder}/some")
    ...     print(some.user_ids, some.item_ids, some.counts["ratings"])
    ['a' 'c'] [1 2] 4
    """
    share, seed = checked_share(share), checked_seed(seed)
    budget = default_budget() if memory_bytes is None else checked_number("memory_bytes", memory_bytes, 1)
    data = RatingsDataset.open(strip_file_scheme(data)) if isinstance(data, str | Path) else data
    checked_type("data", data, RatingsDataset, "what RatingsDataset.open returns")
    out = checked_out(out, overwrite=overwrite, inputs=[data.where])
    steps = shown_steps(progress)
    sample = _Sample(data, share, seed)
    plan = {"version": __version__, "sample": [data.digest, data.where, share, seed]}
    if engine is None:
        # A task holds a shard that it reads, and the ratings of one that it writes.
        largest = max(entry["nnz"] for kind in KINDS for entry in data.shards(kind))
        size = max(largest, automatic_shard_ratings(data.counts["ratings"]))
        most = usable_processors()
        allowed = capacity(budget, input_bytes=0, shard_ratings=size, most_workers=most, way_out="give more")
        engine = Threads(allowed.workers)

    def resumable(left: Path) -> bool:
        return can_resume(left / FOLDER, plan)

    with (
        steps as show,
        new_dataset(out, overwrite=overwrite, scratch=scratch, resume=resumable) as made,
    ):
        checkpoints = Checkpoints(made.folder / FOLDER, plan, engine, show)
        engine.check(checkpoints.folder, [])
        content = sample.write(made.folder, checkpoints)
        (made.folder / "manifest.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
        made.publish(show)
        checkpoints.remove()
    return RatingsDataset.open(out)


class _Sample:
    """The users that were chosen, and what they rated."""

    def __init__(self, data: RatingsDataset, share: float, seed: int) -> None:
        self.data, self.share, self.seed = data, share, seed
        self.rows = chosen_users(data.users, share, seed)
        if not data.training_counts("users")[self.rows].any():
            raise ConfigError(
                f"the sample has {len(self.rows):,} of {data.n_users:,} users, and no rating to train on: "
                "take a larger share, or another --seed"
            )

    def write(self, folder: Path, work: Checkpoints) -> dict[str, Any]:
        """Write all files but the manifest, and return its content."""
        data, shape = self.data, (len(self.rows), self.data.n_items)
        counts = self._counts(work)
        size = automatic_shard_ratings(int(counts.sum()))
        parts = self._take(work, ranges(counts, size))
        per_item = np.zeros(data.n_items, np.int64)
        for part in parts:
            per_item += read_array(work.folder / f"{part.name}.{ITEM_COUNTS}", np.int64)
        column_spans = ranges(per_item, size)
        starts = np.array([start for start, _ in column_spans] + [data.n_items])
        rows = work.run(
            "rows",
            "writing by user",
            [(write_taken, folder, work.folder, at, part, shape, starts) for at, part in enumerate(parts)],
        )
        columns = write_by_item(work, folder, rows, column_spans, len(self.rows))
        ids = _distinct(data.users, data.users.at(self.rows)), _distinct(data.items, data.items.ids)
        files = list_files(folder, ids, rows, columns)
        kept = np.sum([shards.counts for shards in rows], axis=0).tolist()
        return self._manifest(files, ids, parts, kept)

    def _counts(self, work: Checkpoints) -> IntArray:
        """Return how many ratings each user of the sample has in all splits."""
        data = self.data
        counts = data.training_counts("users").copy()
        held = [(kind, entry) for at, kind in enumerate(KINDS) if at != TRAIN for entry in data.shards(kind)]
        found = work.run("count", "counting", [(count_rows, data, kind, entry) for kind, entry in held])
        for (_, entry), each in zip(held, found, strict=True):
            counts[entry["start"] : entry["stop"]] += each
        return counts[self.rows]

    def _take(self, work: Checkpoints, spans: Sequence[tuple[int, int]]) -> list[Part]:
        """Return the ratings of the sample by range of users."""
        data, calls = self.data, []
        shards = [data.shards(kind) for kind in KINDS]
        for at, (start, stop) in enumerate(spans):
            rows = self.rows[start:stop]
            entries = [
                [each for each in of_kind if each["start"] <= rows[-1] and rows[0] < each["stop"]]
                for of_kind in shards
            ]
            calls.append((take_users, work.folder, f"part-{at:05d}", data, entries, start, rows))
        parts: list[Part] = work.run("take", "reading", calls)
        return parts

    def _manifest(
        self,
        files: list[Any],
        ids: tuple[DistinctIds, DistinctIds],
        parts: Sequence[Part],
        kept: Sequence[int],
    ) -> dict[str, Any]:
        data, n = self.data, sum(kept)
        step = {"digest": data.digest, "users": self.share, "seed": self.seed}
        counts = {"ratings": n, "users": len(ids[0]), "items": len(ids[1])}
        return {
            **identity(files),
            "derived": [step, *data.derived],
            "counts": {
                **counts,
                **dict(zip(SPLITS, kept, strict=True)),
                "duplicates": 0,
                "rejected": 0,
            },
            "ratings": {
                "min": min(part.low for part in parts),
                "max": max(part.high for part in parts),
                "mean": sum(part.total for part in parts) / n,
            },
            "ids": {name: facts_of_ids(some) for name, some in zip(("users", "items"), ids, strict=True)},
            # What was done to the ratings, and where they come from, is as it was.
            **{
                key: data.manifest[key]
                for key in ("split", "duplicates", "transform", "source")
                if key in data.manifest
            },
        }


def _distinct(table: IdTable, ids: Array) -> DistinctIds:
    """Return ids of a table as the files of a dataset take them."""
    import pyarrow as pa

    # Large, as all ids together may be longer than 2 GiB.
    return pa.array(ids.tolist(), pa.large_string()) if isinstance(table.stored, Texts) else ids
