"""The formulas of scale_model beside this machine: 2 million ratings, predicted and found."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scale_cells import number, size, table
from scale_model import TEXT_BYTES, Shape, cpu_seconds, disk_bytes, host_bytes

from toolkit.backends import Backend
from toolkit.config import WALSConfig
from toolkit.datasets import RatingsDataset
from toolkit.evaluation import pairs_on, rank, rmse
from toolkit.ingest import RatingsSource, ingest_ratings
from toolkit.ingest.shards import SHARD_RATINGS
from toolkit.solver import Trainer, TrainingData
from toolkit.synth import movielens_counts, write_ratings

N_RATINGS, RANK = 2_000_000, 64


def check() -> None:
    """Make 2 million ratings, and print what is predicted of them beside what is found."""
    with tempfile.TemporaryDirectory() as folder:
        users, items = movielens_counts(N_RATINGS)
        made = write_ratings(Path(folder, "r.csv"), ratings=N_RATINGS, users=users, items=items)
        source = RatingsSource.detect([made.path])
        data = ingest_ratings(source, Path(folder, "data"))
        shape = Shape(data.counts["ratings"], data.n_users, data.n_items)
        print(sizes(shape, Path(made.path), data), "\n")
        print(times(data), "\n")
        print(pieces_by_shard(shape, source, Path(folder)))


def sizes(shape: Shape, text: Path, data: RatingsDataset) -> str:
    """Return the bytes on disk and in memory."""
    found = {
        "text": (TEXT_BYTES * shape.ratings, text.stat().st_size),
        "dataset": (disk_bytes(shape), sum(entry["bytes"] for entry in data.manifest["files"])),
        "ratings held": (
            host_bytes(shape),
            sum(map(bytes_of, (data.train, data.train_by_item, data.valid))),
        ),
    }
    rows = [[name, size(a), size(b), f"{a / b:.3f}"] for name, (a, b) in found.items()]
    return table(["2M ratings", "predicted", "found", "predicted ÷ found"], rows)


def times(data: RatingsDataset) -> str:
    """Return the seconds of an iteration, with what a study has beside it, and the rate of ranking."""
    backend = Backend.require("numba")
    training = TrainingData(data.train, data.train_by_item, backend=backend)
    pairs = pairs_on(backend, data.valid)
    took: dict[str, list[float]] = {"an iteration": [], "with pattern factors": [], "and errors": []}
    trainers = [Trainer(training, WALSConfig(factors=RANK, pattern_weight=w)) for w in (0, 1)]

    def errors() -> None:
        trainers[1].train_rmse()
        rmse(trainers[1].factors, *pairs, backend)

    for _ in range(6):
        for name, trainer in zip(took, trainers, strict=False):
            took[name].append(_seconds(trainer.step))
        took["and errors"].append(took["with pattern factors"][-1] + _seconds(errors))
    best = {name: min(seconds[2:]) for name, seconds in took.items()}
    predicted = cpu_seconds(training.nnz, data.n_users + data.n_items, RANK, backend.threads)
    rows = [[name, f"{s:.3f}", f"{s / best['an iteration']:.2f}"] for name, s in best.items()]
    rows.insert(0, ["predicted", f"{predicted:.3f}", f"{predicted / best['an iteration']:.2f}"])

    ranked = int(np.count_nonzero(np.diff(data.valid.tocsr().indptr)))
    factors = trainers[1].host_factors()
    seconds = _seconds(lambda: rank(factors, data.valid, seen=[data.train], backend=backend))
    return (
        table([f"rank {RANK}, {backend.threads} threads", "s", "÷ an iteration"], rows)
        + f"\n\n{ranked * data.n_items / seconds:.3g} scores a second ranked"
    )


def pieces_by_shard(shape: Shape, source: RatingsSource, folder: Path) -> str:
    """Return the processor seconds of an ingest in shards of several sizes."""
    rows = []
    runs = sum(file.expanded_size() for file in source.files) / (4 << 20)
    for shard in (SHARD_RATINGS, 8192, 4096, 2048):
        began = time.process_time()
        ingest_ratings(source, folder / f"data-{shard}", shard_ratings=shard)
        pieces = shape.ratings / shard * (runs + shape.train / shard)
        rows.append([f"{shard:,}", f"{time.process_time() - began:.2f}", number(pieces)])
    return table(["ratings a shard", "processor s", "pieces"], rows)


def bytes_of(matrix: Any) -> int:
    """Return the bytes of the arrays of a sparse matrix."""
    names = ("data", "indices", "indptr", "row", "col")
    return sum(getattr(matrix, name).nbytes for name in names if hasattr(matrix, name))


def _seconds(run: Callable[[], Any]) -> float:
    began = time.perf_counter()
    run()
    return time.perf_counter() - began
