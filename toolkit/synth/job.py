"""Made-up ratings written to a file, chunk by chunk, in the order of the users or shuffled."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import BinaryIO, Literal, TypeVar

import numpy as np

from toolkit.arrays import Array
from toolkit.config import Range
from toolkit.datasets import statistics
from toolkit.errors import ConfigError
from toolkit.files import atomic
from toolkit.inputs import checked_word
from toolkit.job_threads import Job, JobThreads, stop
from toolkit.processors import usable_processors
from toolkit.progress_bars import ShownSteps, StepProgress, shown_steps
from toolkit.synth.chunk import Chunk, make_chunk
from toolkit.synth.counts import movielens_counts
from toolkit.synth.plan import SCATTER, SHUFFLE, Plan
from toolkit.synth.recipes import RECIPES, Recipe
from toolkit.synth.text import HEADER, Lines

Order = Literal["user", "random"]
ORDERS: tuple[Order, ...] = ("user", "random")
_T = TypeVar("_T")
_INT32_MAX, _INT64_MAX = 2**31 - 1, 2**63 - 1
_VALID = {
    "ratings": Range(1, _INT64_MAX, integer=True),
    "users": Range(1, _INT32_MAX, integer=True),
    "items": Range(1, _INT32_MAX, integer=True),
    "seed": Range(0, math.inf, integer=True),
    "rank": Range(0, _INT32_MAX, integer=True),
    "noise": Range(0, 1e6),
}
_RECORD = np.dtype([("user", "<i4"), ("item", "<i4"), ("level", "<i2"), ("time", "<i4")])


@dataclass(frozen=True)
class Synthesis:
    """The figures of a file of made-up ratings.

    Attributes
    ----------
    path : Path
        The file.
    ratings, users, items : int
        Numbers of ratings, users and items. Each user and each item has at least one rating.
    mean : float
        Mean rating.
    item_gini : float
        Gini coefficient of the items' numbers of ratings.
    user_median : float
        Median of the users' numbers of ratings.
    rmse_floor : float
        Root mean squared error, in the unit of the file, of the expected rating given everything that was
        planted. No predictor does better on many ratings.
    """

    path: Path
    ratings: int
    users: int
    items: int
    mean: float
    item_gini: float
    user_median: float
    rmse_floor: float


def write_ratings(
    out: str | Path,
    *,
    ratings: int,
    users: int | None = None,
    items: int | None = None,
    seed: int = 0,
    rank: int = 8,
    noise: float = 0.8,
    order: Order = "user",
    overwrite: bool = False,
    workers: int | None = None,
    progress: ShownSteps = None,
) -> Synthesis:
    """Make up ratings and write them in the form of MovieLens 20M: ``userId,movieId,rating,timestamp``.

    The same arguments give the same bytes under one version of NumPy, with any number of workers. Memory
    holds a few chunks and the tables of users and items, whatever the number of ratings. Random order also
    needs 14 bytes of disk for each rating beside `out` for a while.

    Parameters
    ----------
    out : str or Path
        File to write; it appears only once it is complete.
    ratings : int
        The exact number of ratings; each pair of user and item occurs once.
    users, items : int, optional
        Numbers of users and items; by default those of `movielens_counts`.
    seed : int
        Seed of the random numbers; another seed gives other ratings.
    rank : int
        Length of the planted factors.
    noise : float
        Standard deviation of the noise, in stars, before ratings are rounded to half stars.
    order : {"user", "random"}
        Sorted by user and item, or all shuffled.
    overwrite : bool
        Whether an existing file is replaced.
    workers : int, optional
        Number of threads; by default one for each processor.
    progress : bool or callable, optional
        Whether a bar shows the stages; by default where somebody sees it: in a notebook, or on a terminal.
        A function is called instead with the stage, how many of its steps have ended, and how many there are.

    Returns
    -------
    Synthesis

    Raises
    ------
    ConfigError
        When an argument is out of range, or so few users and items cannot have so many ratings.
    FileExistsError
        When `out` exists and `overwrite` is false.
    """
    _check(order, ratings=ratings, users=users, items=items, seed=seed, rank=rank, noise=noise)
    n_users, n_items = movielens_counts(ratings, users, items)
    _check_fit(ratings, n_users, n_items)
    recipe = Recipe(ratings=ratings, users=n_users, items=n_items, rank=rank, noise=noise)
    return _write(
        recipe,
        Path(out),
        seed=seed,
        order=order,
        overwrite=overwrite,
        workers=workers,
        progress=progress,
    )


def write_like(
    out: str | Path,
    like: str,
    *,
    seed: int = 0,
    order: Order = "user",
    overwrite: bool = False,
    workers: int | None = None,
    progress: ShownSteps = None,
) -> Synthesis:
    """Make up ratings by a recipe of `RECIPES`, and write them as `write_ratings` does.

    Parameters
    ----------
    like : str
        Name of the recipe, such as ``"jester"``.
    out, seed, order, overwrite, workers, progress
        As for `write_ratings`.

    Returns
    -------
    Synthesis

    Raises
    ------
    ConfigError
        When there is no such recipe, or an argument is out of range.
    FileExistsError
        When `out` exists and `overwrite` is false.
    """
    recipe = RECIPES[checked_word("--like", like, list(RECIPES))]
    _check(order, seed=seed)
    return _write(
        recipe,
        Path(out),
        seed=seed,
        order=order,
        overwrite=overwrite,
        workers=workers,
        progress=progress,
    )


def _write(
    recipe: Recipe,
    out: Path,
    *,
    seed: int,
    order: Order,
    overwrite: bool,
    workers: int | None,
    progress: ShownSteps,
) -> Synthesis:
    workers = workers or usable_processors()
    with shown_steps(progress) as show, atomic.file(out, overwrite=overwrite) as file:
        plan = Plan(recipe, seed=seed)
        job = _Job(plan, workers, show)
        if order == "user":
            job.write_by_user(file)
        else:
            # Beside `out`, where there is room for a file of this size; a temporary folder may be in memory.
            with atomic.scratch(out) as folder:
                job.write_shuffled(file, folder)
    return Synthesis(
        path=out,
        ratings=recipe.ratings,
        users=recipe.users,
        items=recipe.items,
        mean=(plan.scale[0] + job.levels / recipe.steps / recipe.ratings) * recipe.times + recipe.plus,
        item_gini=statistics.gini(job.item_counts),
        user_median=float(np.median(plan.degrees(0, recipe.users))),
        rmse_floor=abs(recipe.times) * math.sqrt(job.squared_error / recipe.ratings),
    )


def _check(order: str, **numbers: float | None) -> None:
    problems = [
        f"--{name} {problem}"
        for name, value in numbers.items()
        if value is not None and (problem := _VALID[name].problem(value))
    ]
    if problems:
        raise ConfigError("; ".join(problems))
    if order not in ORDERS:
        raise ConfigError(f"--order must be one of {', '.join(ORDERS)}, but got {order!r}")


def _check_fit(ratings: int, users: int, items: int) -> None:
    for name, n in (("users", users), ("items", items)):
        if n > min(ratings, _INT32_MAX):
            raise ConfigError(
                f"--{name} must be at most {min(ratings, _INT32_MAX):,}, for each to have a rating and a "
                f"32-bit number, but got {n:,}"
            )
    if ratings > users * items:
        raise ConfigError(
            f"--ratings must be at most {users:,} users × {items:,} items = {users * items:,}, as each pair "
            f"is rated once, but got {ratings:,}: give more --users or --items"
        )


@dataclass
class _Job:
    plan: Plan
    workers: int
    progress: StepProgress
    item_counts: Array = field(init=False)
    levels: int = 0
    squared_error: float = 0.0

    def __post_init__(self) -> None:
        self.item_counts = np.zeros(self.plan.items, np.int64)
        self.lines = Lines(self.plan)

    def write_by_user(self, file: BinaryIO) -> None:
        """Write one chunk after the other."""

        def made(number: int) -> tuple[Chunk, Array]:
            chunk = make_chunk(self.plan, number)
            return chunk, self.lines.text(chunk.user, chunk.item, chunk.level, chunk.time)

        file.write(HEADER)
        for chunk, text in self._in_order("writing", made, len(self.plan.edges) - 1):
            self._count(chunk)
            file.write(text.data)

    def write_shuffled(self, file: BinaryIO, folder: Path) -> None:
        """Scatter the ratings over bins on disk; then shuffle one bin after the other, and write it.

        The order of all ratings is uniform, because the bin of each rating is, and the order in each bin.
        """
        n = len(self.plan.edges) - 1

        def scattered(number: int) -> tuple[Chunk, Array, Array]:
            chunk = make_chunk(self.plan, number)
            bins = self.plan.stream(SCATTER, number).integers(0, n, len(chunk.user))
            order = np.argsort(bins, kind="stable")
            records = np.empty(len(order), _RECORD)
            for name in _RECORD.names or ():
                records[name] = getattr(chunk, name)[order]
            return chunk, records, np.searchsorted(bins[order], np.arange(n + 1))

        for chunk, records, starts in self._in_order("scattering", scattered, n):
            self._count(chunk)
            for at in np.flatnonzero(np.diff(starts)).tolist():
                # Opened each time: a process may not hold as many files open as there are bins.
                with (folder / str(at)).open("ab") as bin_:
                    bin_.write(records[starts[at] : starts[at + 1]].data)

        def shuffled(at: int) -> Array:
            path = folder / str(at)
            records = np.fromfile(path, _RECORD) if path.exists() else np.empty(0, _RECORD)
            path.unlink(missing_ok=True)
            records = records[self.plan.stream(SHUFFLE, at).permutation(len(records))]
            user, item, level, time = (records[name] for name in _RECORD.names or ())
            return self.lines.text(user, item, level, time.astype(np.int64))

        file.write(HEADER)
        file.writelines(text.data for text in self._in_order("writing", shuffled, n))

    def _count(self, chunk: Chunk) -> None:
        self.item_counts += np.bincount(chunk.item, minlength=self.plan.items)
        self.levels += int(chunk.level.sum(dtype=np.int64))
        self.squared_error += chunk.squared_error

    def _in_order(self, label: str, make: Callable[[int], _T], n: int) -> Iterator[_T]:
        """Yield the results of `make` for 0 to n - 1 in order; threads make a few of them ahead."""
        waiting: deque[Job[_T]] = deque()
        threads = JobThreads(self.workers, "walslab-synth")
        try:
            for number in range(n + self.workers):
                if number < n:
                    waiting.append(Job(partial(make, number)))
                    threads.give(waiting[-1])
                if number >= self.workers:
                    waiting[0].wait()
                    yield waiting.popleft().result()
                    self.progress(label, number - self.workers + 1, n)
        finally:
            stop(waiting)
