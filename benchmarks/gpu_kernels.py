"""Every CUDA kernel on small ratings: its results beside NumPy's in float64, and its bits when run again.

    python benchmarks/gpu_kernels.py [--ranks 5,34,64,128,256] [--own-allocations]
    compute-sanitizer --tool memcheck python benchmarks/gpu_kernels.py --ranks 34 --own-allocations

With `--own-allocations`, each array is an allocation of its own, so that a checker of memory sees where one
ends. The script ends with 1 where a number is off, where a second run gives other bits, or where a kernel was
not launched. NumPy, SciPy and CuPy are all that it needs.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from toolkit.backends import Backend, CudaBackend  # noqa: E402 - found by the line above
from toolkit.config import WALSConfig  # noqa: E402 - as above
from toolkit.predictor import Predictor, Side  # noqa: E402 - as above
from toolkit.solver import Prior, half_step, observation_weights, perturbed, solve  # noqa: E402 - as above

KERNELS = {
    *("make_table", "sum_weights", "sum_parts", "join_sums", "part_rows", "joined_rows", "whole_rows"),
    *("short_rows", "mend_rows", "squared_errors", "join_blocks"),
}
# Rows in parts, whole rows, and short ones, of which some have fewer ratings than unknowns.
LENGTHS = (5000, 2049, 2048, 700, 130, 97, 96, 95, 64, 33, 32, 31, 17, 16, 9, 8, 7, 3, 2, 1, 0)
WEIGHTED = {
    "regularization": 0.5,
    "regularization_exponent": 0.4,
    "observed_weight": 2.0,
    "weight_exponent": 0.5,
}


@dataclass(frozen=True)
class Case:
    """Hyperparameters beside the rank, whose weight the ratings have, and what else is new about the case.

    The tolerance is of a row's largest number; docs/cuda.md promises the one that is not given.
    """

    name: str
    config: dict[str, Any]
    by: str = "column"
    column: type = np.int32
    drawn: bool = False
    tolerance: float = 5e-6


CASES = (
    Case("weights of columns", {**WEIGHTED, "unobserved_weight": 0.15, "pattern_weight": 0.3}),
    Case("weights of rows", {**WEIGHTED, "unobserved_weight": 0.15, "pattern_weight": 0.3}, by="row"),
    # Rows of a few ratings more than unknowns are nearly singular without a penalty.
    Case(
        "mended rows",
        {"regularization": 1e-7, "regularization_exponent": 0.0, "pattern_weight": 0.0},
        tolerance=1e-4,
    ),
    Case("64-bit columns, no biases", {**WEIGHTED, "bias": "none", "pattern_weight": 0.0}, column=np.int64),
    Case("a draw", {"observed_weight": 2.0, "weight_exponent": 0.5, "pattern_weight": 0.0}, drawn=True),
)


class Recorder:
    """A launcher that remembers which kernels another one launched."""

    def __init__(self, launch: Any) -> None:
        self._launch, self.xp, self.multiprocessors = launch, launch.xp, launch.multiprocessors
        self.names: set[str] = set()

    def __call__(self, kernel: Any, *args: Any, **keywords: Any) -> None:
        """Launch."""
        self.names.add(kernel.name)
        self._launch(kernel, *args, **keywords)


def main() -> int:
    """Print a line for each rank and case; return 1 where something is wrong."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--ranks", type=lambda text: [int(r) for r in text.split(",")], default=[5, 34, 64, 128, 256]
    )
    parser.add_argument("--own-allocations", action="store_true")
    options = parser.parse_args()
    if options.own_allocations:
        importlib.import_module("cupy").cuda.set_allocator(None)
    device = Backend.require("cuda")
    assert isinstance(device, CudaBackend)  # noqa: S101 - by its name
    device.launch = recorder = Recorder(device.launch)
    print("| rank | case | off by, of a row's largest number | same bits | |")
    print("|---:|---|---:|---|---|")
    wrong = 0
    for rank in options.ranks:
        for case in CASES:
            # Other kernels, whose compilation takes seconds.
            if case.column is np.int64 and rank != min(options.ranks):
                continue
            first, again = (solved(device, rank, case, "float32") for _ in range(2))
            expected = solved(Backend.require("numpy", 1), rank, case, "float64")
            off = [error(a, e) for a, e in zip(first, expected, strict=True)]
            same = all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
            good = max(off) <= case.tolerance and same
            wrong += not good
            figures = f"{off[0]:.1e}, errors {off[1]:.1e}"
            print(f"| {rank} | {case.name} | {figures} | {same} | {'' if good else 'WRONG'} |", flush=True)
    missing = sorted(KERNELS - recorder.names)
    print(f"kernels launched: {len(recorder.names)} of {len(KERNELS)}" + f"; not {missing}" * bool(missing))
    print("WRONG" if wrong or missing else "all right")
    return int(wrong > 0 or bool(missing))


