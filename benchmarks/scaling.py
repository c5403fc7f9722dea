r"""How the best hyperparameters move with the number of users, and what that predicts for more of them.

    python benchmarks/scaling.py ml-1m/ratings.dat.gz --users 190,380,755,1510,3020,6040 \
        --factors 16,40,100 --trials 18 --seeds 2

A random tenth of the ratings is the test for all. Each seed takes a tenth of the rest for validation and
orders the users at random; a sample is the first so many of them with all of their ratings, so that samples
are nested and ratings per user stay what they are. Each sample is searched on its validation ratings alone,
once for each number of factors: with it free, few trials end at few factors or at many as chance has it.
What a search found is the mean of its best few trials, as the single best is a draw among many as good.
Lines through what all found, over the logarithm of the number of users, say how each hyperparameter moves,
and where that leads for `--predict`.

Whether to believe them is checked on the largest sample, with a setting made from smaller samples alone: by
the lines, by half of the slope that all ranks have in common, and the setting of the largest of the smaller
samples as it is; each beside what was searched there. The last lines printed are the settings of the largest
sample as they are: on MovieLens 1M that loses least.

`--found FILE` keeps what was searched, so that a later run with the same arguments goes on from there.
"""

from __future__ import annotations

import argparse
import itertools
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
from toolkit.solver.stopping import best

_ITERATIONS, _PATIENCE = 40, 3
# λ and ν move together along a valley. The penalty of a row with this many ratings hardly depends on ν.
_MIDDLE = 100
_SPACE: dict[str, tuple[float, float]] = {
    "penalty": (2, 60),
    "regularization_exponent": (0.0, 1.0),
    "pattern_weight": (0.05, 4),
}
# Lines are straight in the logarithm of these; ν is itself an exponent.
_LOGARITHMIC = ("penalty", "pattern_weight", "iterations")
_NAMES = (*_SPACE, "iterations")


class Sample(NamedTuple):
    """Ratings of some users; `rest` is train and valid together."""

    train: sp.csr_matrix
    valid: sp.coo_matrix
    rest: sp.csr_matrix
    test: sp.coo_matrix


class Found(NamedTuple):
    """One search: its trials from the best to the worst, each with `error` and the names of `_NAMES`."""

    factors: int
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
    for seed, users, factors in itertools.product(range(options.seeds), options.users, options.factors):
        key = f"{options.ratings.name} {factors} {users} {seed} {options.trials}"
        if key not in kept:
            began = time.perf_counter()
            sample = sample_of(rest, test, users, seed)
            kept[key] = search(sample, factors, users, seed, options.trials)._asdict()
            if options.found:
                with options.found.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"key": key, **kept[key]}) + "\n")
            seconds = time.perf_counter() - began
            print(f"{key}: {kept[key]['trials'][0]} in {seconds:.0f} s", file=sys.stderr, flush=True)
        found.append(Found(**{name: kept[key][name] for name in Found._fields}))
    print(found_table(found, options.best))
    print(lines_table(found, options.best, options.predict))
    if len(options.users) > 2:
        print(check(found, rest, test, options.best))
    for factors in options.factors:
        config = config_found(of_rank(found, factors), options.best, max(options.users))
        print(f"of {max(options.users)} users: {json.dumps(config.to_dict())}")


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", type=Path)
    parser.add_argument("--users", type=_sizes, default=_sizes("190,380,755,1510,3020,6040"))
    parser.add_argument("--factors", type=_sizes, default=_sizes("16,40,100"))
    parser.add_argument("--trials", type=int, default=18, help="of each search")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--best", type=int, default=4, help="trials of a search whose mean is taken")
    parser.add_argument("--predict", type=int, default=138_493, help="users to follow the lines to")
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


