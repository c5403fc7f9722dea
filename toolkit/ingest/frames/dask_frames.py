"""Dask DataFrames: the scheduler of Dask that is active computes and writes each partition."""

from __future__ import annotations

import functools
import sys
from pathlib import Path
from typing import Any

from toolkit.engines import Cluster, Engine
from toolkit.ingest.engine_choice import WORDS
from toolkit.ingest.frames.chosen import Chosen, check_index, chosen_columns
from toolkit.ingest.frames.written import WrittenTable, plain_schema, ratings_of, write_file
from toolkit.ingest.reading.asked import Asked
from toolkit.ingest.reading.ratings_file import RatingsFile
from toolkit.tables import rows_as_text, schema_of_frame

TITLE = "the Dask DataFrame"


def is_dask_frame(table: object) -> bool:
    """Tell whether a table is a Dask DataFrame; Dask is not imported."""
    return all(hasattr(table, name) for name in ("npartitions", "to_delayed", "_meta", "columns"))


def active_cluster() -> Cluster | None:
    """Return the cluster whose client is the active one of this process, or None where there is none."""
    if "distributed" not in sys.modules:
        # Nobody has a client. To ask Dask would import distributed, which takes half a second.
        return None
    from dask.base import get_scheduler

    client: Any = getattr(get_scheduler(), "__self__", None)
    return Cluster(client, WORDS) if hasattr(client, "scheduler_info") else None


def open_dask_frame(frame: Any, asked: Asked) -> WrittenTable:
    """Return a Dask DataFrame as a table that each of its partitions writes a file of.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Its partitions are frames of pandas or cuDF.
    asked : Asked
        What the user says.
    """
    meta = frame._meta  # noqa: SLF001 - it has the types
    check_index(TITLE, meta, asked)
    schema = schema_of_frame(meta)
    chosen = chosen_columns(TITLE, schema, lambda: rows_as_text(frame.get_partition(0).compute()), asked)
    labels = list(frame.columns)
    read = frame[[labels[at] for at in chosen.positions]]
    chosen = chosen.at(tuple(range(len(chosen.roles))))
    identity = {"dask": read._name, "partitions": frame.npartitions}  # noqa: SLF001 - what tells it apart
    return WrittenTable(chosen, identity, functools.partial(_write, read, chosen), active_cluster)


def _write(frame: Any, chosen: Chosen, folder: Path, rows: int, engine: Engine) -> list[RatingsFile]:
    """Write the partitions that are not there, and return the file of each."""
    from dask import config, threaded
    from dask.base import compute
    from dask.delayed import delayed

    # Where Dask reads small partitions of Parquet as one, errors would give a partition another number.
    plans = (frame.optimize(), frame.optimize(fuse=False), frame)
    lean = next(plan for plan in plans if plan.npartitions == frame.npartitions)
    files = [
        RatingsFile(str(folder / f"table-{at:06d}.arrow"), "arrow", title=f"partition {at}")
        for at in range(frame.npartitions)
    ]
    parts = zip(files, lean.to_delayed(optimize_graph=False), strict=True)
    tasks = [
        delayed(functools.partial(write_partition, file, chosen, rows), pure=False)(part)
        for file, part in parts
        if not Path(file.path).exists()
    ]
    cluster = engine if isinstance(engine, Cluster) else active_cluster()
    if cluster is None:
        # Threads are what Dask takes for a DataFrame where nothing else is configured. To find them by their
        # name, it would import distributed, too.
        compute(*tasks, scheduler=config.get("scheduler", threaded.get))
    else:
        cluster.check(folder, [])
        cluster.compute(tasks)
    return files


def write_partition(file: RatingsFile, chosen: Chosen, rows: int, frame: Any) -> None:
    """Write a partition to its file; a task of Dask."""
    table = ratings_of(frame, chosen, file.title)
    write_file(Path(file.path), plain_schema(table), [table], rows)
