"""Ratings where they are trained on: in memory, in the shards of a dataset, or with a cluster."""

from __future__ import annotations

import contextlib
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, NamedTuple, cast

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import AnySparse, Ratings, Table
from toolkit.backends import Backend, BackendName
from toolkit.config import GPU_BACKENDS, RunOptions, WALSConfig
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.errors import ConfigError
from toolkit.evaluation import HeldOut, HeldOutRows, Pairs, pairs_on
from toolkit.files import atomic
from toolkit.ingest import parse_size
from toolkit.models.training_input import GivenIds, TrainingInput, checked_input
from toolkit.processors import usable_processors
from toolkit.sharded import (
    MemoryPlan,
    OpenSource,
    Runner,
    ShardedHeldOut,
    ShardedRatings,
    Source,
    StreamRunner,
    join_splits,
    map_ratings,
    on_cluster,
    plan_memory,
)
from toolkit.solver import BaselineErrors, Baselines, Factors, TrainingData, TrainingRatings

DaskName = Literal["threads", "cuda"]


class Where(NamedTuple):
    """Where a training shall have its ratings, as `placed_ratings` takes it."""

    memory: str | int | None = None
    dask_scheduler: str | None = None
    dask: DaskName | None = None


class PlacedRatings(ABC):
    """Ratings to train on, those to measure on, and the ids of both.

    `placed_ratings` makes one of a dataset; `toolkit.WALS.fit` takes it in the place of ratings.

    Attributes
    ----------
    data : TrainingRatings
    users, items : IdTable
    dataset_digest : str or None
    backend_name : str
        The backend that solves rows.
    valid : HeldOut or None
        None where there are no validation ratings.
    plan : MemoryPlan or None
        Why the ratings are where they are; None where nobody had to choose.
    identified : object
        What other ratings are most unlikely to share, as JSON holds it; None for the digest.
    """

    data: TrainingRatings
    users: IdTable
    items: IdTable
    dataset_digest: str | None
    backend_name: str
    valid: HeldOut | None
    plan: MemoryPlan | None = None
    identified: object = None

    @abstractmethod
    def rated(self, beside: Path | None = None) -> Ratings:
        """Return the training ratings for a model to keep.

        Parameters
        ----------
        beside : Path, optional
            Beside this path go files that the matrix may be mapped from.
        """

    @abstractmethod
    def valid_pairs(self) -> Pairs | None:
        """Return the validation ratings as pairs in memory; None where there are none."""

    def identity(self) -> object:
        """Return what other ratings are most unlikely to share, as JSON holds it."""
        return self.dataset_digest if self.identified is None else self.identified

    def rmse(self, factors: Factors, held_out: HeldOut | None = None) -> float | None:
        """Return the RMSE of factors in host memory; without `held_out` on the training ratings."""
        on_device = factors.mapped(self.data.backend.asarray)
        if held_out is None:
            return float(np.sqrt(self.data.squared_errors(on_device)[0] / self.data.nnz))
        return held_out.rmse(on_device)

    def baselines(self, *, damping: float | None = None) -> Baselines:
        """Train the simplest models of the ratings; their penalty is chosen on the validation ratings."""
        return Baselines(self.data, self.valid, damping=damping)


class PlacedDataset(PlacedRatings):
    """The ratings of a dataset, with its test ratings."""

    @property
    @abstractmethod
    def test(self) -> HeldOut:
        """The test ratings."""

    def baseline_errors(self, *, damping: float | None = None) -> dict[str, BaselineErrors | None]:
        """Return the errors of the simplest models on validation and test ratings."""
        baselines = self.baselines(damping=damping)
        held_out = {"valid": self.valid, "test": self.test}
        return {name: None if of is None else baselines.errors(of) for name, of in held_out.items()}


class InMemory(PlacedRatings):
    """Ratings in the memory of this process.

    Parameters
    ----------
    given : TrainingInput
    options : RunOptions

    Raises
    ------
    BackendError
        When the backend of the options is not usable.
    RatingsError
        When there is no rating.
    """

    def __init__(self, given: TrainingInput, options: RunOptions) -> None:
        self._given, self._dtype = given, options.dtype
        backend = Backend.require(options.backend, options.threads)
        self.data = TrainingData(given.ratings, given.by_item, backend=backend, dtype=options.dtype)
        self.valid = None if given.valid is None else HeldOutRows(backend, given.valid)
        self.users, self.items, self.dataset_digest = given.users, given.items, given.dataset_digest
        self.backend_name = backend.name

    def rated(self, beside: Path | None = None) -> Ratings:
        """Return the training ratings for a model to keep; see `PlacedRatings.rated`."""
        given = self._given
        # A copy of what the caller may change, in the type of what is computed with it.
        return sp.csr_matrix(given.ratings.astype(self._dtype, copy=given.dataset_digest is None))

    def valid_pairs(self) -> Pairs | None:
        """Return the validation ratings as pairs in memory; None where there are none."""
        valid = self._given.valid
        return None if valid is None or not valid.nnz else pairs_on(self.data.backend, valid)

    def identity(self) -> object:
        """Return the digest of the dataset, or sizes and checksums of the ratings."""
        given = self._given
        if given.dataset_digest is not None:
            return super().identity()
        return [None if ratings is None else checksums(ratings) for ratings in (given.ratings, given.valid)]


