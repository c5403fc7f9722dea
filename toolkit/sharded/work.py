"""What is done with each part of the ratings: solve its rows, sum over what they rated, measure errors.

A piece of work has what all parts share, which a cluster sends to each worker once. `ready` makes of it, once
in each process, a function that does a part. Arrays come and go in host memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from toolkit.arrays import Array, DeviceArray, FloatArray
from toolkit.backends import Backend, HalfStep, RatingRows, SharedStep
from toolkit.predictor import Predictor, Side
from toolkit.sharded.parts import Part
from toolkit.solver import Perturbation, with_noisy_ratings

DoPart = Callable[[Part, RatingRows, Any], Any]
"""Does a part, given its rows and what is its own of the work."""


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
    """The arrays of the rows of a part in a half-step, as `toolkit.backends.HalfStep` has them."""

    penalty: Array
    bias_penalty: Array
    row_weight: Array | None
    pull: Array | None
    start: Side | None

    @classmethod
    def of(cls, step: HalfStep, part: Part) -> OwnRows:
        """Return those of a part."""
        own = part.rows
        return cls(
            step.penalty[own],
            step.bias_penalty[own],
            None if step.row_weight is None else step.row_weight[own],
            None if step.pull is None else step.pull[own],
            None if step.start is None else Side(step.start.factors[own], step.start.bias[own]),
        )


class Solved(NamedTuple):
    """The unknowns of the rows of a part, and the sums over what they rated or None."""

    solution: Array
    sums: Array | None


@dataclass(frozen=True)
class Solving(Work):
    """A half-step.

    Attributes
    ----------
    shared : SharedStep
    summed : bool
        Whether sums over what rows rated are taken on the way, where that is cheaper.
    chance : Perturbation or None
        Noise that the ratings get.
    """

    shared: SharedStep
    summed: bool
    chance: Perturbation | None

    def ready(self, backend: Backend, threads: int = 0) -> DoPart:
        """Return a function that solves a part, given its `OwnRows`."""
        shared, narrow = _moved(self.shared, backend), _narrow(backend, threads)
        # An eigenbasis has the bits of one thread, wherever it is made.
        with backend.one_blas_thread():
            solver = backend.part_solver(shared, summed=self.summed, threads=threads)

        def solve(part: Part, rows: RatingRows, own: OwnRows) -> Solved:
            start = None if own.start is None else backend.side(own.start)
            step = HalfStep(
                **{name: getattr(shared, name) for name in SharedStep.__dataclass_fields__},
                rows=rows,
                penalty=backend.asarray(own.penalty),
                bias_penalty=backend.asarray(own.bias_penalty),
                row_weight=_there(own.row_weight, backend),
                pull=_there(own.pull, backend),
                start=start,
            )
            if self.chance is not None:
                step = with_noisy_ratings(step, self.chance, backend=narrow, begin=part.begin)
            solution, sums = solver(step)
            return Solved(backend.to_numpy(solution), None if sums is None else backend.to_numpy(sums))

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
        return lambda _part, rows, _own: backend.to_numpy(narrow.sum_rated(rows, table))


@dataclass(frozen=True)
class Measuring(Work):
    """Squared errors on ratings by user.

    Attributes
    ----------
    items : Side
    mean : float
    scale : tuple of float, or None
        What predictions are clipped to.
    item_weight : array of float, shape (n_items,), or None
        Weights of the squares.
    """

    items: Side
    mean: float
    scale: tuple[float, float] | None
    item_weight: Array | None

    def ready(self, backend: Backend, threads: int = 0) -> DoPart:
        """Return a function that measures a part, given its users."""
        items, narrow = backend.side(self.items), _narrow(backend, threads)
        weight = None if self.item_weight is None else backend.asarray(self.item_weight)

        def measure(_part: Part, rows: RatingRows, users: Side) -> FloatArray:
            predictor = Predictor(backend.side(users), items, self.mean, scale=self.scale)
            return narrow.row_errors(predictor, rows, weight)

        return measure


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
