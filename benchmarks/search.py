"""What a trial costs beside its training, and how good a search is for its trials.

    python benchmarks/search.py overhead DATASET [--trials 100] [--concurrency 2] [--peers]
    python benchmarks/search.py loop [--concurrency 2,64] [--seconds 1.0]
    python benchmarks/search.py samplers DATASET [--spec FILE] [--trials 500] [--seeds 5]

`overhead` divides the wall time of a study by the ideal, the sum of its trials' training time over the
concurrency: of walslab on Ray Tune and in this process, and, with `--peers`, of `WALSTrainable` under plain
Ray Tune (`search_peers.py`: kept processes, Optuna's search, without and with the stock MLflow logger) and of
plain Optuna. All search the same space with the same solver, and run to their end. Those that record do so in
a SQLite store of their own.
`loop` gives the control loop trials that only sleep, and divides likewise.
`samplers` lets TPE and random search find what they can in a space, by trials and by training time.
DATASET is a directory that `walslab ingest` wrote.
"""

from __future__ import annotations

import argparse
import contextlib
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from toolkit.config import WALSConfig
from toolkit.datasets import RatingsDataset
from tune.executors.trial_worker import TrialWorker
from tune.lifecycle import create_study, run_study
from tune.search import Proposer, Segment, StudyRun, TrialSettings
from tune.spec.search_spec import SearchSpec
from tune.study import Study

# Every contestant trains the same kind of trial in full: 15 iterations, 8 to 64 factors.
SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "iterations": 15,
    "regularization": {"low": 0.1, "high": 2.0, "scale": "log"},
    "regularization_exponent": {"low": 0.3, "high": 0.8},
}


def main() -> None:
    """Run the part that is asked for."""
    options = arguments()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
        if options.part == "overhead":
            overhead(options, Path(folder))
        elif options.part == "loop":
            for at_once in options.concurrency:
                loop(at_once, options.seconds, Path(folder) / f"loop-{at_once}")
        else:
            samplers(options)


def overhead(options: argparse.Namespace, folder: Path) -> None:
    """Print wall time over the ideal for each contestant."""
    print("contestant               trials    wall s   training s   wall/ideal   overhead a trial, s")
    data = RatingsDataset.open(options.dataset)
    for name, executor, at_once in (
        ("walslab on Ray Tune", "ray", options.concurrency[0]),
        ("walslab in process", "in-process", 1),
    ):
        spec = SearchSpec.from_dict(
            {"space": SPACE, "trials": options.trials, "concurrency": at_once, "early_stopping": "none"}
        )
        began = time.perf_counter()
        study = create_study(folder / executor, data, spec)
        run_study(study, data, executor=executor)  # type: ignore[arg-type]
        wall = time.perf_counter() - began
        trials = study.trials()
        tell(name, wall, [trial["seconds"] for trial in trials], at_once)
        # Once every process is up: without Ray's start, the workers', and the report at the end.
        tell_rest([(trial["ended"], trial["seconds"]) for trial in trials], at_once)
    if options.peers:
        for name, peer, at_once in (
            ("WALSTrainable alone", "ray-unlogged", options.concurrency[0]),
            ("WALSTrainable, MLflow", "ray", options.concurrency[0]),
            ("Optuna, one process", "optuna", 1),
        ):
            script = Path(__file__).with_name("search_peers.py")
            command = [sys.executable, str(script), peer, options.dataset, str(options.trials), str(at_once)]
            wall, ends = watched(command, folder)
            tell(name, wall, [seconds for _, seconds in ends], at_once)
            tell_rest(ends, at_once)


def watched(command: list[str], folder: Path) -> tuple[float, list[tuple[float, float]]]:
    """Run a rival, print how it gets on, and return its wall time, and end and training of each trial."""
    ends: list[tuple[float, float]] = []
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=folder) as process:
        for line in process.stdout or ():
            with contextlib.suppress(ValueError):
                seconds = float(line)
                ends.append((time.perf_counter() - began, seconds))
                print(f"  {len(ends)} trials in {ends[-1][0]:.1f} s", file=sys.stderr)
    if process.returncode:
        raise SystemExit(f"{' '.join(command)} failed with exit code {process.returncode}")
    return time.perf_counter() - began, ends


def tell_rest(ends: list[tuple[float, float]], at_once: int) -> None:
    """Print a row of the trials that ended after two of each process."""
    ends = sorted(ends)
    begun, rest = ends[2 * at_once - 1][0], ends[2 * at_once :]
    tell("  once it is under way", rest[-1][0] - begun, [seconds for _, seconds in rest], at_once)


def tell(name: str, wall: float, seconds: list[float], at_once: int) -> None:
    """Print a row."""
    ideal = sum(seconds) / at_once
    print(
        f"{name:<24} {len(seconds):6d} {wall:9.1f} {sum(seconds):12.1f} {wall / ideal:12.2f} "
        f"{(wall - ideal) * at_once / len(seconds):21.3f}",
        flush=True,
    )


