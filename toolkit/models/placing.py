"""Where a training has its ratings: what was asked for, or where they fit."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple, cast, get_args

import numpy as np

from toolkit.arrays import AnySparse, Table
from toolkit.backends import Backend, BackendName
from toolkit.config import GPU_BACKENDS, RunOptions, WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.errors import ConfigError
from toolkit.files import atomic
from toolkit.inputs import checked_number, checked_word
from toolkit.models.placed import (
    DatasetInMemory,
    InMemory,
    InShards,
    JoinedInMemory,
    PlacedDataset,
    PlacedRatings,
    joined_identity,
)
from toolkit.models.training_input import GivenIds, checked_input
from toolkit.processors import usable_processors
from toolkit.sharded import OpenSource, Runner, Source, StreamRunner, join_splits, on_cluster, plan_memory

DaskName = Literal["threads", "cuda"]


class Where(NamedTuple):
    """Where a training shall have its ratings, as `placed_ratings` takes it."""

    memory: str | int | None = None
    dask_scheduler: str | None = None
    dask: DaskName | None = None


@contextlib.contextmanager
def placed_ratings(
    dataset: RatingsDataset,
    config: WALSConfig,
    options: RunOptions,
    *,
    memory: int | None = None,
    dask_scheduler: str | None = None,
    dask: DaskName | None = None,
) -> Iterator[PlacedDataset]:
    """Yield the ratings of a dataset where a training can have them.

    They are in memory where they fit. Otherwise they stay in the shards of the dataset, and so they do on a
    Dask cluster, whose workers open the dataset under the same path or address. The compiled backend finds
    the same factors, to the bit, wherever the ratings are.

    Parameters
    ----------
    dataset : RatingsDataset
    config : WALSConfig
    options : RunOptions
    memory : int, optional
        Bytes that the training may take in this process; by default nine tenths of what is free.
    dask_scheduler : str, optional
        Address of a running Dask scheduler, or the path of its file.
    dask : {"threads", "cuda"}, optional
        cuda: a Dask worker on each GPU of this machine, until the block ends.

    Raises
    ------
    ConfigError
        When `memory` is no number of bytes, too small, or given with a cluster; when `dask` is another word,
        or both `dask_scheduler` and `dask` name a cluster.
    BackendError
        When the backend is not usable, or the cluster does not answer or has no workers.
    DatasetError, RatingsError
        When the dataset is damaged, or has no training rating.
    """
    clustered = _clustered(memory, dask_scheduler, dask)
    threads = options.threads or usable_processors()
    plan = None
    if not clustered:
        size = np.dtype(options.dtype).itemsize
        plan = plan_memory(dataset, config, itemsize=size, threads=threads, budget=memory)
        if not plan.sharded:
            placed: PlacedDataset = DatasetInMemory(dataset, options)
            placed.plan = plan
            yield placed
            return
    with ratings_in_shards(dataset, options, dask_scheduler=dask_scheduler, dask=dask) as placed:
        placed.plan = plan
        yield placed


@contextlib.contextmanager
def ratings_in_shards(
    dataset: RatingsDataset,
    options: RunOptions,
    *,
    dask_scheduler: str | None = None,
    dask: DaskName | None = None,
) -> Iterator[PlacedDataset]:
    """Yield the ratings of a dataset, left in its shards: read in turn here, or by the workers of a cluster.

    Parameters
    ----------
    dataset, options, dask_scheduler, dask
        As those of `placed_ratings`.

    Raises
    ------
    ConfigError, BackendError, DatasetError, RatingsError
        As `placed_ratings`.
    """
    clustered = _clustered(None, dask_scheduler, dask)
    threads = options.threads or usable_processors()
    name = _backend_name(options, on_gpus=dask == "cuda", clustered=clustered)
    source = Source(dataset.where, dataset.digest, name, options.dtype)
    # What is dense is computed in host memory.
    host = Backend.require("numpy" if name in GPU_BACKENDS else name, threads)
    with contextlib.ExitStack() as stack:
        runner: Runner = (
            stack.enter_context(on_cluster(source, dask_scheduler, dask))
            if clustered
            else StreamRunner(source, threads)
        )
        yield InShards(OpenSource(dataset, host, options.dtype), runner, name)


@contextlib.contextmanager
def placed_with_valid(
    dataset: RatingsDataset,
    config: WALSConfig,
    options: RunOptions,
    *,
    beside: Path,
    memory: int | None = None,
    dask_scheduler: str | None = None,
    dask: DaskName | None = None,
) -> Iterator[PlacedDataset]:
    """Yield the training and validation ratings of a dataset together, as `placed_ratings` does those of one.

    Where they do not fit into memory, they are joined shard by shard in a hidden folder, which vanishes.

    Parameters
    ----------
    dataset, config, options, memory, dask_scheduler, dask
        As those of `placed_ratings`.
    beside : Path
        The hidden folder is made beside this path, which the workers of a cluster must see; it takes as much
        room as the dataset.
    """
    clustered = _clustered(memory, dask_scheduler, dask)
    size, threads = np.dtype(options.dtype).itemsize, options.threads or usable_processors()
    plan = None if clustered else plan_memory(dataset, config, itemsize=size, threads=threads, budget=memory)
    if plan is not None and not plan.sharded:
        here = JoinedInMemory(dataset, options)
        here.plan = plan
        yield here
        return
    with atomic.scratch(beside) as folder:
        joined = join_splits(dataset, folder)
        where = {"memory": memory, "dask_scheduler": dask_scheduler, "dask": dask}
        with placed_ratings(joined, config, options, **where) as placed:  # type: ignore[arg-type]
            placed.valid, placed.dataset_digest, placed.plan = None, dataset.digest, plan
            placed.identified = joined_identity(dataset)
            yield placed


@contextlib.contextmanager
def placed_input(
    ratings: RatingsDataset | AnySparse | Table | PlacedRatings,
    config: WALSConfig,
    options: RunOptions,
    where: Where,
    *,
    valid: AnySparse | Table | None,
    ids: GivenIds,
    columns: Sequence[object] | None,
) -> Iterator[PlacedRatings]:
    """Yield what `toolkit.WALS.fit` is given, after a check of all of it, where it can be trained on.

    Raises
    ------
    ConfigError
        When arguments do not fit each other, or a place is asked for what is no dataset.
    UnknownIdError, RatingsError, DatasetError, BackendError
        As `placed_ratings`, and `toolkit.models.training_input.checked_input`.
    """
    asked = [name for name, value in where._asdict().items() if value is not None]
    beside = any(given is not None for given in (valid, columns, *ids))
    if isinstance(ratings, PlacedRatings):
        if asked or beside:
            raise ConfigError(
                "placed ratings have their ids, validation ratings and place: give nothing beside them"
            )
        yield ratings
    elif isinstance(ratings, RatingsDataset) and not beside:
        from toolkit.ingest import parse_size

        if isinstance(where.memory, str):
            where = where._replace(memory=parse_size(where.memory))
        place: Any = where._asdict()
        with placed_ratings(ratings, config, options, **place) as placed:
            yield placed
    elif asked:
        raise ConfigError(
            f"{' and '.join(asked)} must go with a dataset, whose ratings lie in shards, and nothing "
            "beside it: ingest the ratings, and fit RatingsDataset.open(DIR)"
        )
    else:
        yield InMemory(checked_input(ratings, options.dtype, valid=valid, ids=ids, columns=columns), options)


def _clustered(memory: int | None, dask_scheduler: str | None, dask: DaskName | None) -> bool:
    """Tell whether workers of a cluster have the ratings; they have their own limits of memory."""
    if memory is not None:
        checked_number("memory", memory, 1)
    if dask is not None:
        checked_word("dask", dask, get_args(DaskName))
    clustered = dask_scheduler is not None or dask == "cuda"
    if clustered and memory is not None:
        raise ConfigError(
            "--memory is that of a training in this process: leave it out, and give the workers of the "
            "cluster their --memory-limit"
        )
    return clustered


def _backend_name(options: RunOptions, *, on_gpus: bool, clustered: bool) -> BackendName:
    """Return the name of the backend that solves rows, here or on the workers of a cluster."""
    if on_gpus:
        if options.backend not in ("auto", *GPU_BACKENDS):
            raise ConfigError(
                f"--dask cuda has a worker on each GPU, but the backend is {options.backend}: take auto, "
                f"{' or '.join(GPU_BACKENDS)}"
            )
        return "cupy" if options.backend == "auto" else options.backend
    if clustered and options.backend in GPU_BACKENDS:
        return options.backend
    # What auto means here holds for all workers.
    return cast("BackendName", Backend.require(options.backend, 1).name)
