"""Milliseconds of one ALS iteration on a GPU: kernels of our own beside array operations, by rank and kernel.

    python benchmarks/gpu_solver.py [--ratings 20000263] [--ranks 16,34,64,128,256] [--rounds 5] [--implicit]
    python benchmarks/gpu_solver.py --dry-run

The ratings are made up, of MovieLens 20M's shape. `cuda` are our kernels; `cupy` is the portable way. Both
train the same model, with biases. The device is warm; a time is the least of the rounds, by events on the
device. Beside it stand operations and bytes of the kernels a second, counted by `gpu_model.py`, as shares of
what a large matrix product and a large copy reach on the same card, measured here; and the time of each
kernel, alone. `--implicit` adds implicit's solver for GPUs, if its wheel runs.

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

from gpu_model import H200, iteration, least_seconds  # noqa: E402 - found by the line above

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
            milliseconds = 1e3 * implicit_seconds(by_user, rank)
            print(f"| {rank} | implicit, conjugate gradient | {milliseconds:.1f} |||||||")
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
    seconds = min(timed(trainer.step) for _ in range(rounds))
    if not isinstance(backend, CudaBackend):
        return seconds, {}
    watch = Stopwatch(backend.launch)
    for side in (data.users, data.items):
        # To look inside is what this is for.
        side.solver._launch = watch  # type: ignore[attr-defined] # noqa: SLF001
    trainer.step()
    return seconds, watch.read()


def timed(run: Any) -> float:
    """Return the seconds between events on the device before and after a run."""
    cupy = importlib.import_module("cupy")
    begin, end = cupy.cuda.Event(), cupy.cuda.Event()
    begin.record()
    run()
    end.record()
    end.synchronize()
    return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3


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


def measured_limits() -> tuple[float, float]:
    """Return operations a second of a large float32 product, and bytes a second of a large copy."""
    cupy = importlib.import_module("cupy")
    a = cupy.ones((8192, 8192), cupy.float32)
    source = cupy.ones(1 << 29, cupy.float32)
    target = cupy.empty_like(source)
    product = min(timed(lambda: a @ a) for _ in range(5))
    copy = min(timed(lambda: cupy.copyto(target, source)) for _ in range(5))
    return 2 * 8192**3 / product, 2 * source.nbytes / copy


def device_name() -> str:
    """Return the name of the device."""
    cupy = importlib.import_module("cupy")
    return str(cupy.cuda.runtime.getDeviceProperties(cupy.cuda.Device().id)["name"].decode())


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


def implicit_seconds(by_user: sp.csr_matrix, rank: int) -> float:
    """Return the seconds of an iteration of implicit's solver, by the difference of two fits.

    Its GPU solver does not apply alpha: the ratings are multiplied beforehand, here by 1.
    """
    als = importlib.import_module("implicit.gpu.als")

    def fit(iterations: int) -> float:
        model = als.AlternatingLeastSquares(
            factors=rank, iterations=iterations, calculate_training_loss=False
        )
        began = time.perf_counter()
        model.fit(by_user, show_progress=False)
        return time.perf_counter() - began

    fit(1)
    return (fit(11) - fit(1)) / 10


if __name__ == "__main__":
    main()
