"""Test RMSE of a tuned model beside the tutorial's and a tuned cmfrec, and the time to reach a given RMSE.

    python benchmarks/quality.py data/ml-100k/u.data ml-1m/ratings.dat.gz [--trials 60] [--seeds 5]

For each seed a random tenth is the test, and a tenth of the rest is for validation. Each contestant is tuned
on the validation ratings alone, by the same sampler with the same number of trials; its best setting is
trained again on all but the test, and tested once. No setting is carried over from one seed to another.
cmfrec needs the dependency group `bench`.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp  # noqa: TC002 - Split is a NamedTuple

from toolkit.backends import Backend
from toolkit.config import PRESETS, WALSConfig
from toolkit.evaluation import rmse
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.solver import Trainer, TrainingData
from toolkit.solver.stopping import best, stalled

_ITERATIONS, _PATIENCE = 40, 3


class Split(NamedTuple):
    """Ratings as CSR and COO; `rest` is train and valid together."""

    train: sp.csr_matrix
    valid: sp.coo_matrix
    rest: sp.csr_matrix
    test: sp.coo_matrix


class Outcome(NamedTuple):
    """What one contestant reached on one split."""

    valid: float
    test: float
    seconds: float
    chosen: dict[str, Any]


def main() -> None:
    """Print a table per ratings file."""
    options = arguments()
    for path in options.ratings:
        contestants: dict[str, Callable[[Split, int], Outcome]] = {
            "tutorial, default": preset("tutorial-default"),
            "tutorial, tuned": preset("tutorial-tuned"),
            "walslab, default": preset("default"),
            "walslab, tuned": lambda split, seed: tune_walslab(split, seed, options.trials),
        }
        if importlib.util.find_spec("cmfrec"):
            contestants["cmfrec, tuned"] = lambda split, seed: tune_cmfrec(split, seed, options.trials)
        found: dict[str, list[Outcome]] = {name: [] for name in contestants}
        races = []
        for seed in range(options.seeds):
            split = split_of(path, seed)
            for name, run in contestants.items():
                began = time.perf_counter()
                found[name].append(run(split, seed))
                seconds = time.perf_counter() - began
                print(
                    f"{path.name} seed {seed}: {name} {found[name][-1]} in {seconds:.0f} s", file=sys.stderr
                )
            if "cmfrec, tuned" in found:
                races.append(race(split, found["walslab, tuned"][-1].chosen, found["cmfrec, tuned"][-1]))
        print(f"\n### {path.name}\n\n{table(found)}")
        if races:
            print(race_text(races), flush=True)
        if options.plot and races:
            plot(options.plot / f"rmse-{path.parent.name}.png", path.parent.name, races[0])
        print(f"chosen on seed 0: {json.dumps(found['walslab, tuned'][0].chosen)}", file=sys.stderr)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="+", type=Path)
    parser.add_argument("--trials", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--plot", type=Path, help="folder for pictures of RMSE against seconds")
    return parser.parse_args()


def split_of(path: Path, seed: int) -> Split:
    """Ingest a ratings file, with a tenth for the test and a tenth of the rest for validation."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        rule = SplitRule(valid=0.09, test=0.1, seed=seed)
        data = ingest_ratings(RatingsSource.detect([path]), Path(folder, "data"), split=rule)
        return Split(data.train, data.valid, data.train_and_valid(), data.test)


def preset(name: str) -> Callable[[Split, int], Outcome]:
    """Return a contestant that is not tuned."""

    def run(split: Split, seed: int) -> Outcome:
        error, seconds = train(split.rest, split.test, PRESETS[name], seed)[-1]
        return Outcome(math.nan, error, seconds, PRESETS[name].to_dict())

    return run


def train(
    ratings: sp.csr_matrix, held_out: sp.coo_matrix, config: WALSConfig, seed: int, patience: int = 0
) -> list[tuple[float, float]]:
    """Return the RMSE after each iteration, and the seconds of training until then."""
    backend = Backend.prefer("numba")
    trainer = Trainer(TrainingData(ratings, backend=backend), config, seed=seed)
    seconds, history = 0.0, []
    for _ in range(config.iterations):
        began = time.perf_counter()
        trainer.step()
        seconds += time.perf_counter() - began
        error = rmse(trainer.factors, held_out.row, held_out.col, held_out.data, backend)
        history.append((error or math.nan, seconds))
        if stalled([e for e, _ in history], patience):
            break
    return history


def tune_walslab(split: Split, seed: int, trials: int) -> Outcome:
    """Tune our model."""

    def suggest(trial: Any) -> tuple[float, dict[str, Any]]:
        config = WALSConfig(
            factors=trial.suggest_int("factors", 6, 64, log=True),
            iterations=_ITERATIONS,
            regularization=trial.suggest_float("regularization", 0.01, 0.2, log=True),
            regularization_offset=trial.suggest_float("regularization_offset", 30, 2000, log=True),
            pattern_weight=trial.suggest_float("pattern_weight", 0.1, 3, log=True),
        )
        errors = [error for error, _ in train(split.train, split.valid, config, seed, _PATIENCE)]
        at = best(errors)
        return errors[at], {**config.to_dict(), "iterations": at + 1}

    # As the default search: the defaults are tried first.
    valid, chosen = search(suggest, seed, trials, WALSConfig().to_dict())
    error, seconds = train(split.rest, split.test, WALSConfig.from_dict(chosen), seed)[-1]
    return Outcome(valid, error, seconds, chosen)


