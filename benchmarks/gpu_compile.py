"""Seconds that the kernels of a rank take to compile; then they are in CuPy's cache, for all who share it.

    python benchmarks/gpu_compile.py [--ranks 8-64,128,256] [--processes 16]
    python benchmarks/gpu_compile.py --ranks 34,64,128,256 --no-device

A search over many ranks compiles for each of them, once on a machine. `CUPY_CACHE_DIR` says where they are
kept. NumPy, SciPy and CuPy are all that this needs. `--no-device` compiles for an H200 by NVRTC alone, and
keeps nothing; its seconds are of the processor.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_card import installed  # noqa: E402 - found by the line above

from toolkit.backends.cuda.kernels import OPTIONS, compiled, defines_of, source  # noqa: E402 - as above
from toolkit.backends.cuda.shape import Shape  # noqa: E402 - as above


def main() -> None:
    """Print the slowest ranks, and all together."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--ranks", type=ranks_of, default=ranks_of("8-64,128,256"))
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--no-device", action="store_true")
    options = parser.parse_args()
    began = time.perf_counter()
    # The largest first, as they take longest.
    ranks = sorted(options.ranks, reverse=True)
    if options.no_device:
        seconds = list(map(compile_without_device, ranks))
    elif options.processes == 1 or not installed("cupy"):
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


def files_of(rank: int) -> list[tuple[str, str, Shape]]:
    """Return file, kernel and tiles of each module that a training of a rank with biases compiles."""
    shape, exact = Shape.of(rank, biased=True), Shape.of(rank, biased=True, exact=True)
    if shape is None or exact is None:
        return []
    factors = Shape.of_factors(rank)
    return [
        ("table", "make_table", shape),
        ("table", "sum_parts", factors),
        ("metrics", "squared_errors", factors),
        ("rows", "whole_rows", shape),
        ("mend", "mend_rows", exact),
    ]


def compile_rank(rank: int) -> float:
    """Compile the kernels of a rank, and return the seconds that it took."""
    began = time.perf_counter()
    for file, name, shape in files_of(rank):
        compiled(file, name, shape, "int", shared_bytes=0)
    return time.perf_counter() - began


def compile_without_device(rank: int) -> float:
    """Compile the kernels of a rank for sm_90, and return the seconds of the processor that it took."""
    sys.path.append(str(ROOT / "tests"))
    nvrtc = importlib.import_module("nvrtc")
    library, began = nvrtc.library(), time.process_time()
    for file, _, shape in files_of(rank):
        nvrtc.compile_kernels(library, source(file, defines_of(shape, "int")), 90, OPTIONS)
    return time.process_time() - began


if __name__ == "__main__":
    main()
