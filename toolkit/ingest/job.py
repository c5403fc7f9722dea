"""Ratings files to a dataset directory, in stages of many small tasks and in bounded memory."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from toolkit import __version__
from toolkit.datasets import RatingsDataset
from toolkit.engines import Engine, Threads
from toolkit.errors import ConfigError
from toolkit.ingest.checkpoints import FOLDER, Checkpoints, can_resume
from toolkit.ingest.frames import WrittenTable, open_table
from toolkit.ingest.memory import capacity, default_budget
from toolkit.ingest.options import BadRows, Options, check_columns
from toolkit.ingest.reading import IdKind, RatingsSource
from toolkit.ingest.reading.asked import Asked
from toolkit.ingest.reading.groups import rows_at_once
from toolkit.ingest.shards import SHARD_RATINGS
from toolkit.ingest.sorting import Duplicates, Transform
from toolkit.ingest.splitting import SplitRule
from toolkit.ingest.stages import Stages, changed_while_read
from toolkit.ingest.target import checked_out, new_dataset
from toolkit.inputs import checked_number
from toolkit.processors import usable_processors
from toolkit.progress_bars import ShownSteps, shown_steps


def ingest_ratings(
    source: RatingsSource | Any,
    out: str | Path,
    *,
    columns: Sequence[str | int] | None = None,
    split_column: str | int | None = None,
    ids: IdKind = "auto",
    split: SplitRule | None = None,
    duplicates: Duplicates = "last",
    transform: Transform = "none",
    bad_rows: BadRows = "error",
    memory_bytes: int | None = None,
    engine: Engine | None = None,
    overwrite: bool = False,
    block_bytes: int | None = None,
    shard_ratings: int | None = None,
    scratch: str | Path | None = None,
    progress: ShownSteps = None,
) -> RatingsDataset:
    """Make a dataset directory from ratings files, or from a table of ratings.

    The result depends on the ratings and the split, and on nothing else: not on the order of files or lines
    (unless ``duplicates="last"`` finds duplicates without times), nor on memory, engine or size of blocks.
    Called again after a kill, with the same files and options, it goes on where it was. So it does with a
    Dask DataFrame that has the same name: one that is made by the same calls from the same files.

    Parameters
    ----------
    source : RatingsSource or table
        The files and how to read them; or a DataFrame of Dask, pandas, Polars or cuDF, a table, record batch
        or reader of Arrow, whatever else exports Arrow's stream, or an iterator of such tables. A table is
        written beside `out` first, part by part. The partitions of a Dask DataFrame are computed by the
        scheduler that is active, each once. Errors number them from 0, as `get_partition` does, and rows of
        a partition from 1.
    out : str or Path
        The directory to make, or an address such as ``s3://bucket/ml-20m``; it is complete or not there.
    columns : sequence of str or int, optional
        Tables: user, item, rating and, where it is wanted, timestamp, by name or by position from 1. By
        default columns are recognised by their names, as those of files are.
    split_column : str or int, optional
        Tables: the column that says ``train``, ``valid`` or ``test``.
    ids : {"auto", "integer", "text"}
        Tables: what ids are; ``integer`` makes any other a bad row.
    split : SplitRule, optional
        Which ratings are held out; by default a random tenth for tuning, and another for one test at the end.
    duplicates : {"last", "mean", "sum", "error"}
        What becomes of several ratings of a pair; ``last`` keeps the latest where a column of times is named
        or recognised, and otherwise the last in input order.
    transform : {"none", "log1p"}
        What is done to ratings once each pair has one. log1p takes log(1 + rating): it brings amounts that
        range widely, such as seconds or counts, to a scale that can be fitted.
    bad_rows : {"error", "drop"}
        What becomes of rows that are no ratings; dropped ones are counted and sampled in the manifest.
    memory_bytes : int, optional
        Memory that this process may take; by default a quarter of the machine's.
    engine : Engine, optional
        Where the work is done; by default in threads of this process, or for a Dask DataFrame on the cluster
        of the active client.
    overwrite : bool, default False
        Whether an existing dataset is replaced, once the new one is complete.
    block_bytes : int, optional
        Bytes of input that a task reads at once; by default as many as `memory_bytes` allows.
    shard_ratings : int, optional
        Ratings of a shard, about; it is a part of the digest. By default half a million up to 100 million
        ratings, and above that more, so that shards grow with the square root of the ratings.
    scratch : str or Path, optional
        Where `out` is an address: the folder of this machine, or shared by the workers of a cluster, in which
        the dataset is made before it is sent; by default the system's temporary folder.
    progress : bool or callable, optional
        Whether a bar shows the stages; by default where somebody sees it: in a notebook, or on a terminal.
        A function is called instead with the name of the stage, the number of its tasks that have ended, and
        the number of all.

    Returns
    -------
    RatingsDataset
        The new dataset, opened.

    Raises
    ------
    RatingsError
        When a file cannot be read as ratings; the text names file, line, field and value. For a table it
        names partition and row.
    DatasetError
        When `out` exists and `overwrite` is false, or is something else than a dataset. When the store of an
        address fails: called again, it goes on where it was.
    ConfigError
        When an argument is of the wrong kind or out of range, or no rating is left to train on.
    BackendError
        When the engine cannot do the work.

    Examples
    --------
    >>> import tempfile
    >>> import pandas as pd
    >>> from toolkit import ingest_ratings
    >>> frame = pd.DataFrame({"user": ["ann", "ann", "ben"], "item": [7, 8, 7], "rating": [4.0, 2.0, 5.0]})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     data = ingest_ratings(frame, f"{folder}/dataset")
    ...     print(data.counts["ratings"], data.user_ids, data.item_ids)
    3 ['ann' 'ben'] [7 8]
    """
    options = Options(SplitRule() if split is None else split, duplicates, transform, bad_rows, shard_ratings)
    budget = default_budget() if memory_bytes is None else checked_number("memory_bytes", memory_bytes, 1)
    if block_bytes is not None:
        block_bytes = checked_number("block_bytes", block_bytes, 1)
    if engine is not None and not all(callable(getattr(engine, name, None)) for name in ("map", "check")):
        raise ConfigError(f"engine must be an engine such as toolkit.engines.Threads(2), but got {engine!r}")
    steps = shown_steps(progress)
    asked = Asked(columns=columns, split_column=split_column, ids=ids, timestamp=options.split.needs_times)
    source, table = _opened(source, asked)
    check_columns(source, options.split)
    out = checked_out(out, overwrite=overwrite, inputs=[] if table else [f.path for f in source.files])
    allowed = capacity(
        budget,
        input_bytes=0 if table else sum(file.expanded_size() for file in source.files),
        shard_ratings=SHARD_RATINGS if options.shard_ratings is None else options.shard_ratings,
        most_workers=usable_processors(),
    )
    block_bytes = block_bytes or allowed.block_bytes
    states = [] if table else [file.state() for file in source.files]
    plan = {
        "version": __version__,
        "boot": _boot(),
        "source": dataclasses.asdict(source),
        "states": states,
        "table": table.identity if table else None,
        "split": options.split.record(),
        "options": [duplicates, transform, bad_rows, block_bytes, shard_ratings and int(shard_ratings)],
    }

    def resumable(left: Path) -> bool:
        return can_resume(left / FOLDER, plan)

    engine = engine or (table.cluster() if table else None)
    here = None if engine else budget
    engine = engine or Threads(allowed.workers)
    with (
        steps as show,
        new_dataset(out, overwrite=overwrite, scratch=scratch, resume=resumable) as made,
    ):
        checkpoints = Checkpoints(made.folder / FOLDER, plan, engine, show)
        local = [] if table else [file.path for file in source.files if not file.remote]
        engine.check(checkpoints.folder, local)
        if table:
            checkpoints.progress("writing the table", 0, 1)
            source = table.written(checkpoints.folder, rows_at_once(block_bytes), engine)
            checkpoints.progress("writing the table", 1, 1)
        Stages(source, made.folder, checkpoints, options, block_bytes, here).run()
        if not table and [file.state() for file in source.files] != states:
            raise changed_while_read(source)
        made.publish(show)
        checkpoints.remove()
    return RatingsDataset.open(out)


def _opened(source: Any, asked: Asked) -> tuple[RatingsSource, WrittenTable | None]:
    """Return how to read the input, and the table that it is, where it is one."""
    if not isinstance(source, RatingsSource):
        table = open_table(source, asked)
        return table.chosen.source, table
    if asked != Asked(timestamp=asked.timestamp):
        raise ConfigError("columns, split_column and ids are for tables: give them to RatingsSource.detect")
    return source, None


def _boot() -> str:
    """Return the identity of this start of the machine.

    After a power failure files may be there and empty, so that nothing from before it is gone on with.
    """
    path = Path("/proc/sys/kernel/random/boot_id")
    return path.read_text(encoding="ascii").strip() if path.exists() else ""
