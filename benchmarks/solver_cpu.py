"""Seconds of one ALS iteration on a CPU, beside implicit and cmfrec, and how they grow.

    python benchmarks/solver_cpu.py [--ratings 5M,20M] [--ranks 16,34,64,128] [--rounds 3] [--ml-1m FILE]
        [--busy] [--approximate]

Made-up ratings of MovieLens's shape, by `walslab synth`. Every contestant solves both sides once, in turn
within each round, on the same number of threads; a ratio is the median of the rounds' own ratios. All are at
the same rank: our biases are one unknown more. implicit solves its problem of that size: by
its exact solver, and by its conjugate gradient with 3 steps. cmfrec does not show iterations: its
time is that of a fit of 3 less that of a fit of 1, halved. The peers need the dependency group `bench`.

"walslab" is what `solver: auto` takes at that rank. Two more tables say what pattern factors add to an
iteration, and what threads bring. `--busy` keeps one core busy beside all of it. Processor time is that of
this process; on a shared machine it is steadier than the clock.
"""

from __future__ import annotations

import os

# Before NumPy is loaded: every contestant has its own threads, and BLAS none beside them.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import contextlib
import importlib.util
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp  # noqa: TC002 - read by people, in signatures

from toolkit.backends import Backend
from toolkit.config import WALSConfig
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.processors import usable_processors
from toolkit.solver import Trainer, TrainingData
from toolkit.synth import write_ratings

_SCALE = {"k": 1_000, "M": 1_000_000}


class Times(NamedTuple):
    """Seconds by the clock, and of the processors."""

    wall: float
    processor: float


Contestants = dict[str, Callable[[], Times]]


def main() -> None:
    """Print a table per set of ratings, and one of threads."""
    options = arguments()
    with busy_core() if options.busy else contextlib.nullcontext():
        measure(options)


def measure(options: argparse.Namespace) -> None:
    """Print all tables."""
    threads = usable_processors()
    print(
        f"{threads} threads; matrix product of this machine: {product_rate(threads):.0f} GFLOP/s in float32\n"
    )
    sets: dict[str, sp.csr_matrix] = {}
    if options.ml_1m:
        sets["MovieLens 1M"] = ingested(options.ml_1m)
    for size in options.ratings:
        sets[f"{size} made-up ratings"] = made_up(size)
    for name, matrix in sets.items():
        print(f"### {name}: {matrix.nnz:,} ratings, {matrix.shape[0]:,} × {matrix.shape[1]:,}\n", flush=True)
        print("| rank | contestant | s, min | median | processor s, min | walslab ÷ it | in processor s |")
        print("|---|---|---|---|---|---|---|")
        for rank in options.ranks:
            contest(matrix, rank, threads, options)
        print(flush=True)
    first = next(iter(sets.values()))
    with_pattern(first, threads, options.rounds)
    grow_with_threads(first, threads, options.rounds)


