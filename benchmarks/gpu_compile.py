"""Seconds that the kernels of a rank take to compile; then they are in CuPy's cache, for all who share it.

    python benchmarks/gpu_compile.py [--ranks 8-64,128,256] [--processes 16]

A search over many ranks compiles for each of them, once on a machine. `CUPY_CACHE_DIR` says where they are
kept. NumPy, SciPy and CuPy are all that this needs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_card import installed  # noqa: E402 - found by the line above

from toolkit.backends.cuda.kernels import compiled  # noqa: E402 - as above
from toolkit.backends.cuda.shape import Shape  # noqa: E402 - as above


def main() -> None:
    """Print the slowest ranks, and all together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=ranks_of, default=ranks_of("8-64,128,256"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args()
    began = time.perf_counter()
    # The largest first, as they take longest.
    ranks = sorted(options.ranks, reverse=True)
    if options.processes == 1 or not installed("cupy"):
        seconds = list(map(compile_rank, ranks))
    else:
        with ProcessPoolExecutor(options.processes, multiprocessing.get_context("spawn")) as pool:
            seconds = list(pool.map(compile_rank, ranks))
    wall = time.perf_counter() - began
    for rank, each in sorted(zip(ranks, seconds, strict=True), key=lambda pair: -pair[1])[:5]:
        print(f"rank {rank}: {each:.1f} s")
    print(f"{len(ranks)} ranks: {sum(seconds):.0f} s of compiling, {wall:.0f} s on the clock")


def ranks_of(text: str) -> list[int]:
    """Return the ranks that a text names, such as ``8-64,128``."""
    found: list[int] = []
    for part in text.split(","):
        low, _, high = part.partition("-")
        found += range(int(low), int(high or low) + 1)
    return found


def compile_rank(rank: int) -> float:
    """Compile the kernels of a rank, with biases, and return the seconds that it took."""
    began = time.perf_counter()
    shape, exact = Shape.of(rank, biased=True), Shape.of(rank, biased=True, exact=True)
    if shape and exact:
        for file, name, of in (
            ("table", "make_table", shape),
            ("table", "sum_parts", Shape.of_factors(rank)),
            ("metrics", "squared_errors", Shape.of_factors(rank)),
            ("rows", "whole_rows", shape),
            ("mend", "mend_rows", exact),
        ):
            compiled(file, name, of, "int", shared_bytes=0)
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
