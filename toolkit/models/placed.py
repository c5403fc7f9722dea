"""Ratings where they are trained on: in memory, in the shards of a dataset, or with a cluster."""

from __future__ import annotations

import zlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import AnySparse, Ratings
from toolkit.backends import Backend
from toolkit.config import RunOptions
from toolkit.datasets import IdTable, RatingsDataset
from toolkit.evaluation import HeldOut, HeldOutRows, Pairs, pairs_on
from toolkit.models.training_input import TrainingInput, checked_input
from toolkit.sharded import MemoryPlan, OpenSource, Runner, ShardedHeldOut, ShardedRatings, map_ratings
from toolkit.solver import BaselineErrors, Baselines, Factors, TrainingData, TrainingRatings


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
        What tells these ratings from others, as JSON holds it; None for the digest.
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
        """Return what tells these ratings from others, as JSON holds it."""
        return self.dataset_digest if self.identified is None else self.identified

    def rmse(self, factors: Factors, held_out: HeldOut | None = None) -> float | None:
        """Return the RMSE of factors in host memory; without `held_out` on the training ratings."""
        on_device = factors.mapped(self.data.backend.asarray)
        if held_out is None:
            return self.data.rmse(on_device)
        return held_out.rmse(on_device)

    def baselines(self, *, damping: float | None = None) -> Baselines:
        """Return the simplest models of the ratings; by default with a penalty chosen on validation ratings.

        Those whose penalty is chosen are trained once.
        """
        return self._baselines if damping is None else Baselines(self.data, damping=damping)

    @cached_property
    def _baselines(self) -> Baselines:
        return Baselines(self.data, self.valid)


class PlacedDataset(PlacedRatings):
    """The ratings of a dataset, with its test ratings."""

    @property
    @abstractmethod
    def test(self) -> HeldOut:
        """The test ratings."""

    def baseline_errors(self) -> dict[str, BaselineErrors | None]:
        """Return the errors of the simplest models on validation and test ratings."""
        baselines = self.baselines()
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


def checksums(ratings: AnySparse) -> list[int]:
    """Return what tells ratings from others: their sizes and checksums."""
    coo = ratings.tocoo()
    sums = [zlib.crc32(np.ascontiguousarray(array).tobytes()) for array in (coo.row, coo.col, coo.data)]
    return [*ratings.shape, int(ratings.nnz), *sums]