@contextlib.contextmanager
def busy_core() -> Iterator[None]:
    """Keep a core busy by a process that ends when this one does."""
    spin = "import os\nparent = os.getppid()\nwhile os.getppid() == parent:\n    sum(range(1_000_000))"
    with subprocess.Popen([sys.executable, "-c", spin]) as process:
        try:
            yield
        finally:
            process.terminate()


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=lambda text: text.split(",") if text else [], default=["5M", "20M"])
    parser.add_argument(
        "--ranks", type=lambda text: [int(r) for r in text.split(",") if r], default=[16, 34, 64, 128]
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ml-1m", type=Path)
    parser.add_argument("--busy", action="store_true")
    parser.add_argument("--approximate", action="store_true", help="only peers that solve approximately")
    return parser.parse_args()


def ingested(path: Path) -> sp.csr_matrix:
    """Return all ratings of a file, by user and item."""
    with tempfile.TemporaryDirectory() as folder:
        source = RatingsSource.detect([path])
        return ingest_ratings(source, Path(folder, "data"), split=SplitRule(valid=0, test=0)).train


def made_up(size: str) -> sp.csr_matrix:
    """Return so many made-up ratings, of the users and items of MovieLens 20M in proportion."""
    n = int(float(size[:-1]) * _SCALE[size[-1]])
    with tempfile.TemporaryDirectory() as folder:
        made = write_ratings(
            Path(folder, "r.csv"), ratings=n, users=max(1, n * 138_493 // 20_000_263), items=26_744
        )
        return ingested(made.path)


def contestants_of(matrix: sp.csr_matrix, rank: int, threads: int) -> Contestants:
    """Return who does an iteration at a rank; who takes minutes for it is left out."""
    small, middling = matrix.nnz <= 2e6, matrix.nnz <= 6e6
    contestants: Contestants = {"walslab": ours(matrix, rank, "numba", threads)}
    if rank <= 128:
        contestants["walslab, exact"] = ours(matrix, rank, "numba", threads, solver="exact")
    if middling and rank <= 64:
        contestants["walslab, NumPy alone"] = ours(matrix, rank, "numpy", threads)
    if importlib.util.find_spec("implicit"):
        contestants["implicit, 3 steps of CG"] = implicit(matrix, rank, threads, cg=True)
        if middling and rank <= 64:
            contestants["implicit, exact"] = implicit(matrix, rank, threads, cg=False)
    if small and importlib.util.find_spec("cmfrec"):
        contestants["cmfrec, CG"] = cmfrec(matrix, rank, threads, cg=True)
        if rank <= 64:
            contestants["cmfrec, exact"] = cmfrec(matrix, rank, threads, cg=False)
    return contestants


def contest(matrix: sp.csr_matrix, rank: int, threads: int, options: argparse.Namespace) -> None:
    """Print the lines of one rank."""
    contestants = contestants_of(matrix, rank, threads)
    if options.approximate:
        contestants = {name: run for name, run in contestants.items() if "CG" in name or name == "walslab"}
    seconds: dict[str, list[Times]] = {name: [] for name in contestants}
    for number in range(options.rounds + 1):
        for name, run in contestants.items():
            took = run()
            # The first is to load code and fill caches.
            if number:
                seconds[name].append(took)
            print(f"rank {rank} round {number}: {name} {took.wall:.3f} s", file=sys.stderr)
    for name, took in seconds.items():
        own = name == "walslab"
        ratios = ("", "") if own else (f"{quotient(seconds['walslab'], took, at):.2f}" for at in (0, 1))
        walls, processor = ([times[at] for times in took] for at in (0, 1))
        figures = (f"{figure:.3f}" for figure in (min(walls), statistics.median(walls), min(processor)))
        print(f"| {rank} | {name} | {' | '.join((*figures, *ratios))} |", flush=True)


def quotient(first: list[Times], second: list[Times], at: int) -> float:
    """Return the median over rounds of one's time by the other's: wall (0) or processor (1)."""
    return statistics.median(a[at] / b[at] for a, b in zip(first, second, strict=True))


def ours(
    matrix: sp.csr_matrix,
    rank: int,
    backend: Any,
    threads: int,
    *,
    solver: Any = "auto",
    pattern: float = 0.0,
) -> Callable[[], Times]:
    """Return what does one of our iterations, with biases."""
    data = TrainingData(matrix, backend=Backend.require(backend, threads))
    # None of them is the last, whose users are solved exactly whatever the solver.
    config = WALSConfig(factors=rank, iterations=10_000, pattern_weight=pattern)
    return timed(Trainer(data, config, solver=solver).step)


def implicit(matrix: sp.csr_matrix, rank: int, threads: int, *, cg: bool) -> Callable[[], Times]:
    """Return what does one iteration of implicit's own loop."""
    from implicit.cpu import _als

    users, items = matrix.astype(np.float32), matrix.T.tocsr().astype(np.float32)
    rng = np.random.default_rng(0)
    x, y = (rng.random((n, rank), dtype=np.float32) * 0.01 for n in matrix.shape)

    def step() -> None:
        for rows, out, fixed in ((users, x, y), (items, y, x)):
            arrays = (rows.indptr, rows.indices, rows.data)
            if cg:
                _als._least_squares_cg(*arrays, out, fixed, 0.1, num_threads=threads, cg_steps=3)  # noqa: SLF001
            else:
                gram = fixed.T @ fixed
                _als._least_squares(gram, *arrays, out, fixed, 0.1, num_threads=threads)  # noqa: SLF001

    return timed(step)


def cmfrec(matrix: sp.csr_matrix, rank: int, threads: int, *, cg: bool) -> Callable[[], Times]:
    """Return what measures one iteration of cmfrec's explicit model with biases."""
    from cmfrec import CMF

    triples = matrix.tocoo()

    def fit(iterations: int) -> Times:
        model = CMF(
            k=rank,
            lambda_=5.0,
            niter=iterations,
            use_cg=cg,
            finalize_chol=False,
            nthreads=threads,
            verbose=False,
        )
        return timed(lambda: model.fit(triples))()

    return lambda: Times(*((three - one) / 2 for three, one in zip(fit(3), fit(1), strict=True)))


def timed(run: Callable[[], Any]) -> Callable[[], Times]:
    """Return what runs and says how long it took."""

    def clocked() -> Times:
        began = time.perf_counter(), time.process_time()
        run()
        return Times(time.perf_counter() - began[0], time.process_time() - began[1])

    return clocked


def product_rate(threads: int) -> float:
    """Return the float32 rate of a large matrix product, in GFLOP/s, on as many threads as are measured."""
    from threadpoolctl import threadpool_limits

    a = np.random.default_rng(0).standard_normal((3000, 3000), dtype=np.float32)
    with threadpool_limits(threads, user_api="blas"):
        best = min(timed(lambda: a @ a)().wall for _ in range(4))
    return 2 * 3000**3 / best / 1e9


def with_pattern(matrix: sp.csr_matrix, threads: int, rounds: int) -> None:
    """Print what pattern factors add to an iteration."""
    print("| rank | solver | s without pattern factors, min | with them | with ÷ without | in processor s |")
    print("|---|---|---|---|---|---|")
    for rank, solver in ((42, "exact"), (42, "cg"), (128, "cg")):
        steps = [ours(matrix, rank, "numba", threads, solver=solver, pattern=w) for w in (0.0, 0.6)]
        took = [[step() for step in steps] for _ in range(2 + 3 * rounds)][2:]
        without, beside = ([times[at] for times in took] for at in (0, 1))
        walls = (f"{min(times.wall for times in each):.3f}" for each in (without, beside))
        ratios = (f"{quotient(beside, without, at):.2f}" for at in (0, 1))
        print(f"| {rank} | {solver} | {' | '.join((*walls, *ratios))} |", flush=True)
    print()


def grow_with_threads(matrix: sp.csr_matrix, threads: int, rounds: int) -> None:
    """Print what more threads bring."""
    print("| threads | s / iteration at rank 64, min |\n|---|---|")
    for n in range(1, threads + 1):
        step = ours(matrix, 64, "numba", n)
        print(f"| {n} | {min(step().wall for _ in range(rounds + 1)):.3f} |")


if __name__ == "__main__":
    main()
