"""Ratings files to a dataset directory, in stages of many small tasks and in bounded memory."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from toolkit import __version__
from toolkit.datasets.dataset import RatingsDataset
from toolkit.engines.dask_cluster import Cluster
from toolkit.engines.threads import Engine, Threads
from toolkit.errors import ConfigError, DatasetError, RatingsError
from toolkit.files import atomic
from toolkit.ingest import manifest_content as manifest
from toolkit.ingest import memory, tasks
from toolkit.ingest import pair_check as places
from toolkit.ingest.checkpoints import FOLDER, Progress, Work
from toolkit.ingest.reading import diagnosis as badrows
from toolkit.ingest.reading.blocks import Unit, units
from toolkit.ingest.reading.diagnosis import Rejections
from toolkit.ingest.reading.source import IdKind, RatingsSource
from toolkit.ingest.sorting.merging import DUPLICATES, Duplicates, Part, merge
from toolkit.ingest.sorting.numbering import kind_of_all, read_ids, union, write_ids
from toolkit.ingest.sorting.runs import Run
from toolkit.ingest.sorting.transform import TRANSFORMS, Transform
from toolkit.ingest.splitting import cuts
from toolkit.ingest.splitting.rule import SPLITS, TRAIN, SplitRule
from toolkit.ingest.tasks import Splitting, UnitResult
from toolkit.ingest.writing import SHARD_RATINGS, RowShards, ranges, write_columns
from toolkit.ingest.writing import write_ids as write_id_table

BAD_ROWS = ("error", "drop")
_Array = np.ndarray[Any, Any]


def ingest_ratings(
    source: RatingsSource,
    out: str | Path,
    *,
    split: SplitRule | None = None,
    duplicates: Duplicates = "last",
    transform: Transform = "none",
    bad_rows: str = "error",
    memory_bytes: int | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    block_bytes: int | None = None,
    shard_ratings: int = SHARD_RATINGS,
    progress: Progress | None = None,
) -> RatingsDataset:
    """Make a dataset directory from ratings files.

    The result depends on the ratings and the split, and on nothing else: not on the order of files or lines
    (unless ``duplicates="last"`` finds duplicates without times), nor on memory, engine or size of blocks.
    Killed, and called again with the same files and options, it goes on where it was.

    Parameters
    ----------
    source : RatingsSource
        The files and how to read them.
    out : str or Path
        The directory to make; it is complete or not there.
    split : SplitRule, optional
        Which ratings are held out; by default a random tenth for tuning, and another for one test at the end.
    duplicates : {"last", "mean", "sum", "error"}
        What becomes of several ratings of a pair; ``last`` is the latest where times are read, and otherwise
        the last in input order.
    transform : {"none", "log1p"}
        What is done to ratings once each pair has one: log1p takes log(1 + rating), which brings amounts that
        range widely, such as seconds or counts, to a scale that can be fitted.
    bad_rows : {"error", "drop"}
        What becomes of rows that are no ratings; dropped ones are counted and sampled in the manifest.
    memory_bytes : int, optional
        Memory that this process may take; by default a quarter of the machine's.
    engine : Engine, optional
        Where the work is done; by default in threads of this process.
    overwrite : bool, default False
        Whether an existing dataset is replaced, once the new one is complete.
    block_bytes : int, optional
        Bytes of input that a task reads at once; by default what `memory_bytes` allows.
    shard_ratings : int
        Ratings of a shard, about.
    progress : callable, optional
        Told the stage, the tasks of it that are done, and all of them.

    Returns
    -------
    RatingsDataset
        The new dataset, opened.

    Raises
    ------
    RatingsError
        When a file cannot be read as ratings; the text names file, line, field and value.
    DatasetError
        When `out` exists and `overwrite` is false, or is something else than a dataset.
    ConfigError
        When an option is out of range, or no rating is left to train on.
    BackendError
        When the engine cannot do the work.
    """
    split = split or SplitRule()
    split.check()
    for name, value, valid in (
        ("duplicates", duplicates, DUPLICATES),
        ("transform", transform, TRANSFORMS),
        ("bad-rows", bad_rows, BAD_ROWS),
    ):
        if value not in valid:
            raise ConfigError(f"--{name} must be one of {', '.join(valid)}, but got {value!r}")
    _check_columns(source, split)
    out = _check_out(out, overwrite=overwrite)
    size = sum(file.expanded_size() for file in source.files)
    allowed = memory.plan(
        memory.default_budget() if memory_bytes is None else memory_bytes,
        input_bytes=size,
        shard_ratings=shard_ratings,
        most_workers=memory.processors(),
    )
    block_bytes = block_bytes or allowed.block_bytes
    plan = {
        "version": __version__,
        "boot": _boot(),
        "source": dataclasses.asdict(source),
        "states": [file.state() for file in source.files],
        "split": split.record(),
        "options": [duplicates, transform, bad_rows, block_bytes, shard_ratings],
    }

    def resumable(left: Path) -> bool:
        return Work.fits(left / FOLDER, plan)

    engine = engine or Threads(allowed.workers)
    try:
        with atomic.directory(out, overwrite=overwrite, resume=resumable) as folder:
            work = Work(folder / FOLDER, plan, engine, progress or (lambda *_: None))
            if isinstance(engine, Cluster):
                engine.check(work.folder, [file.path for file in source.files if not file.remote])
            _Job(
                source, folder, work, split, duplicates, transform, bad_rows, block_bytes, shard_ratings
            ).run()
            if [file.state() for file in source.files] != plan["states"]:
                raise _written(source)
            work.remove()
    except FileExistsError as error:
        if error.errno is not None:  # the system's: a file is where a folder is to be made
            raise
        # It came up meanwhile, or is what an ingest that was killed was about to replace.
        raise DatasetError(str(error)) from error
    return RatingsDataset.open(out)


def _written(source: RatingsSource) -> RatingsError:
    return RatingsError(
        f"{', '.join(source.paths)}: a file was written while it was read; "
        "ingest it again when it is complete"
    )


def _check_columns(source: RatingsSource, split: SplitRule) -> None:
    if split.needs_times and source.timestamp is None:
        raise ConfigError(f"--split {split.kind} needs times: name their column as the fourth of --columns")
    says = bool(source.given) or source.split_column is not None
    if says != (split.kind == "given"):
        raise ConfigError(
            "--split given needs --split-file or --split-column"
            if split.kind == "given"
            else f"--split-file and --split-column say the split, so that it cannot be {split.kind}"
        )
    if source.given and source.split_column is not None:
        raise ConfigError("--split-file and --split-column both say the split: give one of them")


def _check_out(out: str | Path, *, overwrite: bool) -> Path:
    if "://" in str(out):
        raise ConfigError(f"--out must be a directory of this machine or a shared one, but got {out}")
    out = Path(out)
    if out.exists() and not overwrite:
        raise DatasetError(f"{out} exists already: give another --out, or --overwrite")
    if out.exists() and not (out / "manifest.json").is_file():
        raise DatasetError(f"{out} exists and is not a dataset, so it is not overwritten: give another --out")
    return out


def _boot() -> str:
    # After a power failure files may be there and empty; what was left then is not to be trusted.
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text(encoding="ascii").strip() if path.exists() else ""


@dataclass
class _Job:
    source: RatingsSource
    folder: Path
    work: Work
    rule: SplitRule
    duplicates: Duplicates
    transform: Transform
    bad_rows: str
    block_bytes: int
    shard_ratings: int
    units: list[Unit] = field(init=False)
    runs: list[Run] = field(init=False)
    ids: tuple[Any, Any] = field(init=False)
    """All users and all items, ascending."""

    def run(self) -> None:
        self.units = units(self.source, self.block_bytes)
        fingerprints, results = self._read()
        self.runs = [run for result in results for run in result.runs]
        rejections, samples = self._rejections(results)
        if not self.runs:
            why = "there is nothing below the header"
            if samples:
                first = samples[0]
                why = (
                    f"all of its {rejections.reasons.total():,} rows are bad, such as {first['text']!r} "
                    f"({first['reason']})"
                )
            raise RatingsError(f"{', '.join(self.source.paths)} holds no rating: {why}")
        parts, column_spans = self.work.once("merged", self._merge)
        self.work.forget("run-*")
        self.ids = users, items = read_ids(self.work.folder / "users"), read_ids(self.work.folder / "items")
        self.n_users, self.n_items = len(users), len(items)
        splitting, rows = self.work.once("split", lambda: self._split(parts, column_spans))
        self.work.forget("part-*")
        columns = self.work.run(
            "columns",
            "writing by item",
            [
                (write_columns, self.folder, at, span, [shards.run for shards in rows], self.n_users)
                for at, span in enumerate(column_spans)
            ],
        )
        files = [
            write_id_table(self.folder, "users", users, np.concatenate([shards.n_train for shards in rows])),
            write_id_table(self.folder, "items", items, np.concatenate([n_train for _, n_train in columns])),
            *(shards.entries[TRAIN] for shards in rows),
            *(entry for entry, _ in columns),
            *(shards.entries[at] for at in range(1, len(SPLITS)) for shards in rows),
        ]
        content = manifest.of(
            self.source,
            files=files,
            fingerprints=fingerprints,
            ids=self.ids,
            parts=parts,
            counts=np.sum([shards.counts for shards in rows], axis=0).tolist(),
            split={**self.rule.record(), **cuts.times(splitting, self.source.time_kind)},
            duplicates=self.duplicates,
            transform=self.transform,
            bad_rows=self.bad_rows,
            rejections=rejections,
            samples=samples,
        )
        (self.folder / manifest.NAME).write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")

    # Reading

    def _read(self) -> tuple[list[dict[str, Any]], list[UnitResult]]:
        """Return the fingerprints of the files, and what came of each unit."""
        source = self.source
        calls: list[tuple[Any, ...]] = [(tasks.fingerprint, file) for file in source.files]
        calls += [self._call(unit, source) for unit in self.units]
        n_files = len(source.files)
        try:
            done = self.work.run("read", "reading", calls)
        except tasks.BadInputError:
            self._raise_first_bad_row()
            raise _written(source) from None
        fingerprints: list[dict[str, Any]] = done[:n_files]
        results: list[UnitResult] = done[n_files:]
        for split, facts in zip(source.given, fingerprints, strict=False):
            facts["split"] = SPLITS[split]
        kinds = [kind_of_all(run.kinds[role] for result in results for run in result.runs) for role in (0, 1)]
        again = [
            unit
            for unit, result in zip(self.units, results, strict=True)
            if any(run.kinds != tuple(kinds) for run in result.runs)
        ]
        if again:
            # Integers of one unit are text where another unit has text, and sort otherwise.
            ids: list[IdKind] = [
                "text" if kind == "text" else asked for kind, asked in zip(kinds, source.ids, strict=True)
            ]
            as_text = dataclasses.replace(source, ids=(ids[0], ids[1]))
            changed = self.work.run("read-again", "reading", [self._call(unit, as_text) for unit in again])
            for unit, result in zip(again, changed, strict=True):
                results[unit.number] = result
        return fingerprints, results

    def _call(self, unit: Unit, source: RatingsSource) -> tuple[Any, ...]:
        return tasks.read_unit, self.work.folder, unit, source, self.block_bytes, self.bad_rows == "drop"

    def _raise_first_bad_row(self) -> None:
        """Raise for the first bad row of the input; units are read in no order."""
        for unit in self.units:
            if self.work.done("read", len(self.source.files) + unit.number):
                continue
            bad = tasks.first_bad_row(unit, self.source, self.block_bytes)
            if bad:
                before = places.lines_before(self.source, unit)
                raise badrows.error(self.source, unit.file, dataclasses.replace(bad, line=before + bad.line))

    def _rejections(self, results: Sequence[UnitResult]) -> tuple[Rejections, list[dict[str, Any]]]:
        """Return what was dropped in all, and samples with file and line."""
        total = Rejections()
        samples = []
        lines = dict.fromkeys(range(len(self.source.files)), 0)
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

    # Numbering and merging

    def _number(self, role: int) -> Any:
        name = ("users", "items")[role]
        ids = union(self.runs, (Run.user_ids, Run.item_ids)[role])
        if len(ids) >= 2**31:
            raise RatingsError(
                f"there are {len(ids):,} {name}, more than the 2,147,483,647 that can be numbered"
            )
        write_ids(self.work.folder / name, ids)
        return ids

    def _merge(self) -> tuple[list[Part], list[tuple[int, int]]]:
        """Return the ratings by range of users, and the ranges of items."""
        self.ids = (self._number(0), self._number(1))
        self.n_users, self.n_items = map(len, self.ids)
        self.work.run("number", "numbering", [(tasks.number, self.work.folder, run) for run in self.runs])
        per_user = np.zeros(self.n_users, np.int64)
        per_item = np.zeros(self.n_items, np.int64)
        for run in self.runs:
            per_user[run.user_rows()] += run.counts()
            columns, counts = run.item_counts()
            per_item[columns] += counts
        spans = ranges(per_user, self.shard_ratings)
        bounds = np.array([start for start, _ in spans] + [self.n_users])
        begins = np.stack([_begins(run, bounds) for run in self.runs])
        parts = self.work.run(
            "merge",
            "sorting",
            [
                (
                    merge,
                    self.work.folder,
                    f"part-{at:05d}",
                    self.runs,
                    # Begin and end among the users, then among the ratings, of each run.
                    begins[:, at : at + 2].transpose(0, 2, 1).reshape(-1, 4),
                    span,
                    self.n_items,
                    self.duplicates,
                    self.transform,
                )
                for at, span in enumerate(spans)
            ],
        )
        places.check_pairs(self.source, self.units, self.runs, parts, self.block_bytes, self.ids)
        return parts, ranges(per_item, self.shard_ratings)

    # Splitting and writing

    def _split(
        self, parts: Sequence[Part], column_spans: Sequence[tuple[int, int]]
    ) -> tuple[Splitting, list[RowShards]]:
        """Decide which ratings are held out, and write the shards by user."""
        splitting = cuts.find(parts, self.rule, self.n_items, self.work.engine)
        starts = np.array([start for start, _ in column_spans] + [self.n_items])
        shape = (self.n_users, self.n_items)
        rows: list[RowShards] = self.work.run(
            "rows",
            "writing by user",
            [
                (tasks.split_part, self.folder, self.work.folder, at, part, splitting, shape, starts)
                for at, part in enumerate(parts)
            ],
        )
        if not sum(shards.counts[TRAIN] for shards in rows):
            raise ConfigError("the split leaves no rating to train on: hold fewer out")
        return splitting, rows


def _begins(run: Run, bounds: _Array) -> _Array:
    """Return where each range of users begins among the users and the ratings of a run."""
    users = np.searchsorted(run.user_rows(), bounds)
    ratings = np.concatenate([[0], np.cumsum(run.counts(), dtype=np.int64)])[users]
    return np.stack([users, ratings], axis=1)
