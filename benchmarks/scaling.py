"""How the best hyperparameters move with the number of users, and what that predicts for more of them.

    python benchmarks/scaling.py ml-1m/ratings.dat.gz --users 190,380,755,1510,3020,6040 --trials 36 --seeds 3

A random tenth of the ratings is the test for all. Each seed takes a tenth of the rest for validation and
orders the users at random; a sample is the first so many of them with all of their ratings, so that samples
are nested and ratings per user stay what they are. Each sample is searched on its validation ratings alone.
What a search found is the mean of its best few trials, as the single best is a draw among many as good. A
line through what all found, over the logarithm of the number of users, gives the setting for `--predict`.

The method is checked on the largest sample: lines through smaller samples alone predict a setting for it,
which is compared with what was searched there, and with the setting of the largest of them left as it is.
`--found FILE` keeps what was searched, so that a later run with the same arguments goes on from there.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp
from quality import split_of, train

from toolkit.config import WALSConfig
from toolkit.stopping import best

_ITERATIONS, _PATIENCE = 40, 3
# λ and ν move together along a valley. The penalty of a row with this many ratings hardly depends on ν.
_MIDDLE = 100
_SPACE: dict[str, tuple[float, float]] = {
    "factors": (4, 128),
    "penalty": (2, 60),
    "regularization_exponent": (0.0, 1.0),
    "pattern_weight": (0.05, 4),
}
# Lines are straight in the logarithm of these; ν is itself an exponent.
_LOGARITHMIC = ("factors", "penalty", "pattern_weight", "iterations")
_NAMES = (*_SPACE, "iterations")


class Sample(NamedTuple):
    """Ratings of some users; `rest` is train and valid together."""

    train: sp.csr_matrix
    valid: sp.coo_matrix
    rest: sp.csr_matrix
    test: sp.coo_matrix


class Found(NamedTuple):
    """One search: its trials from the best to the worst, each with `error` and the names of `_NAMES`."""

    users: int
    seed: int
    ratings: int
    items: int
    trials: list[dict[str, float]]


class Line(NamedTuple):
    """A line over log2 of users, and what its scatter says of its uncertainty."""

    at: float
    middle: float
    slope: float
    slope_sd: float
    scatter: float
    points: int

    def value(self, users: float) -> float:
        """Return the line's value."""
        return self.middle + self.slope * (math.log2(users) - self.at)

    def sd(self, users: float) -> float:
        """Return the standard deviation of the line's value, were it straight that far."""
        return math.hypot(self.scatter / math.sqrt(self.points), self.slope_sd * (math.log2(users) - self.at))


def main() -> None:
    """Print what was found by number of users, the lines through it, the check, and the prediction."""
    options = arguments()
    kept = _kept(options.found)
    split = split_of(options.ratings, 0)
    rest, test = split.rest, split.test.tocsr()
    found = []
    for seed in range(options.seeds):
        for users in options.users:
            key = f"{options.ratings.name} {users} {seed} {options.trials}"
            if key not in kept:
                began = time.perf_counter()
                kept[key] = search(sample_of(rest, test, users, seed), users, seed, options.trials)._asdict()
                seconds = time.perf_counter() - began
                if options.found:
                    with options.found.open("a", encoding="utf-8") as file:
                        file.write(json.dumps({"key": key, **kept[key]}) + "\n")
                print(f"{key}: {kept[key]['trials'][0]} in {seconds:.0f} s", file=sys.stderr, flush=True)
            found.append(Found(**{name: kept[key][name] for name in Found._fields}))
    print(found_table(found, options.best))
    lines = lines_through(found, options.best)
    print(lines_table(lines, options.predict))
    if len(options.users) > 2:
        print(check(found, rest, test, options.best))
    print(f"for {options.predict} users: {json.dumps(config_at(lines, options.predict).to_dict())}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", type=Path)
    parser.add_argument("--users", type=_sizes, default=_sizes("190,380,755,1510,3020,6040"))
    parser.add_argument("--trials", type=int, default=36)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--best", type=int, default=5, help="trials of a search whose mean is taken")
    parser.add_argument("--predict", type=int, default=138_493, help="users to give a setting for")
    parser.add_argument("--found", type=Path, help="file of JSON lines that keeps what was searched")
    return parser.parse_args()