def tune_cmfrec(split: Split, seed: int, trials: int) -> Outcome:
    """Tune cmfrec's explicit model with biases."""

    def suggest(trial: Any) -> tuple[float, dict[str, Any]]:
        scaled = trial.suggest_categorical("scale_lam", [True, False])
        least, most = (0.01, 0.3) if scaled else (1, 100)
        chosen = {
            "k": trial.suggest_int("k", 6, 64, log=True),
            "scale_lam": scaled,
            "lambda_": trial.suggest_float(f"lambda_{scaled}", least, most, log=True),
            "add_implicit_features": trial.suggest_categorical("add_implicit_features", [True, False]),
            "niter": trial.suggest_int("niter", 5, 25),
        }
        return fit_cmfrec(split.train, split.valid, chosen, seed)[0], chosen

    # The defaults of cmfrec.
    first = {"k": 40, "scale_lam": False, "lambda_False": 10.0, "add_implicit_features": False, "niter": 10}
    valid, chosen = search(suggest, seed, trials, first)
    error, seconds = fit_cmfrec(split.rest, split.test, chosen, seed)
    return Outcome(valid, error, seconds, chosen)


def fit_cmfrec(
    ratings: sp.csr_matrix, held_out: sp.coo_matrix, chosen: dict[str, Any], seed: int
) -> tuple[float, float]:
    """Return RMSE, clipped to the rating scale as ours is, and seconds of training."""
    from cmfrec import CMF

    model = CMF(**chosen, nthreads=Backend().threads, random_state=seed + 1, verbose=False)
    matrix = ratings.tocoo()
    began = time.perf_counter()
    model.fit(matrix)
    seconds = time.perf_counter() - began
    predicted = np.clip(model.predict(held_out.row, held_out.col), ratings.data.min(), ratings.data.max())
    return float(np.sqrt(np.mean((predicted - held_out.data) ** 2))), seconds


def search(
    suggest: Callable[[Any], tuple[float, dict[str, Any]]], seed: int, trials: int, first: dict[str, Any]
) -> Any:
    """Return the least validation RMSE that TPE finds when it tries `first` first, and the setting."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(sampler=optuna.samplers.TPESampler(multivariate=True, seed=seed))

    def objective(trial: Any) -> float:
        error, chosen = suggest(trial)
        trial.set_user_attr("chosen", chosen)
        return error

    study.enqueue_trial(first)
    study.optimize(objective, n_trials=trials)
    return study.best_value, study.best_trial.user_attrs["chosen"]


class Race(NamedTuple):
    """Our curve on the test ratings beside cmfrec's end."""

    curve: list[tuple[float, float]]
    peer: float
    peer_seconds: float
    reached: float | None


def race(split: Split, ours: dict[str, Any], peer: Outcome) -> Race:
    """Train both once more, one after the other, and see when ours is as good as cmfrec in the end."""
    error, seconds = fit_cmfrec(split.rest, split.test, peer.chosen, 0)
    curve = train(split.rest, split.test, WALSConfig.from_dict(ours), 0)
    return Race(curve, error, seconds, next((s for e, s in curve if e <= error), None))


def table(found: dict[str, list[Outcome]]) -> str:
    """Return mean ± standard deviation of the test RMSE as Markdown."""
    lines = ["| model | valid RMSE | test RMSE | s, last training |", "|---|---|---|---|"]
    for name, outcomes in found.items():
        tests = [outcome.test for outcome in outcomes]
        spread = f" ± {statistics.stdev(tests):.4f}" if len(tests) > 1 else ""
        valid = statistics.mean(outcome.valid for outcome in outcomes)
        told = "" if math.isnan(valid) else f"{valid:.4f}"
        lines.append(
            f"| {name} | {told} | {statistics.mean(tests):.4f}{spread} "
            f"| {statistics.median(outcome.seconds for outcome in outcomes):.2f} |"
        )
    return "\n".join(lines) + "\n"


def race_text(races: list[Race]) -> str:
    """Return how long ours took to be as good as cmfrec, as a share of cmfrec's time."""
    shares = [race.reached / race.peer_seconds for race in races if race.reached is not None]
    if not shares:
        return f"cmfrec's final RMSE was reached in none of {len(races)} runs.\n"
    return (
        f"Time to cmfrec's final RMSE ÷ cmfrec's time: median {statistics.median(shares):.2f}, reached in "
        f"{len(shares)} of {len(races)} runs.\n"
    )


def plot(path: Path, title: str, race: Race) -> None:
    """Draw test RMSE against seconds of training."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    errors, seconds = zip(*race.curve, strict=True)
    axes.plot(seconds, errors, "o-", color="#0b6e99", ms=4, label="walslab, each iteration")
    axes.plot([race.peer_seconds], [race.peer], "s", color="#c8501e", ms=8, label="cmfrec, at its end")
    axes.axhline(race.peer, color="#c8501e", lw=1, ls=":")
    axes.set(xlabel="seconds of training", ylabel="test RMSE", title=f"{title}, both tuned")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    main()