def search(sample: Sample, factors: int, users: int, seed: int, trials: int) -> Found:
    """Search on the validation ratings of one sample."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    tried: list[dict[str, float]] = []

    def objective(trial: Any) -> float:
        values = {
            name: trial.suggest_float(name, low, high, log=name in _LOGARITHMIC)
            for name, (low, high) in _SPACE.items()
        }
        error, iterations = validated(sample, config_of(factors, values), seed)
        tried.append({"error": error, **values, "iterations": iterations})
        return error

    sampler = optuna.samplers.TPESampler(
        multivariate=True, n_startup_trials=6, seed=1_000_003 * seed + 1_009 * factors + users
    )
    optuna.create_study(sampler=sampler).optimize(objective, n_trials=trials)
    items = int(np.count_nonzero(sample.rest.getnnz(axis=0)))
    ratings = int(sample.rest.nnz)
    return Found(factors, users, seed, ratings, items, sorted(tried, key=lambda one: one["error"]))


def config_of(factors: int, values: dict[str, float]) -> WALSConfig:
    """Return the setting that values of `_SPACE` stand for."""
    exponent = min(max(values["regularization_exponent"], 0.0), 2.0)
    return WALSConfig(
        factors=factors,
        iterations=_ITERATIONS,
        regularization=values["penalty"] / _MIDDLE**exponent,
        regularization_exponent=exponent,
        pattern_weight=values["pattern_weight"],
    )


def validated(sample: Sample, config: WALSConfig, seed: int) -> tuple[float, int]:
    """Return the least validation RMSE on the way, and after how many iterations it was."""
    errors = [error for error, _ in train(sample.train, sample.valid, config, seed, _PATIENCE)]
    return errors[best(errors)], best(errors) + 1


def of_rank(found: list[Found], factors: int, most: float = math.inf) -> list[Found]:
    """Return the searches with so many factors, of samples of at most so many users."""
    return [one for one in found if one.factors == factors and one.users <= most]


def best_of(search: Found, count: int) -> dict[str, float]:
    """Return the mean of the best trials, of logarithms where lines are straight in them."""
    return {
        name: statistics.mean(_to_line(name, trial[name]) for trial in search.trials[:count])
        for name in _NAMES
    }


def lines_through(found: list[Found], count: int) -> dict[str, Line]:
    """Fit a line for each hyperparameter through what each search found."""
    x = np.log2([one.users for one in found])
    off = x - x.mean()
    lines = {}
    for name in _SPACE:
        y = np.array([best_of(one, count)[name] for one in found])
        slope = float(off @ y / (off @ off))
        scatter = float(np.sqrt(np.sum((y - y.mean() - slope * off) ** 2) / max(1, len(y) - 2)))
        slope_sd = scatter / math.sqrt(off @ off)
        lines[name] = Line(float(x.mean()), float(y.mean()), slope, slope_sd, scatter, len(y))
    return lines


def config_at(found: list[Found], count: int, users: float) -> WALSConfig:
    """Return the setting for a number of users that lines through searches of one rank give."""
    lines = lines_through(found, count)
    return config_of(
        found[0].factors, {name: _from_line(name, line.value(users)) for name, line in lines.items()}
    )


def config_half_way(found: list[Found], factors: int, count: int, last: int, users: int) -> WALSConfig:
    """Return what was found on samples of `last` users, moved by half of the slope common to all ranks."""
    several = [best_of(one, count) for one in of_rank(found, factors) if one.users == last]
    ranks = {one.factors for one in found}
    by_rank = [lines_through(of_rank(found, rank, last), count) for rank in ranks]
    doublings = math.log2(users / last)
    values = {}
    for name in _SPACE:
        # All ranks were searched on the same samples: the mean of their slopes is the common one.
        slope = statistics.mean(lines[name].slope for lines in by_rank)
        level = statistics.mean(one[name] for one in several)
        values[name] = _from_line(name, level + slope * doublings / 2)
    return config_of(factors, values)


def config_found(found: list[Found], count: int, users: int) -> WALSConfig:
    """Return the mean over seeds of what searches of one rank found for one number of users."""
    several = [best_of(one, count) for one in found if one.users == users]
    return config_of(
        found[0].factors,
        {name: _from_line(name, statistics.mean(one[name] for one in several)) for name in _SPACE},
    )


def check(found: list[Found], rest: sp.csr_matrix, test: sp.csr_matrix, count: int) -> str:
    """Return what is lost on the largest sample by predicting from smaller ones and not searching there."""
    sizes = sorted({one.users for one in found})
    top = sizes[-1]
    rows = [
        f"| k | setting on {top:,} users | λ | ν | w_p | valid RMSE | test RMSE | lost, valid | lost, test |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    samples = {seed: sample_of(rest, test, top, seed) for seed in {one.seed for one in found}}
    for factors in sorted({one.factors for one in found}):
        group = of_rank(found, factors)
        searched = {one.seed: config_of(factors, one.trials[0]) for one in group if one.users == top}
        settings = {
            "searched, the best trial": searched,
            f"searched, mean of the best {count}": dict.fromkeys(samples, config_found(group, count, top)),
        }
        # One size below, and the smaller half of them.
        for last in sorted({sizes[-2], sizes[max(1, len(sizes) // 2 - 1)]}, reverse=True):
            away = round(math.log2(top / last))
            settings[f"predicted from at most {last:,}, {away} doubling{'s'[: away - 1]}"] = dict.fromkeys(
                samples, config_at(of_rank(found, factors, last), count, top)
            )
            settings[f"half of the slope, from at most {last:,}"] = dict.fromkeys(
                samples, config_half_way(found, factors, count, last, top)
            )
            settings[f"that of {last:,} as it is"] = dict.fromkeys(samples, config_found(group, count, last))
        reference: list[tuple[float, float]] = []
        for name, by_seed in settings.items():
            errors = [tested(samples[seed], config, seed) for seed, config in by_seed.items()]
            reference = reference or errors
            lost = [
                statistics.mean(a[at] - b[at] for a, b in zip(errors, reference, strict=True))
                for at in (0, 1)
            ]
            means = [statistics.mean(error[at] for error in errors) for at in (0, 1)]
            told = " | ".join(f"{value:+.4f}" for value in lost) if errors is not reference else " | "
            one = next(iter(by_seed.values()))
            what = (
                f"{one.regularization:.2f} | {one.regularization_exponent:.2f} | {one.pattern_weight:.2f}"
                if by_seed is not searched
                else " | | "
            )
            rows.append(f"| {factors} | {name} | {what} | {means[0]:.4f} | {means[1]:.4f} | {told} |")
            print(rows[-1], file=sys.stderr, flush=True)
    return "\n".join(rows) + "\n"


def tested(sample: Sample, config: WALSConfig, seed: int) -> tuple[float, float]:
    """Return validation RMSE, and test RMSE after as many iterations as the validation ratings ask for."""
    error, iterations = validated(sample, config, seed)
    stopped = config.replace(iterations=iterations)
    return error, train(sample.rest, sample.test, stopped, seed)[-1][0]


def found_table(found: list[Found], count: int) -> str:
    """Return what was found by number of users and rank, mean and spread over seeds, as Markdown."""
    rows = [
        f"| users | ratings | items | k | valid RMSE | penalty of {_MIDDLE} ratings | ν | w_p | iterations |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for users, factors in sorted({(one.users, one.factors) for one in found}):
        group = [one for one in found if (one.users, one.factors) == (users, factors)]
        cells = []
        for name in _NAMES:
            values = [best_of(one, count)[name] for one in group]
            middle = _from_line(name, statistics.mean(values))
            spread = _from_line(name, statistics.stdev(values)) if len(values) > 1 else math.nan
            sign, digits = ("×÷" if name in _LOGARITHMIC else "±"), (0 if name == "iterations" else 2)
            cells.append(f"{middle:.{digits}f} {sign} {spread:.2f}")
        error = statistics.mean(one.trials[0]["error"] for one in group)
        ratings, items = (
            round(statistics.mean(getattr(one, what) for one in group)) for what in ("ratings", "items")
        )
        rows.append(
            f"| {users:,} | {ratings:,} | {items:,} | {factors} | {error:.4f} | {' | '.join(cells)} |"
        )
    return "\n".join(rows) + "\n"


def lines_table(found: list[Found], count: int, users: int) -> str:
    """Return how each hyperparameter moves per doubling of users, and where that leads, as Markdown."""
    rows = [f"| k | | per doubling of users | at {users:,} users | within one sd |", "|---|---|---|---|---|"]
    for factors in sorted({one.factors for one in found}):
        for name, line in lines_through(of_rank(found, factors), count).items():
            middle, sd = line.value(users), line.sd(users)
            moves = (
                f"× {2**line.slope:.3f} ×÷ {2**line.slope_sd:.3f}"
                if name in _LOGARITHMIC
                else f"{line.slope:+.3f} ± {line.slope_sd:.3f}"
            )
            low, at, high = (_from_line(name, value) for value in (middle - sd, middle, middle + sd))
            label = f"penalty of {_MIDDLE} ratings" if name == "penalty" else name
            rows.append(f"| {factors} | {label} | {moves} | {at:.2f} | {low:.2f} to {high:.2f} |")
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
