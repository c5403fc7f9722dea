"""Does a model hold on other ratings than MovieLens's? Test RMSE on each recipe of `walslab synth --like`.

    python benchmarks/recipes.py [--only NAME ...] [--columns NAME ...] [--trials 24] [--no-search]
        [--splits 1]

A row has the mean, two biases, `walslab train` as it is, with --posterior, and with --posterior
--pattern-weight 0, the search of
`walslab tune --in-process` and its refit, and cmfrec, as it is and tuned by as many trials. Dampings and
searches are chosen on validation ratings, which are a tenth of all. In the end every model is trained on all
but the test ratings, another tenth, and tested once. In brackets stands the RMSE over that of the two biases.
A recipe in another unit has a second row: its RMSE in the unit of the first.

MovieLens 100K itself is a row where its file is found (`walslab fetch ml-100k`). cmfrec is left out where it
is not installed; it is in the dependency group `bench`. It is tuned on ratings over their standard deviation,
as its penalties depend on the unit.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import scipy.sparse as sp  # noqa: TC002 - as in quality.py
from quality import Split, fit_cmfrec, tune_cmfrec

from toolkit.arrays import Array
from toolkit.config import PRESETS, RunOptions
from toolkit.datasets import RatingsDataset
from toolkit.ingest import RatingsSource, SplitRule, ingest_ratings
from toolkit.models import WALS
from toolkit.synth import RECIPES, write_like
from tune import SearchSpec, create_study, refit_best, run_study

MOVIELENS = "MovieLens 100K"
# So few test ratings say nothing on one split.
SPLITS_OF_FEW, FEW = 20, 1000
DAMPINGS = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0, 80.0)
Contestant = Callable[[RatingsDataset, int, Path], float]


def main() -> None:
    """Print a row of Markdown for each recipe, as soon as it is known."""
    options = arguments()
    contestants: dict[str, Contestant] = {
        "mean": mean,
        "biases": biases,
        "train": default_train,
        "posterior": lambda data, seed, _: sampled(data, seed),
        "no pattern": lambda data, seed, _: sampled(data, seed, pattern_weight=0.0),
    }
    if not options.no_search:
        contestants["search"] = lambda data, seed, folder: searched(data, seed, folder, options.trials)
    if importlib.util.find_spec("cmfrec"):
        contestants["cmfrec"] = cmfrec
        if not options.no_search:
            contestants["cmfrec, tuned"] = lambda data, seed, _: tuned_cmfrec(data, seed, options.trials)
    if options.columns:
        # Errors stand beside those of the two biases.
        contestants = {name: run for name, run in contestants.items() if name in {"biases", *options.columns}}
    print(f"| ratings | {' | '.join(contestants)} |\n|---|{'---:|' * len(contestants)}", flush=True)
    for name in options.only or [MOVIELENS, *RECIPES]:
        if name == MOVIELENS and not options.movielens.exists():
            print(f"no {options.movielens}: run walslab fetch ml-100k", file=sys.stderr)
            continue
        print(row(name, contestants, options), flush=True)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", nargs="+", choices=[MOVIELENS, *RECIPES], metavar="NAME")
    parser.add_argument("--columns", nargs="+", metavar="NAME", help="contestants, beside the biases")
    parser.add_argument("--trials", type=int, default=24)
    parser.add_argument("--no-search", action="store_true")
    parser.add_argument("--splits", type=int, default=1, help=f"{SPLITS_OF_FEW} or more for tiny ratings")
    parser.add_argument("--movielens", type=Path, default=Path("data/ml-100k/u.data"))
    return parser.parse_args()


def row(name: str, contestants: dict[str, Contestant], options: argparse.Namespace) -> str:
    """Return the row of a recipe: root mean squares over its splits, each of other made-up ratings."""
    recipe = RECIPES.get(name)
    splits = max(options.splits, SPLITS_OF_FEW if recipe and recipe.ratings < FEW else 1)
    errors: dict[str, list[float]] = {contestant: [] for contestant in contestants}
    for seed in range(splits):
        with tempfile.TemporaryDirectory() as folder:
            os.environ["MLFLOW_TRACKING_URI"] = f"sqlite:///{folder}/mlflow.db"
            path = write_like(Path(folder, "r.csv"), name, seed=seed).path if recipe else options.movielens
            source = RatingsSource.detect([path])
            data = ingest_ratings(source, Path(folder, "data"), split=SplitRule(seed=seed))
            for contestant, run in contestants.items():
                began = time.perf_counter()
                errors[contestant].append(run(data, seed, Path(folder)))
                seconds = time.perf_counter() - began
                print(
                    f"{name} {seed}: {contestant} {errors[contestant][-1]:.4f} in {seconds:.0f} s",
                    file=sys.stderr,
                )
    rmses = {contestant: float(np.sqrt(np.mean(np.square(each)))) for contestant, each in errors.items()}
    cells = [f"{rmse:.4f} ({rmse / rmses['biases']:.3f})" for rmse in rmses.values()]
    text = f"| {name} | {' | '.join(cells)} |"
    if recipe and recipe.times != 1:
        cells = [f"{rmse / recipe.times:.4f}" for rmse in rmses.values()]
        text += f"\n| … over {recipe.times:g} | {' | '.join(cells)} |"
    return text


def mean(data: RatingsDataset, _seed: int, _folder: Path) -> float:
    """Predict the mean rating."""
    return rmse(np.full(data.test.nnz, data.train_and_valid().data.mean()), data.test)


def biases(data: RatingsDataset, _seed: int, _folder: Path) -> float:
    """Predict by a bias of each user and each item, with the damping that is best on validation ratings."""

    def error(ratings: sp.csr_matrix, held_out: sp.coo_matrix, damping: float) -> float:
        of_users, of_items = biases_of(ratings, damping)
        predicted = ratings.data.mean() + of_users[held_out.row] + of_items[held_out.col]
        return rmse(np.clip(predicted, ratings.data.min(), ratings.data.max()), held_out)

    chosen = min(DAMPINGS, key=lambda damping: error(data.train, data.valid, damping))
    return error(data.train_and_valid(), data.test, chosen)


def biases_of(ratings: sp.csr_matrix, damping: float) -> tuple[Array, Array]:
    """Return the biases of users and items: damped means of what the others leave, in turn."""
    matrix = ratings.tocoo()
    user, item, rest = matrix.row, matrix.col, matrix.data.astype(np.float64) - matrix.data.mean()
    n_users, n_items = ratings.shape
    weight_of_users = 1 / np.maximum(damping + np.bincount(user, minlength=n_users), 1e-9)
    weight_of_items = 1 / np.maximum(damping + np.bincount(item, minlength=n_items), 1e-9)
    of_users, of_items = np.zeros(n_users), np.zeros(n_items)
    for _ in range(20):
        of_items = np.bincount(item, rest - of_users[user], n_items) * weight_of_items
        of_users = np.bincount(user, rest - of_items[item], n_users) * weight_of_users
    return of_users, of_items


def default_train(data: RatingsDataset, _seed: int, _folder: Path) -> float:
    """Train with the default hyperparameters."""
    return WALS().fit(data.train_and_valid()).rmse(data.test) or 0.0


def sampled(data: RatingsDataset, seed: int, **changed: float) -> float:
    """Sample the posterior with its preset, or with other values for some hyperparameters."""
    model = WALS(PRESETS["posterior"].replace(**changed), RunOptions(seed=seed))
    return model.fit_posterior(data.train_and_valid()).rmse(data.test) or 0.0


def searched(data: RatingsDataset, seed: int, folder: Path, trials: int) -> float:
    """Search the default space in this process, and refit the best trial."""
    spec = SearchSpec.from_dict({"trials": trials, "concurrency": 1, "seed": seed})
    study = create_study(folder / "study", data, spec)
    run_study(study, data, executor="in-process")
    if study.status() != "finished":  # Ctrl-C ends a study in good order
        raise SystemExit(f"the search is {study.status()}")
    return refit_best(study, data, folder / "model").test_rmse or 0.0


def cmfrec(data: RatingsDataset, seed: int, _folder: Path) -> float:
    """Train cmfrec's model for explicit ratings as it is."""
    return fit_cmfrec(data.train_and_valid(), data.test, {}, seed)[0]


def tuned_cmfrec(data: RatingsDataset, seed: int, trials: int) -> float:
    """Tune cmfrec on ratings over their standard deviation."""
    unit = float(data.train.data.std()) or 1.0
    parts = (data.train, data.valid, data.train_and_valid(), data.test)
    split = Split(*(part.astype(np.float64) / unit for part in parts))
    return tune_cmfrec(split, seed, trials).test * unit


def rmse(predicted: Array, held_out: sp.coo_matrix) -> float:
    """Return the root mean squared error of predictions."""
    return float(np.sqrt(np.mean((predicted - held_out.data) ** 2)))


if __name__ == "__main__":
    main()
