"""The training ratings of a dataset, left in its shards."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from toolkit.arrays import Array, DeviceArray, FloatArray, IntArray, SideName
from toolkit.backends import Backend, HalfStep, RowCounts, unsolved
from toolkit.config import WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.errors import DatasetError, RatingsError
from toolkit.predictor import Predictor, Side
from toolkit.sharded.errors_on_the_way import ErrorsOnTheWay, in_order
from toolkit.sharded.parts import OpenSource, Part
from toolkit.sharded.stream_runner import Runner
from toolkit.sharded.work import Measure, Measuring, OwnRows, Solving, Summing
from toolkit.solver import TrainingRatings, rating_facts, total_of

_KINDS: dict[SideName, str] = {"user": "train/rows", "item": "train/cols"}


class ShardedRatings(TrainingRatings):
    """The training ratings of a dataset, which a runner reads part by part.

    Factors are in the memory of this process. What is dense and shared by all rows is computed here.

    Parameters
    ----------
    source : OpenSource
        The dataset in this process; its backend computes what is dense, in host memory.
    runner : Runner
        Does what is done part by part.

    Raises
    ------
    DatasetError
        When a shard of users is missing, changed or damaged.
    RatingsError
        When there is no rating, or their spread does not fit the precision of the solver.
    """

    def __init__(self, source: OpenSource, runner: Runner) -> None:
        self._source, self._runner = source, runner
        self._parts: dict[str, list[Part]] = {}
        dataset = source.dataset
        self.backend: Backend = source.backend
        self.dtype = source.dtype
        self.n_users, self.n_items = dataset.n_users, dataset.n_items
        self.nnz = dataset.counts["train"]
        if not self.nnz:
            raise RatingsError("the training set must hold at least one rating, but it is empty")
        users, items = dataset.training_counts("users"), dataset.training_counts("items")
        self._rows = {
            "user": RowCounts(users, items, self.backend.xp),
            "item": RowCounts(items, users, self.backend.xp),
        }
        self.mean, self.spread, self.scale = rating_facts(self._values(users))
        self._errors = ErrorsOnTheWay(self._is_cut_as_users)
        # What the rows of the last half-step shared.
        self._fixed_before: Side | None = None

    @property
    def dataset(self) -> RatingsDataset:
        """The dataset."""
        return self._source.dataset

    def _values(self, counts: IntArray) -> Iterator[FloatArray]:
        """Yield the ratings shard by shard, and compare how many each user has with the table of users."""
        for part in self.parts("train/rows"):
            indptr, _, data = self._source.read(part)
            if not np.array_equal(np.diff(indptr), counts[part.rows]):
                raise DatasetError(
                    f"{self.dataset.where} must have as many ratings of each user in its shards as its table "
                    f"users.parquet says, but users {part.start} to {part.stop - 1} have others: ingest the "
                    "ratings again"
                )
            yield data.astype(self.dtype, copy=False)

    def parts(self, kind: str) -> list[Part]:
        """Return the parts of a kind of shard."""
        if kind not in self._parts:
            self._parts[kind] = self._source.parts(kind)
        return self._parts[kind]

    def _is_cut_as_users(self, kind: str) -> bool:
        """Tell whether the parts of a kind have the users that those of the training ratings have."""
        cuts = ([(part.start, part.stop) for part in self.parts(of)] for of in (kind, _KINDS["user"]))
        return next(cuts) == next(cuts)

    def rows(self, side: SideName) -> RowCounts:
        """Return the counts of an orientation."""
        return self._rows[side]

    def solve(
        self,
        side: SideName,
        step: HalfStep,
        *,
        wait: bool = True,
        summed: bool = False,
    ) -> tuple[Side, DeviceArray | None]:
        """Return the factors and biases of all rows of a side; see `TrainingRatings.solve`."""
        k, n = step.config.factors, step.rows.n_rows
        if not step.unknowns:
            return step.side(step.new_solution()), None
        step = self.backend.prepared(step)
        found = Side(np.empty((n, k), step.dtype), np.zeros(n, step.dtype))
        sums: Array | None = np.empty((n, k), step.dtype) if summed else None
        measures = self._errors.begin(found, step.fixed) if side == "user" else {}
        measured = [self.parts(kind) for kind in measures]
        # Where steps start from what the workers of a cluster have, it is not sent to them.
        start = step.start if step.start is self._fixed_before else None
        self._fixed_before = step.fixed

        def own(part: Part) -> OwnRows:
            others = [parts[part.number] for parts in measured]
            return OwnRows.of(step, part, others, started=start is None)

        work = Solving(step.shared, start, summed, measures)
        for part, (solution, own_sums, errors) in self._runner.run(work, self.parts(_KINDS[side]), own):
            self._errors.add(part.number, errors)
            self._require_finite(step, part, solution)
            found.factors[part.rows] = solution[:, :k]
            if step.biased:
                found.bias[part.rows] = solution[:, k]
            if sums is None or own_sums is None:
                sums = None
            else:
                sums[part.rows] = own_sums
        return found, sums

    @staticmethod
    def _require_finite(step: HalfStep, part: Part, solution: Array) -> None:
        finite = np.isfinite(solution)
        if not finite.all():
            raise unsolved(step.rows, step.config, part.start + int(finite.all(axis=1).argmin()))

    def sum_rated(self, side: SideName, table: DeviceArray) -> DeviceArray:
        """Return sums over what each row has rated; see `TrainingRatings.sum_rated`."""
        out = np.empty((self.rows(side).n_rows, table.shape[1]), table.dtype)
        for part, sums in self._runner.run(Summing(table), self.parts(_KINDS[side]), _nothing):
            out[part.rows] = sums
        return out

    def squared_errors(
        self, predictor: Predictor, item_weight: DeviceArray | None = None
    ) -> tuple[float, float]:
        """Return sums of squared errors on the ratings; see `TrainingRatings.squared_errors`."""
        return total_of(self.row_errors("train/rows", predictor, item_weight))

    def row_errors(
        self, kind: str, predictor: Predictor, item_weight: DeviceArray | None = None
    ) -> FloatArray:
        """Return what `toolkit.backends.Backend.row_errors` does, for shards by user of any kind."""
        measure = Measure(predictor.mean, predictor.scale, item_weight)
        known = self._errors.of(kind, predictor, measure)
        if known is not None:
            return known
        work = Measuring(predictor.items, measure)
        done = self._runner.run(work, self.parts(kind), lambda part: predictor.users.at(part.rows))
        return in_order({part.number: errors for part, errors in done})

    def pairs_at(self, positions: IntArray) -> tuple[DeviceArray, DeviceArray, DeviceArray]:
        """Return users, items and values of some ratings; see `TrainingRatings.pairs_at`."""
        users = np.searchsorted(np.cumsum(self.rows("user").host_counts), positions, side="right")
        items, values = [], []
        for part in self.parts("train/rows"):
            at = positions[(part.begin <= positions) & (positions < part.begin + part.nnz)] - part.begin
            if len(at):
                _, columns, data = self._source.read(part)
                items.append(columns[at])
                values.append(data[at].astype(self.dtype, copy=False))
        return users.astype(np.int32), np.concatenate(items), np.concatenate(values)

    def reserve(self, config: WALSConfig) -> None:
        """Do nothing: parts bring their own scratch memory."""

    def require_solved(self, config: WALSConfig) -> None:
        """Do nothing: each part was looked at as it came."""


def _nothing(_part: Part) -> Any:
    return None
