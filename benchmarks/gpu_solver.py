"""Milliseconds of one ALS iteration on a GPU: kernels of our own beside array operations, by rank and kernel.

    python benchmarks/gpu_solver.py [--ratings 20000263] [--ranks 16,34,64,128,256] [--rounds 5] [--implicit]
    python benchmarks/gpu_solver.py --crossover 100000,1000000,20000263 --ranks 16,64,128
    python benchmarks/gpu_solver.py --dry-run

The ratings are made up, of MovieLens 20M's shape. `cuda` are our kernels; `cupy` is the portable way. Both
train the same model, with biases. The device is warm; a time is the least of the rounds, by events on the
device. Beside it stand operations and bytes of the kernels a second, counted by `gpu_model.py`, as shares of
what a large matrix product and a large copy reach on the same card, measured here; and the time of each
kernel, alone. `--implicit` adds implicit's solver for GPUs, if its wheel runs.

`--crossover` takes numbers of ratings, and says who is fastest at each rank: Numba on all processors, arrays
of CuPy, or our kernels, as a table for docs/cuda.md.

`--dry-run` needs no device: it lays the ratings out, plans the launches and prints what they are predicted to
take. NumPy, SciPy and CuPy are all that this needs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_card import device_name, installed, measured_limits, timed  # noqa: E402 - found by the line above
from gpu_model import H200, iteration, least_seconds  # noqa: E402 - as above

from toolkit.backends import Backend, BackendName, CudaBackend  # noqa: E402 - as above
from toolkit.backends.cuda.shape import Shape  # noqa: E402 - as above
from toolkit.config import WALSConfig  # noqa: E402 - as above
from toolkit.solver import Trainer, TrainingData  # noqa: E402 - as above
from toolkit.synth import Recipe, movielens_counts  # noqa: E402 - as above
from toolkit.synth.chunk import make_chunk  # noqa: E402 - as above
from toolkit.synth.counts import ML20M_RATINGS  # noqa: E402 - as above
from toolkit.synth.plan import Plan  # noqa: E402 - as above


def main() -> None:
    """Print the tables."""
    options = arguments()
    if options.crossover:
        crossover(options)
        return
    by_user = made_up(options.ratings)
    by_item = by_user.T.tocsr()
    print(f"{by_user.nnz:,} made-up ratings, {by_user.shape[0]:,} × {by_user.shape[1]:,}\n")
    if options.dry_run:
        predicted(by_user, by_item, options.ranks)
        return
    limits = measured_limits()
    print(f"{device_name()}: product {limits[0] / 1e12:.1f} TFLOP/s, copy {limits[1] / 1e12:.2f} TB/s\n")
    print("| rank | contestant | ms / iteration | predicted | TFLOP/s | of product | TB/s | of copy |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    splits = {}
    for rank in options.ranks:
        for contestant in contestants(rank):
            seconds, by_kernel = measure(by_user, by_item, rank, contestant, options.rounds)
            tell(rank, contestant, seconds, limits, [by_user.indptr, by_item.indptr])
            if by_kernel:
                splits[rank, contestant] = by_kernel
        if options.implicit:
            print(
                f"| {rank} | implicit, conjugate gradient | {implicit_milliseconds(by_user, rank)} ||||||",
                flush=True,
            )
    print()
    print("| rank | contestant | kernel | launches | ms / iteration | share |")
    print("|---:|---|---|---:|---:|---:|")
    for (rank, contestant), by_kernel in splits.items():
        whole = sum(seconds for _, seconds in by_kernel.values())
        for name, (launches, seconds) in by_kernel.items():
            figures = f"{launches} | {1e3 * seconds:.3f} | {seconds / whole:.0%}"
            print(f"| {rank} | {contestant} | {name} | {figures} |")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ratings", type=int, default=ML20M_RATINGS)
    parser.add_argument(
        "--ranks", type=lambda text: [int(r) for r in text.split(",")], default=[16, 34, 64, 128, 256]
    )
    parser.add_argument("--crossover", type=lambda text: [int(n) for n in text.split(",")])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--implicit", action="store_true")
    parser.add_argument("--dry-run", action="store_true")
    return parser.parse_args()


def made_up(ratings: int) -> sp.csr_matrix:
    """Return made-up ratings by user, of the users and items of MovieLens 20M in proportion."""
    users, items = movielens_counts(ratings)
    plan = Plan(Recipe(ratings=ratings, users=users, items=items), seed=0)
    chunks = [make_chunk(plan, number) for number in range(len(plan.edges) - 1)]
    user, item, level = (np.concatenate([getattr(c, n) for c in chunks]) for n in ("user", "item", "level"))
    indptr = np.concatenate([[0], np.cumsum(np.bincount(user, minlength=users))])
    stars = plan.scale[level].astype(np.float32)
    return sp.csr_matrix((stars, item.astype(np.int32), indptr), shape=(users, items))


def predicted(by_user: sp.csr_matrix, by_item: sp.csr_matrix, ranks: list[int]) -> None:
    """Print what `gpu_model` makes of the launches."""
    sides, rows = [by_user.indptr, by_item.indptr], sum(by_user.shape)
    print(f"Predicted for an {H200.name}; nothing is measured.\n")
    print("| rank | kernel | rows | ratings | GFLOP | gathered, GB | other, GB | ms |")
    print("|---:|---|---:|---:|---:|---:|---:|---:|")
    for rank in ranks:
        works = iteration(sides, rank)
        for w in works.values():
            print(
                f"| {rank} | {w.kernel} | {w.rows:,} | {w.ratings:,} | {w.operations / 1e9:.0f} "
                f"| {w.gathered / 1e9:.2f} | {w.moved / 1e9:.2f} | {1e3 * w.seconds:.2f} |"
            )
        whole, least = sum(w.seconds for w in works.values()), least_seconds(by_user.nnz, rows, rank)
        print(f"| {rank} | **all** |||||| **{1e3 * whole:.1f}**, at least {1e3 * least:.1f} |")


def crossover(options: argparse.Namespace) -> None:
    """Print who is fastest, by number of ratings and rank."""
    print("| ratings | rank | numba, ms | cupy, ms | cuda, ms | fastest |\n|---:|---:|---:|---:|---:|---|")
    for ratings in options.crossover:
        by_user = made_up(ratings)
        by_item = by_user.T.tocsr()
        for rank in options.ranks:
            names: list[BackendName] = ["numba", *reversed(contestants(rank))]
            found = {name: measure(by_user, by_item, rank, name, options.rounds)[0] for name in names}
            figures = " | ".join(
                f"{1e3 * found[n]:.2f}" if n in found else "" for n in ("numba", "cupy", "cuda")
            )
            print(f"| {ratings:,} | {rank} | {figures} | {min(found, key=found.__getitem__)} |", flush=True)


def contestants(rank: int) -> list[BackendName]:
    """Return who runs at a rank on this card."""
    return ["cuda", "cupy"] if Shape.of(rank, biased=True) else ["cupy"]


def measure(
    by_user: sp.csr_matrix, by_item: sp.csr_matrix, rank: int, contestant: BackendName, rounds: int
) -> tuple[float, dict[str, tuple[int, float]]]:
    """Return the seconds of an iteration, and launches and seconds of each of our kernels."""
    backend = Backend.require(contestant)
    data = TrainingData(by_user, by_item, backend=backend)
    trainer = Trainer(data, WALSConfig(factors=rank, iterations=1000))
    trainer.step()
    seconds = min((timed_here if contestant == "numba" else timed)(trainer.step) for _ in range(rounds))
    if not isinstance(backend, CudaBackend):
        return seconds, {}
    watch = Stopwatch(backend.launch)
    for side in (data.users, data.items):
        # To look inside is what this is for.
        side.solver._launch = watch  # type: ignore[attr-defined] # noqa: SLF001
    trainer.step()
    return seconds, watch.read()


def timed_here(run: Any) -> float:
    """Return the seconds of a run on the processor."""
    began = time.perf_counter()
    run()
    return time.perf_counter() - began


class Stopwatch:
    """A launcher that times every launch of another."""

    def __init__(self, launch: Any) -> None:
        self._launch, self._event = launch, importlib.import_module("cupy").cuda.Event
        self.xp, self.multiprocessors = launch.xp, launch.multiprocessors
        self._seen: list[tuple[str, Any, Any]] = []

    def __call__(self, kernel: Any, *args: Any, **keywords: Any) -> None:
        """Launch, between two events."""
        begin, end = self._event(), self._event()
        begin.record()
        self._launch(kernel, *args, **keywords)
        end.record()
        self._seen.append((kernel.name, begin, end))

    def read(self) -> dict[str, tuple[int, float]]:
        """Return how often each kernel was launched, and its seconds."""
        cupy = importlib.import_module("cupy")
        cupy.cuda.Device().synchronize()
        found: dict[str, tuple[int, float]] = defaultdict(lambda: (0, 0.0))
        for name, begin, end in self._seen:
            launches, seconds = found[name]
            found[name] = launches + 1, seconds + float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3
        return dict(found)


def tell(
    rank: int,
    contestant: str,
    seconds: float,
    limits: tuple[float, float],
    sides: list[np.ndarray[Any, Any]],
) -> None:
    """Print a line; operations and bytes are those of our kernels, whoever runs."""
    if Shape.of(rank, biased=True) is None:
        print(f"| {rank} | {contestant} | {1e3 * seconds:.2f} ||||||", flush=True)
        return
    works = iteration(sides, rank).values()
    operations = sum(w.operations for w in works) / seconds
    moved = sum(w.gathered + w.moved for w in works) / seconds
    figures = [f"{1e3 * seconds:.2f}", f"{1e3 * sum(w.seconds for w in works):.2f}"]
    figures += [f"{operations / 1e12:.2f}", f"{operations / limits[0]:.0%}"]
    figures += [f"{moved / 1e12:.2f}", f"{moved / limits[1]:.0%}"]
    print(f"| {rank} | {contestant} | {' | '.join(figures)} |", flush=True)


def implicit_milliseconds(by_user: sp.csr_matrix, rank: int) -> str:
    """Return the time of an iteration of implicit's solver, by the difference of two fits, or an excuse.

    Its GPU solver does not apply alpha: ratings are multiplied beforehand, here by 1.
    """
    if not installed("implicit"):
        return "not installed"
    try:
        als = importlib.import_module("implicit.gpu.als")

        def fit(iterations: int) -> float:
            model = als.AlternatingLeastSquares(
                factors=rank, iterations=iterations, calculate_training_loss=False
            )
            began = time.perf_counter()
            model.fit(by_user, show_progress=False)
            return time.perf_counter() - began

        fit(1)
        return f"{100 * (fit(11) - fit(1)):.1f}"
    except Exception as error:  # noqa: BLE001 - a wheel for another CUDA raises anything, and ours go on
        return f"{type(error).__name__}: {error}".replace("\n", " ").replace("|", "/")[:80]


if __name__ == "__main__":
    main()
