"""The cost of an answer for one user, or one item, among very many items.

    python benchmarks/one_user.py [--items 100000] [--rank 64]

Each row is processor time in milliseconds on one thread, of the first call in a process and the least of the
next ten, and the most memory that a later call takes beside the model. The model is read from its files, as a
server reads it. Its ratings are made up: 20,000 users, a hundred ratings each, items with text ids.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

# One user's answer needs no second thread, and spinning ones would be counted.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

import numpy as np
import scipy.sparse as sp

from toolkit import WALS, Model, RunOptions

USERS, RATINGS = 20_000, 100


def main() -> None:
    """Print a row for each kind of answer."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder, "model"), options.items, options.rank)
        model = Model.load(Path(folder, "model"))
        row = model.rated[[5]]
        calls: dict[str, Callable[[], object]] = {
            "predict": lambda: model.predict(5, "item-9"),
            "fold_in": lambda: model.fold_in(row),
            "explain": lambda: model.explain(5, "item-17"),
            "recommend": lambda: model.recommend(5),
            "recommend(exclude_items=…)": lambda: model.recommend(5, exclude_items=["item-3"]),
            "recommend(items=…)": lambda: model.recommend(5, items=["item-3", "item-4"]),
            "similar_items": lambda: model.similar_items("item-9"),
        }
        print("| answer | first, ms | later, ms | memory, MB |\n|---|---:|---:|---:|")
        for name, call in calls.items():
            first, later = seconds(call), min(seconds(call) for _ in range(10))
            print(f"| `{name}` | {1e3 * first:.1f} | {1e3 * later:.1f} | {memory(call) / 1e6:.1f} |")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--rank", type=int, default=64)
    return parser.parse_args()


def train(path: Path, n_items: int, rank: int) -> None:
    """Write a model of made-up ratings, in which few items have most ratings."""
    rng = np.random.default_rng(0)
    users = np.repeat(np.arange(USERS), RATINGS)
    items = (n_items * rng.random(len(users)) ** 2).astype(np.int64)
    pairs = np.unique(users * n_items + items)
    ratings = rng.integers(1, 6, len(pairs)).astype(np.float64)
    matrix = sp.csr_matrix((ratings, (pairs // n_items, pairs % n_items)), shape=(USERS, n_items))
    ids = [f"item-{item}" for item in range(n_items)]
    WALS(options=RunOptions(threads=1), factors=rank, iterations=2).fit(matrix, item_ids=ids).save(path)


def seconds(call: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def memory(call: Callable[[], object]) -> int:
    """Return the most bytes that a call holds at once."""
    tracemalloc.start()
    call()
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


if __name__ == "__main__":
    main()
