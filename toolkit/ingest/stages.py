"""The stages of an ingest: reading, numbering, merging, splitting, and writing by user and by item."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit.datasets import SPLITS, TRAIN
from toolkit.engines import Threads
from toolkit.errors import ConfigError, RatingsError
from toolkit.ingest import range_pieces, tasks
from toolkit.ingest.checkpoints import Checkpoints
from toolkit.ingest.file_scales import note_scales
from toolkit.ingest.file_times import note_times
from toolkit.ingest.manifest_content import manifest_content
from toolkit.ingest.memory import capacity
from toolkit.ingest.options import Options
from toolkit.ingest.pair_check import ReadInput, check_pairs
from toolkit.ingest.reading import IdKind, RatingsSource
from toolkit.ingest.reading.blocks import Unit, units
from toolkit.ingest.reading.diagnosis import bad_row_error
from toolkit.ingest.reading.line_numbers import lines_before
from toolkit.ingest.reading.quotes import OpenQuoteError
from toolkit.ingest.reading.reader import first_bad_row
from toolkit.ingest.reading.rejections import Rejections
from toolkit.ingest.shards import (
    SHARD_RATINGS,
    RowShards,
    automatic_shard_ratings,
    ranges,
)
from toolkit.ingest.sorting.array_files import read_ids, write_ids
from toolkit.ingest.sorting.merging import Part, merge
from toolkit.ingest.sorting.numbering import kind_of_all, union
from toolkit.ingest.sorting.runs import Run
from toolkit.ingest.splitting.cuts import Splitting, find_cuts, times_of_cuts
from toolkit.ingest.tasks import UnitResult
from toolkit.ingest.writing import list_files, write_by_item
from toolkit.tables import DistinctIds

# Runs that a task numbers: it reads all ids once.
_TOGETHER = 8


def changed_while_read(source: RatingsSource) -> RatingsError:
    """Return the error of files that somebody wrote while they were read."""
    return RatingsError(
        f"{source.listed}: a file was written while it was read; ingest it again when it is complete"
    )


@dataclass
class Stages:
    """One ingest, from files to a complete dataset directory.

    Attributes
    ----------
    source : RatingsSource
        The input.
    folder : Path
        The directory to fill.
    checkpoints : Checkpoints
        Its scratch directory.
    options : Options
        What becomes of the ratings.
    block_bytes : int
        Bytes of input that a task reads at once.
    budget : int or None
        Memory of the threads of this process; None where the work is done elsewhere.
    """

    source: RatingsSource
    folder: Path
    checkpoints: Checkpoints
    options: Options
    block_bytes: int
    budget: int | None = None
    units: list[Unit] = field(init=False)
    runs: list[Run] = field(init=False)
    shard_ratings: int = field(init=False)
    ids: tuple[DistinctIds, DistinctIds] = field(init=False)
    """All users and all items, ascending."""

    @property
    def shape(self) -> tuple[int, int]:
        """How many users and items there are."""
        return len(self.ids[0]), len(self.ids[1])

    def run(self) -> None:
        """Run all stages that have not ended yet."""
        work = self.checkpoints
        fingerprints, results, parts, column_spans = self._sorted("")
        if self._needs_times(parts):
            # The time says which rating of a pair is the last. Few inputs repeat a pair: they are read again.
            self.source = self.source.with_times()
            fingerprints, results, parts, column_spans = self._sorted("-timed")
        rejections, samples = self._rejections(results)
        work.forget("run-*")
        self.ids = read_ids(work.folder / "users"), read_ids(work.folder / "items")
        splitting, rows = work.once("split", lambda: self._split(parts, column_spans))
        work.forget("part-*")
        columns = write_by_item(work, self.folder, rows, column_spans, self.shape[0])
        split = {**self.options.split.record(), **times_of_cuts(splitting, self.source.time_kind)}
        content = manifest_content(
            self.source,
            self.options,
            files=list_files(self.folder, self.ids, rows, columns),
            fingerprints=fingerprints,
            ids=self.ids,
            parts=parts,
            counts=np.sum([shards.counts for shards in rows], axis=0).tolist(),
            split=split,
            rejections=rejections,
            samples=samples,
            floats=[
                next((one for one in found if one), "")
                for found in zip(*(r.floats for r in results), strict=True)
            ],
        )
        (self.folder / "manifest.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    def _sorted(
        self, again: str
    ) -> tuple[list[dict[str, Any]], list[UnitResult], list[Part], list[tuple[int, int]]]:
        """Return the fingerprints of the files, the result of each unit, and what `_merge` returns.

        Parameters
        ----------
        again : str
            End of the names of these stages.
        """
        fingerprints, results = self._read(again)
        self.runs = [run for result in results for run in result.runs]
        if not self.runs:
            raise self._nothing_read(*self._rejections(results))
        self._choose_shards()
        parts, column_spans = self.checkpoints.once(f"merged{again}", lambda: self._merge(again))
        return fingerprints, results, parts, column_spans

    def _choose_shards(self) -> None:
        """Decide how many ratings a shard has, now that all are counted.

        Where that is more than the ingest began with, fewer tasks may run at once.
        """
        size = self.options.shard_ratings or automatic_shard_ratings(sum(run.n for run in self.runs))
        self.shard_ratings = size
        if self.budget is not None and size > SHARD_RATINGS:
            most = self.checkpoints.engine.workers
            allowed = capacity(self.budget, input_bytes=0, shard_ratings=size, most_workers=most)
            if allowed.workers < most:
                self.checkpoints.engine = Threads(allowed.workers)

    def _needs_times(self, parts: Sequence[Part]) -> bool:
        """Tell whether the last rating of some pair counts, and its time is not read."""
        if self.source.timestamp is not None or self.source.spare_time is None:
            return False
        return self.options.duplicates == "last" and any(part.duplicates for part in parts)

    # Reading

    def _read(self, again: str) -> tuple[list[dict[str, Any]], list[UnitResult]]:
        """Return the fingerprints of the files, and the result of each unit."""
        try:
            done = self._read_units(f"read{again}")
        except OpenQuoteError:
            # Some quoted field goes over several lines. Which lines are within quotes shows only to who reads
            # from the beginning.
            self.source = dataclasses.replace(self.source, folded=True)
            done = self._read_units(f"read{again}-folded")
        source = self.source
        n_files = len(source.files)
        fingerprints: list[dict[str, Any]] = done[:n_files]
        results: list[UnitResult] = done[n_files:]
        for split, facts in zip(source.given, fingerprints, strict=False):
            facts["split"] = SPLITS[split]
        of_file = [(unit.file, result) for unit, result in zip(self.units, results, strict=True)]
        note_scales(fingerprints, ((at, each.moments) for at, each in of_file))
        note_times(fingerprints, ((at, each.times) for at, each in of_file), source.time_kind)
        kinds = [kind_of_all(run.kinds[role] for result in results for run in result.runs) for role in (0, 1)]
        mixed = [
            unit
            for unit, result in zip(self.units, results, strict=True)
            if any(run.kinds != tuple(kinds) for run in result.runs)
        ]
        if mixed:
            # Some other unit has text. Integers become text, too, and then sort in another order.
            ids: list[IdKind] = [
                "words" if kind == "text" and asked != "text" else asked
                for kind, asked in zip(kinds, source.ids, strict=True)
            ]
            as_text = dataclasses.replace(source, ids=(ids[0], ids[1]))
            reread = self.checkpoints.run(
                f"read{again}-as-text", "reading", [self._reading(unit, as_text) for unit in mixed]
            )
            for unit, result in zip(mixed, reread, strict=True):
                results[unit.number] = result
        return fingerprints, results

    def _read_units(self, stage: str) -> list[Any]:
        """Return the fingerprint of each file, and the result of each unit.

        Raises
        ------
        OpenQuoteError
            When lines cannot be read apart from each other.
        RatingsError
            When a row is bad.
        """
        self.units = units(self.source, self.block_bytes)
        calls: list[tuple[Any, ...]] = [(tasks.fingerprint, file) for file in self.source.files]
        calls += [self._reading(unit, self.source) for unit in self.units]
        try:
            return self.checkpoints.run(stage, "reading", calls)
        except tasks.BadInputError:
            self._raise_first_bad_row(stage)
            raise changed_while_read(self.source) from None

    def _reading(self, unit: Unit, source: RatingsSource) -> tuple[Any, ...]:
        drop = self.options.bad_rows == "drop"
        return tasks.sort_unit, self.checkpoints.folder, unit, source, self.block_bytes, drop

    def _raise_first_bad_row(self, stage: str) -> None:
        """Raise for the first bad row of the input; units end in no order."""
        for unit in self.units:
            if self.checkpoints.has_ended(stage, len(self.source.files) + unit.number):
                continue
            bad = first_bad_row(unit, self.source, self.block_bytes)
            if bad:
                before = lines_before(self.source, unit)
                row = dataclasses.replace(bad, line=before + bad.line)
                raise bad_row_error(self.source, unit.file, row)

    def _rejections(self, results: Sequence[UnitResult]) -> tuple[Rejections, list[dict[str, Any]]]:
        """Return all bad rows that were left out, and samples of them with file and line."""
        total = Rejections()
        samples = []
        lines = {at: file.before for at, file in enumerate(self.source.files)}
        for unit, result in zip(self.units, results, strict=True):
            known = len(total.samples)
            total.merge(result.rejections)
            samples += [
                {
                    "file": str(self.source.files[unit.file]),
                    "line": lines[unit.file] + row.line,
                    "reason": row.reason,
                    "text": row.text,
                }
                for row in total.samples[known:]
            ]
            lines[unit.file] += result.lines
        return total, samples

    def _nothing_read(self, rejections: Rejections, samples: list[dict[str, Any]]) -> RatingsError:
        why = "there is nothing below the header"
        if samples:
            first = samples[0]
            why = (
                f"all of its {rejections.reasons.total():,} rows are bad, such as {first['text']!r} "
                f"({first['reason']})"
            )
        return RatingsError(f"{self.source.listed} holds no rating: {why}")

    # Numbering and merging

    def _number(self, role: int) -> DistinctIds:
        name = ("users", "items")[role]
        ids = union(self.runs, (Run.user_ids, Run.item_ids)[role])
        if len(ids) >= 2**31:
            raise RatingsError(
                f"there are {len(ids):,} {name}, more than the 2,147,483,647 that can be numbered"
            )
        write_ids(self.checkpoints.folder / name, ids)
        return ids

    def _merge(self, again: str) -> tuple[list[Part], list[tuple[int, int]]]:
        """Return the ratings by range of users, and the ranges of items."""
        work, options = self.checkpoints, self.options
        self.ids = (self._number(0), self._number(1))
        some = [self.runs[at : at + _TOGETHER] for at in range(0, len(self.runs), _TOGETHER)]
        work.run(f"number{again}", "numbering", [(tasks.number, work.folder, runs) for runs in some])
        n_users, n_items = self.shape
        per_user = np.zeros(n_users, np.int64)
        per_item = np.zeros(n_items, np.int64)
        for run in self.runs:
            per_user[run.user_rows()] += run.counts()
            columns, counts = run.item_counts()
            per_item[columns] += counts
        spans = ranges(per_user, self.shard_ratings)
        parts = work.run(
            f"merge{again}",
            "sorting",
            [
                (
                    merge,
                    work.folder,
                    f"part-{at:05d}",
                    [self.runs[place] for place in places],
                    places,
                    cuts,
                    span,
                    n_items,
                    options.duplicates,
                    options.transform,
                )
                for at, (span, (places, cuts)) in enumerate(
                    zip(spans, range_pieces.of_users(self.runs, spans), strict=True)
                )
            ],
        )
        check_pairs(ReadInput(self.source, self.units, self.runs, self.block_bytes), parts, self.ids)
        return parts, ranges(per_item, self.shard_ratings)

    # Splitting and writing

    def _split(
        self, parts: Sequence[Part], column_spans: Sequence[tuple[int, int]]
    ) -> tuple[Splitting, list[RowShards]]:
        """Decide which ratings are held out, and write the shards by user."""
        work = self.checkpoints
        n_items = self.shape[1]
        splitting = find_cuts(parts, self.options.split, n_items, work.engine)
        starts = np.array([start for start, _ in column_spans] + [n_items])
        rows: list[RowShards] = work.run(
            "rows",
            "writing by user",
            [
                (tasks.write_part, self.folder, work.folder, at, part, splitting, self.shape, starts)
                for at, part in enumerate(parts)
            ],
        )
        if not sum(shards.counts[TRAIN] for shards in rows):
            raise ConfigError("the split leaves no rating to train on: hold fewer out")
        return splitting, rows
