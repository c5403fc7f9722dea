"""Trials a minute on a GPU, and how much of the time the device computes.

    python benchmarks/gpu_search.py DATASET [--trials 500] [--backends cuda,cupy] [--gpu 0.25]
        [--concurrency 4] [--executors in-process,ray]
    python benchmarks/gpu_search.py --made-up 20000263 [--executors trainers] [--seconds 60] [--factors 8-64]
    python benchmarks/gpu_search.py --dry-run

DATASET is a directory that `walslab ingest` wrote, of MovieLens 20M or of `walslab synth`. All contestants
get the same configurations: random ones, of 8 to 64 factors, 15 iterations each, with early stopping. They
run in this process, one after the other, and on Ray Tune, several on a card by shares of it. For each: trials
a minute once under way, the share of the wall time that iterations take, and the share in which the device
was busy, as NVML samples it where it is installed. `--dry-run` goes the same way on the processor, with a few
trials on made-up ratings.

`trainers` are the trainings alone, without a study: what a trial does on its device, where nothing but NumPy,
SciPy and CuPy is installed. They take ratings that are made up in memory, and stop after `--seconds`. The
other executors get a dataset of such ratings where no DATASET is given.
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

import numpy as np
import scipy.sparse as sp

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

from gpu_solver import made_up as made_up_in_memory  # noqa: E402 - found by the line above

from toolkit.backends import Backend, device_share  # noqa: E402 - as above
from toolkit.config import WALSConfig  # noqa: E402 - as above
from toolkit.evaluation import pairs_on, rmse  # noqa: E402 - as above
from toolkit.solver import Trainer, TrainingData, stopping  # noqa: E402 - as above

SPACE: dict[str, Any] = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "iterations": 15,
    "regularization": {"low": 0.1, "high": 2.0, "scale": "log"},
    "regularization_exponent": {"low": 0.3, "high": 0.8},
}


_PATIENCE = 3


def main() -> None:
    """Print a line for each contestant."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        alone = "trainers" in options.executors
        split = split_in_memory(options.made_up) if alone else None
        dataset = options.dataset
        if dataset is None and options.executors != ["trainers"]:
            dataset = made_up(Path(folder), options.made_up)
        print("| backend | executor | at once | trials | trials / min | iterate | device busy |")
        print("|---|---|---:|---:|---:|---:|---:|")
        for backend in options.backends:
            for executor in options.executors:
                if executor == "trainers":
                    trainers_line(options, *split, backend)
                else:
                    line(options, dataset, backend, executor, Path(folder))


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
    parser.add_argument("--made-up", type=int)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--factors", type=lambda text: tuple(map(int, text.split("-"))))
    parser.add_argument("--dry-run", action="store_true")
    options = parser.parse_args()
    if options.factors:
        SPACE["factors"] |= dict(zip(("low", "high"), options.factors, strict=True))
    if options.dry_run:
        options.trials, options.backends, options.executors, options.gpu = 4, ["numba"], ["in-process"], 0.0
        options.made_up = 20_000
    elif not options.made_up and (options.dataset is None or "trainers" in options.executors):
        parser.error("DATASET is wanted, or --made-up, or --dry-run")
    return options


def made_up(folder: Path, ratings: int) -> str:
    """Return a dataset of made-up ratings."""
    from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
    from toolkit.synth import movielens_counts, write_ratings

    users, items = movielens_counts(ratings)
    made = write_ratings(folder / "ratings.csv", ratings=ratings, users=users, items=items)
    source = RatingsSource.detect([made.path])
    ingest_ratings(source, folder / "dataset", split=SplitRule(valid=0.1, test=0))
    return str(folder / "dataset")


def split_in_memory(ratings: int) -> tuple[Any, Any]:
    """Return made-up ratings by user, and a tenth of them that no trial trains on."""
    whole = made_up_in_memory(ratings).tocoo()
    held_out = np.random.default_rng(0).random(whole.nnz) < 0.1
    train, valid = (
        sp.coo_matrix((whole.data[part], (whole.row[part], whole.col[part])), whole.shape)
        for part in (~held_out, held_out)
    )
    return train.tocsr(), valid


def trainers_line(options: argparse.Namespace, train: Any, valid: Any, backend_name: Any) -> None:
    """Train one configuration after the other and print the line."""
    backend = Backend.require(backend_name)
    share = device_share(backend, 1.0)
    data = TrainingData(train, backend=backend)
    pairs = pairs_on(backend, valid)
    rng = np.random.default_rng(0)
    done, iterate, began = 0, 0.0, 0.0
    with Utilization() as busy:
        # The first trial compiles what is the same for all ranks, and is not counted.
        for trial in range(options.trials + 1):
            began = time.perf_counter() if trial == 1 else began
            if trial > 1 and time.perf_counter() - began > options.seconds:
                break
            config = random_config(rng)
            trainer, errors = Trainer(data, config), []
            for _ in range(config.iterations):
                before = time.perf_counter()
                trainer.step()
                iterate += (time.perf_counter() - before) * (trial > 0)
                errors.append(rmse(trainer.factors, *pairs, backend) or 0.0)
                trainer.train_rmse()
                if stopping.stalled(errors, _PATIENCE):
                    break
            done = trial
            if share:
                share.release()
    wall = max(time.perf_counter() - began, 1e-9)
    figures = f"1 | {done} | {60 * done / wall:.1f} | {iterate / wall:.0%} | {busy.mean()}"
    print(f"| {backend_name} | trainers | {figures} |", flush=True)


def random_config(rng: np.random.Generator) -> WALSConfig:
    """Return a configuration of `SPACE`."""
    factors, regularization = (
        float(np.exp(rng.uniform(np.log(SPACE[key]["low"]), np.log(SPACE[key]["high"]))))
        for key in ("factors", "regularization")
    )
    exponent = SPACE["regularization_exponent"]
    return WALSConfig(
        factors=round(factors),
        iterations=SPACE["iterations"],
        regularization=regularization,
        regularization_exponent=float(rng.uniform(exponent["low"], exponent["high"])),
    )


def line(options: argparse.Namespace, dataset: str, backend: str, executor: str, folder: Path) -> None:
    """Run a study and print its line."""
    # Where trainers run alone, nothing of this need be installed.
    from toolkit.datasets import RatingsDataset
    from tune.lifecycle import create_study, run_study
    from tune.spec.search_spec import SearchSpec

    data = RatingsDataset.open(dataset)
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
