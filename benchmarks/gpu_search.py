"""Trials a minute on a GPU, and how much of the time the device computes.

    python benchmarks/gpu_search.py DATASET [--trials 500] [--backends cuda,cupy] [--gpu 0.25]
        [--concurrency 4] [--executors in-process,ray]
    python benchmarks/gpu_search.py --dry-run

DATASET is a directory that `walslab ingest` wrote, of MovieLens 20M or of `walslab synth`. All contestants
get the same configurations: random ones, of 8 to 64 factors, 15 iterations each, with early stopping. They
run in this process, one after the other, and on Ray Tune, several on a card by shares of it. For each: trials
a minute once under way, the share of the wall time that iterations take, and the share in which the device
was busy, as NVML samples it where it is installed. `--dry-run` goes the same way on the processor, with a few
trials on made-up ratings.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import statistics
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from toolkit.datasets import RatingsDataset  # noqa: E402 - found by the line above
from tune.search import create_study, run_study  # noqa: E402 - as above
from tune.spec import SearchSpec  # noqa: E402 - as above

SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "iterations": 15,
    "regularization": {"low": 0.1, "high": 2.0, "scale": "log"},
    "regularization_exponent": {"low": 0.3, "high": 0.8},
}


def main() -> None:
    """Print a line for each contestant."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        dataset = made_up(Path(folder)) if options.dry_run else options.dataset
        print("| backend | executor | at once | trials | trials / min | iterate | device busy |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for backend in options.backends:
            for executor in options.executors:
                line(options, RatingsDataset.open(dataset), backend, executor, Path(folder))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )

    def words(text: str) -> list[str]:
        return text.split(",")

    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--trials", type=int, default=500)
    parser.add_argument("--backends", type=words, default=["cuda", "cupy"])
    parser.add_argument("--executors", type=words, default=["in-process", "ray"])
    parser.add_argument("--gpu", type=float, default=0.25)
    parser.add_argument("--concurrency", type=int, default=4)
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if options.dry_run:
        options.trials, options.backends, options.executors, options.gpu = 4, ["numba"], ["in-process"], 0.0
    elif options.dataset is None:
        parser.error("DATASET is wanted, or --dry-run")
    return options


def made_up(folder: Path) -> str:
    """Return a small dataset."""
    from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
    from toolkit.synth import write_ratings

    made = write_ratings(folder / "ratings.csv", ratings=20_000, users=300, items=400)
    source = RatingsSource.detect([made.path])
    ingest_ratings(source, folder / "dataset", split=SplitRule(valid=0.1, test=0))
    return str(folder / "dataset")


def line(
    options: argparse.Namespace, data: RatingsDataset, backend: str, executor: str, folder: Path
) -> None:
    """Run a study and print its line."""
    at_once = 1 if executor == "in-process" else options.concurrency
    spec = SearchSpec.from_dict(
        {
            "space": SPACE,
            "sampler": "random",
            "trials": options.trials,
            "concurrency": at_once,
            "keep_factors": "none",
            "resources": {"cpu": 1, "gpu": options.gpu if at_once > 1 else min(options.gpu, 1.0)},
            "backend": backend,
        }
    )
    study = create_study(folder / f"{backend}-{executor}", data, spec)
    with Utilization() as busy:
        run_study(study, data, executor=executor)  # type: ignore[arg-type]
    in_time = sorted(study.trials(), key=lambda trial: trial["ended"])
    # Once every process is up: without what starts them, and the kernels of the first ranks.
    begun, rest = in_time[at_once - 1]["ended"], in_time[at_once:]
    wall = max(rest[-1]["ended"] - begun, 1e-9)
    iterate = sum(trial["seconds"] for trial in rest) / at_once / wall
    figures = [str(at_once), str(len(in_time)), f"{60 * len(rest) / wall:.1f}", f"{iterate:.0%}", busy.mean()]
    print(f"| {backend} | {executor} | {' | '.join(figures)} |", flush=True)


class Utilization:
    """Samples, while it is entered, in what share of the time a kernel ran on the first device."""

    def __init__(self) -> None:
        self._samples: list[float] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        if importlib.util.find_spec("pynvml") is None:
            return
        nvml: Any = importlib.import_module("pynvml")
        try:
            nvml.nvmlInit()
            device = nvml.nvmlDeviceGetHandleByIndex(0)
        except nvml.NVMLError:
            return
        while not self._over.wait(0.2):
            self._samples.append(float(nvml.nvmlDeviceGetUtilizationRates(device).gpu))

    def mean(self) -> str:
        """Return the mean share, or that it is not known."""
        return f"{statistics.mean(self._samples):.0f} %" if self._samples else "not known"


if __name__ == "__main__":
    began = time.perf_counter()
    main()
    print(f"\n{time.perf_counter() - began:.0f} s in all", file=sys.stderr)