def sample_of(rest: sp.csr_matrix, test: sp.csr_matrix, users: int, seed: int) -> Sample:
    """Return the ratings of the first `users` users in the seed's order."""
    rng = np.random.default_rng(seed)
    # Drawn for all before the sample is cut out, so that samples of one seed are nested.
    held_out = rng.random(rest.nnz) < 0.1
    rows = np.sort(rng.permutation(rest.shape[0])[:users])
    matrix = rest.tocoo()
    kept, valid = (
        sp.coo_matrix(
            (matrix.data[where], (matrix.row[where], matrix.col[where])), shape=matrix.shape
        ).tocsr()[rows]
        for where in (~held_out, held_out)
    )
    return Sample(kept, valid.tocoo(), rest[rows], test[rows].tocoo())


def search(sample: Sample, users: int, seed: int, trials: int) -> Found:
    """Search on the validation ratings of one sample."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tried: list[dict[str, float]] = []

    def objective(trial: Any) -> float:
        values: dict[str, float] = {
            name: trial.suggest_int(name, low, high, log=True)
            if name == "factors"
            else trial.suggest_float(name, low, high, log=name in _LOGARITHMIC)
            for name, (low, high) in _SPACE.items()
        }
        error, iterations = validated(sample, config_of(values), seed)
        tried.append({"error": error, **values, "iterations": iterations})
        return error

    sampler = optuna.samplers.TPESampler(multivariate=True, seed=1_000_003 * seed + users)
    optuna.create_study(sampler=sampler).optimize(objective, n_trials=trials)
    items = int(np.count_nonzero(sample.rest.getnnz(axis=0)))
    return Found(users, seed, int(sample.rest.nnz), items, sorted(tried, key=lambda one: one["error"]))


def config_of(values: dict[str, float]) -> WALSConfig:
    """Return the setting that values of `_SPACE`, with or without iterations, stand for."""
    exponent = values["regularization_exponent"]
    return WALSConfig(
        factors=round(values["factors"]),
        iterations=round(values.get("iterations", _ITERATIONS)),
        regularization=values["penalty"] / _MIDDLE**exponent,
        regularization_exponent=exponent,
        pattern_weight=values["pattern_weight"],
    )


def validated(sample: Sample, config: WALSConfig, seed: int) -> tuple[float, int]:
    """Return the least validation RMSE on the way, and after how many iterations it was."""
    config = config.replace(iterations=_ITERATIONS)
    errors = [error for error, _ in train(sample.train, sample.valid, config, seed, _PATIENCE)]
    return errors[best(errors)], best(errors) + 1


def best_of(search: Found, count: int) -> dict[str, float]:
    """Return the mean of the best trials, of logarithms where lines are straight in them."""
    return {
        name: statistics.mean(_to_line(name, trial[name]) for trial in search.trials[:count])
        for name in _NAMES
    }


def lines_through(found: list[Found], count: int) -> dict[str, Line]:
    """Fit a line for each hyperparameter through what each search found."""
    x = np.log2([one.users for one in found])
    lines = {}
    for name in _NAMES:
        y = np.array([best_of(one, count)[name] for one in found])
        off = x - x.mean()
        slope = float(off @ y / (off @ off))
        scatter = float(np.sqrt(np.sum((y - y.mean() - slope * off) ** 2) / max(1, len(y) - 2)))
        lines[name] = Line(
            float(x.mean()), float(y.mean()), slope, scatter / math.sqrt(off @ off), scatter, len(y)
        )
    return lines


def config_at(lines: dict[str, Line], users: float) -> WALSConfig:
    """Return the setting that lines give for a number of users."""
    values = {name: _from_line(name, line.value(users)) for name, line in lines.items()}
    low, high = 0.0, 2.0
    values["regularization_exponent"] = min(max(values["regularization_exponent"], low), high)
    return config_of(values)


def mean_config(found: list[Found], users: int, count: int) -> WALSConfig:
    """Return the mean over seeds of what was found for one number of users."""
    several = [best_of(one, count) for one in found if one.users == users]
    return config_of(
        {name: _from_line(name, statistics.mean(one[name] for one in several)) for name in _NAMES}
    )


def check(found: list[Found], rest: sp.csr_matrix, test: sp.csr_matrix, count: int) -> str:
    """Return what is lost on the largest sample by predicting from smaller ones and not searching there."""
    sizes = sorted({one.users for one in found})
    top = sizes[-1]
    searched = {one.seed: one for one in found if one.users == top}
    settings: dict[str, dict[int, WALSConfig]] = {
        "searched, the best trial": {s: config_of(one.trials[0]) for s, one in searched.items()},
        f"searched, mean of the best {count}": dict.fromkeys(searched, mean_config(found, top, count)),
    }
    for last in reversed(sizes[1:-1]):
        lines = lines_through([one for one in found if one.users <= last], count)
        away = f"{math.log2(top / last):.0f}"
        settings[f"predicted from {sizes[0]} to {last}, {away} doublings"] = dict.fromkeys(
            searched, config_at(lines, top)
        )
        settings[f"that of {last} as it is"] = dict.fromkeys(searched, mean_config(found, last, count))
    lines_ = [
        f"| setting on {top} users | valid RMSE | test RMSE | lost, test | k | λ | ν | w_p |",
        "|---|---|---|---|---|---|---|---|",
    ]
    reference: list[float] = []
    for name, by_seed in settings.items():
        valid, tests = [], []
        for seed, config in by_seed.items():
            sample = sample_of(rest, test, top, seed)
            error, iterations = validated(sample, config, seed)
            valid.append(error)
            # As many iterations as the validation ratings ask for, as `--patience` would.
            stopped = config.replace(iterations=iterations)
            tests.append(train(sample.rest, sample.test, stopped, seed)[-1][0])
        reference = reference or tests
        lost = [a - b for a, b in zip(tests, reference, strict=True)]
        told = f"{statistics.mean(lost):+.4f}" if tests is not reference else ""
        one = next(iter(by_seed.values()))
        text = (
            f"{one.factors} | {one.regularization:.2f} | {one.regularization_exponent:.2f} "
            f"| {one.pattern_weight:.2f}"
            if len(set(by_seed.values())) == 1
            else " | | | "
        )
        lines_.append(
            f"| {name} | {statistics.mean(valid):.4f} | {statistics.mean(tests):.4f} | {told} | {text} |"
        )
        print(lines_[-1], file=sys.stderr, flush=True)
    return "\n".join(lines_) + "\n"


def found_table(found: list[Found], count: int) -> str:
    """Return what was found by number of users, mean and spread over seeds, as Markdown."""
    lines = [
        f"| users | ratings | items | valid RMSE | k | penalty of {_MIDDLE} ratings | ν | w_p | iterations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for users in sorted({one.users for one in found}):
        group = [one for one in found if one.users == users]
        cells = []
        for name in _NAMES:
            values = [best_of(one, count)[name] for one in group]
            middle = _from_line(name, statistics.mean(values))
            spread = statistics.stdev(values) if len(values) > 1 else 0.0
            text = f"{middle:.{0 if name in ('factors', 'iterations') else 2}f}"
            cells.append(f"{text} {'×÷' if name in _LOGARITHMIC else '±'} {_from_line(name, spread):.2f}")
        error = statistics.mean(one.trials[0]["error"] for one in group)
        ratings, items = (
            round(statistics.mean(getattr(one, what) for one in group)) for what in ("ratings", "items")
        )
        lines.append(f"| {users:,} | {ratings:,} | {items:,} | {error:.4f} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def lines_table(lines: dict[str, Line], users: int) -> str:
    """Return how each hyperparameter moves per doubling of users, and where that leads, as Markdown."""
    rows = [f"| | per doubling of users | at {users:,} users | within one sd |", "|---|---|---|---|"]
    for name, line in lines.items():
        middle, sd = line.value(users), line.sd(users)
        moves = (
            f"× {2**line.slope:.3f} ×÷ {2**line.slope_sd:.3f}"
            if name in _LOGARITHMIC
            else f"{line.slope:+.3f} ± {line.slope_sd:.3f}"
        )
        low, at, high = (_from_line(name, value) for value in (middle - sd, middle, middle + sd))
        label = f"penalty of {_MIDDLE} ratings" if name == "penalty" else name
        rows.append(f"| {label} | {moves} | {at:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(rows) + "\n"


def _to_line(name: str, value: float) -> float:
    return math.log2(value) if name in _LOGARITHMIC else value


def _from_line(name: str, value: float) -> float:
    return 2**value if name in _LOGARITHMIC else value


def _sizes(text: str) -> list[int]:
    return sorted({int(part) for part in text.split(",")})


def _kept(path: Path | None) -> dict[str, dict[str, Any]]:
    if path is None or not path.exists():
        return {}
    records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return {record.pop("key"): record for record in records}


if __name__ == "__main__":
    main()
