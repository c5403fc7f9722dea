"""Parts of a dataset's ratings, and how a process that works on them gets at them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from toolkit.arrays import Ratings
from toolkit.backends import Backend, BackendName, RatingRows
from toolkit.datasets import SHARDS, FileEntry, RatingsDataset, Shard, ShardReader
from toolkit.errors import DatasetError


class Part(NamedTuple):
    """Rows that follow each other: those of one shard.

    Attributes
    ----------
    kind : str
        A kind of shard, such as ``train/rows``.
    number : int
        Which of its shards.
    start, stop : int
        Its first row, and the one behind its last.
    begin : int
        How many ratings the shards before it have.
    nnz : int
        How many it has.
    """

    kind: str
    number: int
    start: int
    stop: int
    begin: int
    nnz: int

    @property
    def rows(self) -> slice:
        """Its rows among all."""
        return slice(self.start, self.stop)


@dataclass(frozen=True)
class Source:
    """A dataset as a process opens it to train on its shards; it travels to workers.

    Attributes
    ----------
    where : str
        The absolute path of the dataset, or its address.
    digest : str
        The identity of its content.
    backend : str
        The name of the backend that solves rows.
    dtype : {"float32", "float64"}
        Precision of ratings and factors.
    """

    where: str
    digest: str
    backend: BackendName
    dtype: str

    def open(self, threads: int) -> OpenSource:
        """Return the dataset open in this process, with a backend of so many threads.

        Raises
        ------
        DatasetError
            When there is another dataset, or none.
        BackendError
            When this process lacks the backend.
        """
        dataset = RatingsDataset.open(self.where)
        if dataset.digest != self.digest:
            raise DatasetError(
                f"{self.where} must have the digest {self.digest}, but has {dataset.digest}: put the same "
                "dataset where all processes see it"
            )
        return OpenSource(dataset, Backend.require(self.backend, threads), self.dtype)


class OpenSource:
    """The shards of a dataset in this process.

    Parameters
    ----------
    dataset : RatingsDataset
    backend : Backend
        Solves rows.
    dtype : {"float32", "float64"}
    """

    def __init__(self, dataset: RatingsDataset, backend: Backend, dtype: str) -> None:
        self.dataset, self.backend, self.dtype = dataset, backend, dtype
        self._reader = ShardReader(dataset)

    def parts(self, kind: str) -> list[Part]:
        """Return all parts of a kind, in order."""
        entries = self.dataset.shards(kind)
        begins = accumulate((entry["nnz"] for entry in entries), initial=0)
        return [
            Part(kind, number, entry["start"], entry["stop"], begin, entry["nnz"])
            for number, (entry, begin) in enumerate(zip(entries, begins, strict=False))
        ]

    def read(self, part: Part) -> Shard:
        """Return the arrays of a part."""
        return self._reader.read(part.kind, self._entries[part.kind][part.number])

    def laid_out(self, part: Part, shard: Shard) -> RatingRows:
        """Return a part as the backend solves or measures it."""
        return self.backend.rows(self.matrix(part, shard), self.dtype)

    def matrix(self, part: Part, shard: Shard) -> Ratings:
        """Return a part as a matrix."""
        indptr, indices, data = shard
        n_columns = self.dataset.manifest["counts"][SHARDS[part.kind][2]]
        shape = (part.stop - part.start, n_columns)
        return sp.csr_matrix((data.astype(self.dtype, copy=False), indices, indptr), shape=shape, copy=False)

    @cached_property
    def _entries(self) -> dict[str, list[FileEntry]]:
        return {kind: self.dataset.shards(kind) for kind in SHARDS}


def nbytes(rows: RatingRows) -> int:
    """Return about how many bytes of memory rows take that are kept."""
    return int(rows.columns.nbytes + rows.values.nbytes + 6 * np.dtype(np.int64).itemsize * rows.n_rows)
