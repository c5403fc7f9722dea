"""What an iteration's kernels must do, counted, and how long that should take a card; no device is needed.

The counts are exact: operations and bytes of the launches that `toolkit.backends.cuda.plan` and
`toolkit.backends.cuda.shape` decide on. The rates are a card's limits and, for what is bound by latency,
cycles that were estimated from the source; `gpu_solver.py` puts what is measured beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from toolkit.backends.cuda.plan import plan_rows
from toolkit.backends.cuda.shape import Shape


@dataclass(frozen=True)
class Card:
    """Limits of a GPU.

    Attributes
    ----------
    name : str
    multiprocessors : int
    clock : float
        In Hz.
    memory : float
        Bytes a second, of large copies.
    gather : float
        Bytes a second, of lines gathered from a table that mostly stays in the second cache.
    registers, threads : int
        Of a multiprocessor.
    """

    name: str
    multiprocessors: int
    clock: float
    memory: float
    gather: float
    registers: int = 65536
    threads: int = 2048

    @property
    def operations(self) -> float:
        """Float32 operations a second: 128 fused multiply-adds a cycle on each multiprocessor."""
        return self.multiprocessors * 128 * 2 * self.clock


H200 = Card("H200", 132, 1.98e9, 4.8e12, 5.0e12)
# Of the multiply-adds that could be issued beside loads from shared memory, loops and barriers. Tiles of 4 by
# 4 load one number for two multiply-adds, those of 8 by 8 one for four: the first are bound by shared memory.
ISSUED = {4: 0.45, 8: 0.7}
# Cycles of a tile row's way through the factorization, and of its way back, one by one: a pivot's root and
# the products behind it, TILE times; columns substituted; two barriers; the update.
CYCLES_FORWARD, CYCLES_BACK = {4: 450, 8: 900}, {4: 150, 8: 300}
# Registers of a thread; tests/cuda_usage.json has those of each kernel.
REGISTERS = {4: 64, 8: 128}


@dataclass(frozen=True)
class Work:
    """What a kind of kernel does in one half-step.

    Attributes
    ----------
    kernel : str
    rows, ratings : int
    operations : float
        As executed, padding included.
    gathered : float
        Bytes of factors that are gathered.
    moved : float
        Other bytes, read or written once.
    seconds : float
        Predicted.
    """

    kernel: str
    rows: int
    ratings: int
    operations: float
    gathered: float
    moved: float
    seconds: float


def half_step(indptr: np.ndarray[Any, Any], shape: Shape, card: Card = H200) -> list[Work]:
    """Return the work of the kernels of the rows, in the order of their launches."""
    plan = plan_rows(indptr)
    long = plan.long
    parts = len(long.counts)
    found = []
    for kernel, rows, counts, solves in (
        ("part_rows", len(long.rows), long.counts, False),
        ("joined_rows", len(long.rows), np.zeros(0, np.int64), True),
        ("whole_rows", len(plan.whole), plan.whole.counts, True),
        ("short_rows", len(plan.short), plan.short.counts, True),
    ):
        ratings = int(counts.sum(dtype=np.int64))
        product = 2.0 * ratings * shape.triangle
        solution = rows * _solution_operations(shape) if solves else 0.0
        sums = 4.0 * parts * shape.triangle if kernel in ("part_rows", "joined_rows") else 0.0
        gathered = 4.0 * ratings * shape.stride
        moved = 8.0 * ratings + sums + (4.0 * rows * shape.unknowns if solves else 0.0)
        seconds = max(
            product / (ISSUED[shape.tile] * card.operations), gathered / card.gather, moved / card.memory
        )
        if solves:
            seconds += rows * _solution_seconds(shape, card)
        found.append(Work(kernel, rows, ratings, product + solution, gathered, moved, seconds))
    return found


def _solution_operations(shape: Shape) -> float:
    """Return the operations of a row's factorization and substitutions, padding included."""
    bands = -(-shape.unknowns // shape.tile)
    trailing = sum((shape.bands - p - 1) * (shape.bands - p) / 2 for p in range(bands))
    return 2.0 * shape.tile**3 * trailing + 2.0 * shape.unknowns * shape.width


def _solution_seconds(shape: Shape, card: Card) -> float:
    """Return the seconds that a row's solution takes of a card whose multiprocessors are full of rows."""
    resident = min(card.registers // (REGISTERS[shape.tile] * shape.group), card.threads // shape.group, 32)
    bands = -(-shape.unknowns // shape.tile)
    cycles = bands * (CYCLES_FORWARD[shape.tile] + CYCLES_BACK[shape.tile])
    waiting = cycles / card.clock / (card.multiprocessors * max(resident, 1))
    return max(waiting, _solution_operations(shape) / (ISSUED[shape.tile] * card.operations))


def iteration(sides: list[np.ndarray[Any, Any]], factors: int, card: Card = H200) -> dict[str, Work]:
    """Return the work of an iteration by kernel: both sides, with biases."""
    shape = Shape.of(factors, biased=True)
    if shape is None:
        raise ValueError(f"no block can hold a row of {factors} factors")
    whole: dict[str, Work] = {}
    for indptr in sides:
        for work in half_step(indptr, shape, card):
            before = whole.get(work.kernel)
            numbers = [getattr(work, name) for name in _NUMBERS]
            if before:
                numbers = [a + getattr(before, name) for a, name in zip(numbers, _NUMBERS, strict=True)]
            whole[work.kernel] = Work(work.kernel, *numbers)
    return whole


_NUMBERS = ("rows", "ratings", "operations", "gathered", "moved", "seconds")


def least_seconds(nnz: int, rows: int, factors: int, card: Card = H200) -> float:
    """Return what no exact solver goes below: half of each product and Cholesky, or the gather."""
    m = factors + 1
    operations = 2.0 * nnz * m * (m + 1) + rows * (m**3 / 3 + 2 * m**2)
    return max(operations / card.operations, 2 * 4.0 * nnz * m / card.gather)
