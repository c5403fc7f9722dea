"""What is done with each part of the ratings: solve its rows, sum over what they rated, measure errors.

A piece of work has what all parts share, which a cluster sends to each worker once. `ready` makes of it, once
in each process, a function that does a part. Arrays come and go in host memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from toolkit.arrays import Array, DeviceArray, FloatArray
from toolkit.backends import Backend, HalfStep, RatingRows, SharedStep
from toolkit.predictor import Predictor, Side
from toolkit.sharded.parts import Part

RowsOf = Callable[[Part], RatingRows]
"""Returns the ratings of a part."""
DoPart = Callable[[Part, RowsOf, Any], Any]
"""Does a part, given how to get at ratings, and what is its own of the work."""


class Work(ABC):
    """Work on all parts."""

    @abstractmethod
    def ready(self, backend: Backend, threads: int = 0) -> DoPart:
        """Return a function that does a part of it on a backend.

        Parameters
        ----------
        backend : Backend
            Its threads make what parts share.
        threads : int, default 0
            CPU threads of each part; 0 takes those of the backend.
        """


class OwnRows(NamedTuple):
    """What the rows of a part have for themselves in a half-step.

    Attributes
    ----------
    penalty, bias_penalty, row_weight, pull, noise, start
        As `toolkit.backends.HalfStep` has them.
    measured : list of Part
        Other ratings of these rows, or the same, whose errors are measured as soon as the rows are solved.
    """

    penalty: Array
    bias_penalty: Array
    row_weight: Array | None
    pull: Array | None
    noise: Array | None
    start: Side | None
    measured: list[Part]

    @classmethod
    def of(cls, step: HalfStep, part: Part, measured: list[Part], *, started: bool) -> OwnRows:
        """Return those of a part, with its `start` or without."""
        own = part.rows
        return cls(
            step.penalty[own],
            step.bias_penalty[own],
            None if step.row_weight is None else step.row_weight[own],
            None if step.pull is None else step.pull[own],
            None if step.noise is None else step.noise[own],
            step.start.at(own) if step.start is not None and started else None,
            measured,
        )


class Measure(NamedTuple):
    """How errors are measured.

    Attributes
    ----------
    mean : float
    scale : tuple of float, or None
        What predictions are clipped to.
    item_weight : array of float, shape (n_items,), or None
        Weights of the squares.
    """

    mean: float
    scale: tuple[float, float] | None
    item_weight: Array | None

    def is_like(self, other: Measure) -> bool:
        """Tell whether errors are the same by both; equal weights in another array count as others."""
        return self[:2] == other[:2] and self.item_weight is other.item_weight

    def errors(self, backend: Backend, users: Side, items: Side, rows: RatingRows) -> FloatArray:
        """Return what `toolkit.backends.Backend.row_errors` does."""
        predictor = Predictor(users, items, self.mean, scale=self.scale)
        return backend.row_errors(predictor, rows, _there(self.item_weight, backend))


class Solved(NamedTuple):
    """The unknowns of the rows of a part, the sums over what they rated or None, and the measured errors."""

    solution: Array
    sums: Array | None
    errors: dict[str, FloatArray]


@dataclass(frozen=True)
class Solving(Work):
    """A half-step.

    Attributes
    ----------
    shared : SharedStep
    start : Side or None
        From which the steps of all rows begin, where that is not their own; see `OwnRows`.
    summed : bool
        Whether sums over what rows rated are taken on the way, where that is cheaper.
    measures : mapping of str to Measure
        How the errors of `OwnRows.measured` are measured, by kind of shard.
    """

    shared: SharedStep
    start: Side | None
    summed: bool
    measures: Mapping[str, Measure]

    def ready(self, backend: Backend, threads: int = 0) -> DoPart:
        """Return a function that solves a part, given its `OwnRows`."""
        shared, narrow = _moved(self.shared, backend), _narrow(backend, threads)
        # An eigenbasis has the bits of one thread, wherever it is made.
        with backend.one_blas_thread():
            solver = backend.part_solver(shared, summed=self.summed, threads=threads)

        def solve(part: Part, rows: RowsOf, own: OwnRows) -> Solved:
            start = own.start if self.start is None else self.start.at(part.rows)
            step = HalfStep(
                **{name: getattr(shared, name) for name in SharedStep.__dataclass_fields__},
                rows=rows(part),
                penalty=backend.asarray(own.penalty),
                bias_penalty=backend.asarray(own.bias_penalty),
                row_weight=_there(own.row_weight, backend),
                pull=_there(own.pull, backend),
                noise=_there(own.noise, backend),
                start=None if start is None else backend.side(start),
            )
            solution, sums = solver(step)
            errors = {
                other.kind: self.measures[other.kind].errors(
                    narrow, step.parted(solution), shared.fixed, rows(other)
                )
                for other in own.measured
            }
            return Solved(
                backend.to_numpy(solution), None if sums is None else backend.to_numpy(sums), errors
            )

        return solve


@dataclass(frozen=True)
class Summing(Work):
    """Sums of the lines of a table that stand for what each row has rated.

    Attributes
    ----------
    table : array of float, shape (n_columns, k)
    """

    table: Array

    def ready(self, backend: Backend, threads: int = 0) -> DoPart:
        """Return a function that sums over a part."""
        table, narrow = backend.asarray(self.table), _narrow(backend, threads)
        return lambda part, rows, _own: backend.to_numpy(narrow.sum_rated(rows(part), table))


@dataclass(frozen=True)
class Measuring(Work):
    """Squared errors on ratings by user.

    Attributes
    ----------
    items : Side
    measure : Measure
    """

    items: Side
    measure: Measure

    def ready(self, backend: Backend, threads: int = 0) -> DoPart:
        """Return a function that measures a part, given its users."""
        items, narrow = backend.side(self.items), _narrow(backend, threads)
        return lambda part, rows, users: self.measure.errors(narrow, backend.side(users), items, rows(part))


def _narrow(backend: Backend, threads: int) -> Backend:
    return backend.with_threads(threads) if threads else backend


def _there(array: DeviceArray | None, backend: Backend) -> DeviceArray | None:
    return None if array is None else backend.asarray(array)


def _moved(shared: SharedStep, backend: Backend) -> SharedStep:
    """Return what rows share, on the device of a backend."""
    return replace(
        shared,
        fixed=backend.side(shared.fixed),
        column_weight=_there(shared.column_weight, backend),
        gram=_there(shared.gram, backend),
        pattern=_there(shared.pattern, backend),
        unrated=_there(shared.unrated, backend),
        mean_square=_there(shared.mean_square, backend),
    )