def solved(backend: Backend, rank: int, case: Case, dtype: str) -> tuple[np.ndarray[Any, Any], ...]:
    """Return the unknowns of every row, and the sum of squared errors of their predictions."""
    rng = np.random.default_rng(rank)
    matrix, config = ratings(rng, case.column), WALSConfig(factors=rank, **case.config)
    n, m = matrix.shape[1], rank + (config.bias == "full")
    # What both are given is rounded to single precision: only what they make of it differs.
    table, bias, pattern = (
        (rng.standard_normal(shape) / np.sqrt(rank)).astype(np.float32) for shape in ((n, rank), n, (n, rank))
    )
    counts = np.diff(matrix.indptr if case.by == "row" else matrix.tocsc().indptr)
    weight = observation_weights(counts, config).astype(np.float32)
    rows = backend.rows(matrix, dtype)
    step = half_step(
        rows,
        backend.side(Side(table, bias * (config.bias == "full")), dtype),
        backend=backend,
        config=config,
        mean=3.0 if config.bias == "full" else 0.0,
        spread=1.0,
        **{f"{case.by}_weight": backend.asarray(weight, dtype)},
        pattern=backend.asarray(pattern, dtype) if config.pattern_weight else None,
        prior=Prior.of(rng.standard_normal(m) / 10, 3 * np.eye(m)) if case.drawn else None,
    )
    if case.drawn:
        step = perturbed(step, 0.8, (rank,), backend=ByHand(backend))
    found = solve(step, backend=backend)
    users = np.repeat(np.arange(len(counts_of := rows.host_counts), dtype=np.int32), counts_of)
    pairs = (backend.asarray(users), rows.columns, rows.values)
    squares = backend.squared_errors(Predictor(found, step.fixed, 3.0, scale=(0.5, 5.0)), *pairs)
    unknowns = np.column_stack([backend.to_numpy(found.factors), backend.to_numpy(found.bias)])
    return unknowns, np.array([[squares]])


class ByHand:
    """A backend whose random numbers are NumPy's, so that every backend draws the same."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def normals(self, key: tuple[int, ...], shape: tuple[int, ...], dtype: str) -> Any:
        """Return standard normal numbers of single precision."""
        drawn = np.random.default_rng(key).standard_normal(shape, np.float32)
        return self._backend.asarray(drawn, dtype)


def ratings(rng: np.random.Generator, column: type) -> sp.csr_matrix:
    """Return ratings with so many in each row."""
    indptr = np.concatenate([[0], np.cumsum(LENGTHS)])
    columns = max(LENGTHS) + 200
    indices = np.concatenate([np.sort(rng.choice(columns, n, replace=False)) for n in LENGTHS])
    values = rng.integers(1, 11, indptr[-1]).astype(np.float32) / 2
    matrix = sp.csr_matrix((values, indices, indptr), shape=(len(LENGTHS), columns))
    # SciPy chooses the type of the indices itself.
    matrix.indices = indices.astype(column)
    return matrix


def error(found: np.ndarray[Any, Any], expected: np.ndarray[Any, Any]) -> float:
    """Return the largest error, each beside the largest number of its row; infinite for what is no number."""
    scale = np.maximum(np.abs(expected).max(axis=1, keepdims=True), 1e-30)
    worst = float((np.abs(found - expected) / scale).max())
    return worst if np.isfinite(worst) else np.inf


if __name__ == "__main__":
    sys.exit(main())