class DatasetInMemory(InMemory, PlacedDataset):
    """The ratings of a dataset in the memory of this process."""

    def __init__(self, dataset: RatingsDataset, options: RunOptions) -> None:
        super().__init__(checked_input(dataset, options.dtype), options)
        self._dataset = dataset

    @cached_property
    def test(self) -> HeldOut:
        """The test ratings."""
        return HeldOutRows(self.data.backend, self._dataset.test)


class InShards(PlacedDataset):
    """The ratings of a dataset, left in its shards.

    Parameters
    ----------
    source : OpenSource
    runner : Runner
    backend_name : str
        The backend that the runner solves rows with.
    """

    def __init__(self, source: OpenSource, runner: Runner, backend_name: str) -> None:
        self._source, self.backend_name = source, backend_name
        dataset = source.dataset
        self.data: ShardedRatings = ShardedRatings(source, runner)
        self.valid = ShardedHeldOut(self.data, "valid")
        self.users, self.items, self.dataset_digest = dataset.users, dataset.items, dataset.digest

    @property
    def test(self) -> HeldOut:
        """The test ratings."""
        return ShardedHeldOut(self.data, "test")

    def rated(self, beside: Path | None = None) -> Ratings:
        """Return the training ratings for a model to keep, mapped from files."""
        return map_ratings(self._source, beside)

    def valid_pairs(self) -> Pairs | None:
        """Return the validation ratings as pairs in memory; None where there are none."""
        valid = self._source.dataset.valid
        return pairs_on(self.data.backend, valid) if valid.nnz else None


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
        When `memory` is too small, or both `dask_scheduler` and `dask` name a cluster.
    BackendError
        When the backend is not usable, or the cluster does not answer or has no workers.
    DatasetError, RatingsError
        When the dataset is damaged, or has no training rating.
    """
    clustered = dask_scheduler is not None or dask == "cuda"
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
        placed = InShards(OpenSource(dataset, host, options.dtype), runner, name)
        placed.plan = plan
        yield placed


class JoinedInMemory(InMemory, PlacedDataset):
    """Training and validation ratings of a dataset together, in the memory of this process."""

    def __init__(self, dataset: RatingsDataset, options: RunOptions) -> None:
        both, users, items = dataset.train_and_valid(), dataset.users, dataset.items
        super().__init__(TrainingInput(both, None, None, users, items, dataset.digest), options)
        self._dataset, self.identified = dataset, joined_identity(dataset)

    @cached_property
    def test(self) -> HeldOut:
        """The test ratings."""
        return HeldOutRows(self.data.backend, self._dataset.test)


def joined_identity(dataset: RatingsDataset) -> object:
    """Return the identity of the training and validation ratings of a dataset together."""
    return f"{dataset.digest} train + valid"


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
    clustered = dask_scheduler is not None or dask == "cuda"
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
    beside = valid is not None or columns is not None or ids != (None, None)
    if isinstance(ratings, PlacedRatings):
        if asked or beside:
            raise ConfigError(
                "placed ratings have their ids, validation ratings and place: give nothing beside them"
            )
        yield ratings
    elif isinstance(ratings, RatingsDataset) and not beside:
        memory = parse_size(where.memory) if isinstance(where.memory, str) else where.memory
        place = where._replace(memory=memory)._asdict()
        with placed_ratings(ratings, config, options, **place) as placed:
            yield placed
    elif asked:
        raise ConfigError(
            f"{' and '.join(asked)} must go with a dataset, whose ratings lie in shards, and nothing "
            "beside it: ingest the ratings, and fit RatingsDataset.open(DIR)"
        )
    else:
        yield InMemory(checked_input(ratings, options.dtype, valid=valid, ids=ids, columns=columns), options)


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


def checksums(ratings: AnySparse) -> list[int]:
    """Return what other ratings are most unlikely to share: sizes and checksums."""
    coo = ratings.tocoo()
    sums = [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in (coo.row, coo.col, coo.data)]
    return [*ratings.shape, int(ratings.nnz), *sums]