class Sleeper(TrialWorker):
    """A worker whose trials take a given time of none of the processor's."""

    seconds = 1.0

    def __init__(self, ratings: Any, settings: TrialSettings) -> None:
        self._pause = float(ratings["train"])

    def begin(self, config: WALSConfig, **_: Any) -> None:
        """Do nothing, because the trial only sleeps."""

    def advance(self) -> Segment:
        """Sleep."""
        time.sleep(self._pause)
        figures = {"valid_rmse": 1.0, "train_rmse": 1.0}
        history = {**{key: [figure] for key, figure in figures.items()}, "seconds": [self._pause]}
        return Segment(history, figures, iterations=1, done=True)


def loop(at_once: int, seconds: float, path: Path) -> None:
    """Print how close a study of sleeping trials comes to the ideal."""
    import ray

    from tune.executors.on_ray import run_on_ray
    from tune.executors.ray_session import connected

    trials = 20 * at_once
    spec = SearchSpec.from_dict(
        {"space": SPACE, "trials": trials, "concurrency": at_once, "early_stopping": "none"}
    )
    study = Study.create(path, spec=spec.to_dict())
    ray.init(address="local", num_cpus=at_once, include_dashboard=False, log_to_driver=False)
    with connected():
        run = StudyRun(study, at_once)
        run_on_ray(run, {"train": seconds, "train_by_item": None, "valid": None}, worker=Sleeper)
        run.close()
    ray.shutdown()
    ended = sorted(trial["ended"] for trial in study.trials())
    # Once every process is up: the first of `at_once` trials each wait for theirs to start.
    steady = ended[2 * at_once :]
    took, ideal = steady[-1] - ended[2 * at_once - 1], len(steady) * seconds / at_once
    print(
        f"{at_once} at once, trials of {seconds:g} s: {len(ended)} ended, "
        f"steady wall/ideal {took / ideal:.2f}, {len(steady) / took:.1f} trials a second",
        flush=True,
    )


def samplers(options: argparse.Namespace) -> None:
    """Print the best validation RMSE after so many trials, mean and range over the seeds."""
    data = RatingsDataset.open(options.dataset)
    ratings = {"train": data.train, "train_by_item": data.train_by_item, "valid": data.valid}
    marks = [n for n in (10, 25, 50, 100, 150, 250, 500, 1000) if n <= options.trials]
    print("sampler  " + "".join(f"{n:>24d}" for n in marks) + "   training s")
    for sampler in ("tpe", "random"):
        paths, seconds = [], []
        for seed in range(options.seeds):
            spec = replace(
                SearchSpec.load(options.spec, trials=options.trials, seed=seed),
                sampler=sampler,
                concurrency=1,
                early_stopping=None,
            )
            path, spent = search(spec, ratings)
            paths.append(path)
            seconds.append(spent)
        cells = []
        for n in marks:
            at = [path[n - 1] for path in paths]
            cells.append(f"{statistics.mean(at):.4f} [{min(at):.4f}, {max(at):.4f}]")
        print(
            f"{sampler:<9}" + "".join(f"{cell:>24}" for cell in cells) + f" {statistics.mean(seconds):12.0f}"
        )


def search(spec: SearchSpec, ratings: Any) -> tuple[list[float], float]:
    """Return the best validation RMSE after each trial, and the seconds spent in training."""
    settings = TrialSettings(
        metric=spec.metric, backend="auto", threads=1, gpu=0, seed=0, keep_factors="none"
    )
    worker, proposer = TrialWorker(ratings, settings), Proposer(spec, 1)
    path, least, spent = [], math.inf, 0.0
    for number in range(1, spec.trials + 1):
        sampled, _ = proposer.ask(number)
        worker.begin(spec.config(sampled))
        while not (segment := worker.advance()).done:
            spent += sum(segment.history["seconds"])
        spent += sum(segment.history.get("seconds", ()))
        found = segment.figures.get("valid_rmse", math.inf) if segment.reason is None else math.inf
        proposer.tell(number, found)
        least = min(least, found)
        path.append(least)
    return path, spent


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("part", choices=("overhead", "loop", "samplers"))
    parser.add_argument("dataset", nargs="?")
    parser.add_argument("--trials", type=int, default=100)
    parser.add_argument("--concurrency", type=lambda text: [int(n) for n in text.split(",")], default=[2])
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--spec", default=str(Path(__file__).parent.parent / "examples/tutorial-tuning.json"))
    parser.add_argument("--peers", action="store_true")
    options = parser.parse_args()
    if options.part != "loop" and not options.dataset:
        parser.error("the directory of a dataset is missing")
    if options.dataset:
        options.dataset = str(Path(options.dataset).resolve())
    return options


if __name__ == "__main__":
    main()
