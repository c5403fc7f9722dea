"""Test RMSE of a sampled posterior, how often its intervals hold, and what a sample costs.

    python benchmarks/posterior.py data/ml-100k/u.data ml-1m/ratings.dat.gz [--seeds 5] [--search] [--peers]

The splits are those of quality.py: a random tenth is the test, a tenth of the rest is for validation. Nothing
is tuned: the preset `posterior` is sampled on all but the test, and tested once. With --search, rank and
pattern weight are chosen on the validation ratings before, from a grid.

Peers sample the same splits as often, at the preset's rank, where they are installed (`pip install myfm
smurff`): the Bayesian factorization machine of myFM, and the Bayesian matrix factorization of SMURFF, of
ratings less their mean. With --peers, nothing but they run.

A sample is compared with an iteration of training of the same rank and pattern weight, one after the other in
the same process, by processor time. --seeds 0 does that alone.
"""

from __future__ import annotations

import argparse
import importlib.util
import itertools
import json
import statistics
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
from quality import Split, split_of

from toolkit.backends import Backend
from toolkit.config import PRESETS, RunOptions, WALSConfig
from toolkit.models import WALS
from toolkit.solver import Sampler, Trainer, TrainingData

RANKS, WEIGHTS, SEARCH_SAMPLES = (24, 48), (1.0, 2.0, 3.0), 60
# At which samples and iterations are timed.
COST_RANKS = (32, 48)
LEVELS = ("0.5", "0.8", "0.9", "0.95")


class Outcome(NamedTuple):
    """What one split showed."""

    mean: float
    factors: float
    coverage: dict[str, float]
    deciles: list[float]
    seconds: float


def main() -> None:
    """Print a table per ratings file."""
    options = arguments()
    for path in options.ratings:
        found: list[Outcome] = []
        peers: dict[str, list[tuple[float, float]]] = {}
        for seed in range(options.seeds):
            split = split_of(path, seed)
            config = searched(split, seed) if options.search else PRESETS["posterior"]
            if not options.peers:
                found.append(outcome(split, config, seed, options.samples, options.burn_in))
                print(f"{path} seed {seed}: {json.dumps(found[-1]._asdict())}", file=sys.stderr, flush=True)
            for name, sample in {"myfm": myfm, "smurff": smurff}.items():
                if importlib.util.find_spec(name):
                    measured = sample(split, config.factors, seed, options.samples, options.burn_in)
                    peers.setdefault(name, []).append(measured)
                    print(f"{path} seed {seed}: {name} {measured}", file=sys.stderr, flush=True)
        print(f"\n### {path.name}\n", flush=True)
        if found:
            print(table(found))
        for name, measures in peers.items():
            errors, seconds = zip(*measures, strict=True)
            print(f"{name}: {statistics.mean(errors):.4f} in {statistics.median(seconds):.0f} processor s")
        if not options.peers:
            print_costs(split_of(path, 0))


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("ratings", nargs="+", type=Path)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--samples", type=int, default=200)
    parser.add_argument("--burn-in", type=int, default=30)
    parser.add_argument("--peers", action="store_true", help="run nothing but the peers that are installed")
    parser.add_argument("--search", action="store_true", help="choose rank and pattern weight on validation")
    return parser.parse_args()


def searched(split: Split, seed: int) -> WALSConfig:
    """Return the config of the grid with the least validation RMSE."""
    errors = {}
    for rank, weight in itertools.product(RANKS, WEIGHTS):
        config = PRESETS["posterior"].replace(factors=rank, pattern_weight=weight)
        model = WALS(config, RunOptions(seed=seed))
        model.fit_posterior(split.train, valid=split.valid.tocsr(), samples=SEARCH_SAMPLES)
        errors[config] = model.posterior.facts["mean_factors_rmse"]
        print(f"rank {rank}, pattern weight {weight}: {errors[config]:.4f}", file=sys.stderr)
    return min(errors, key=errors.__getitem__)


def outcome(split: Split, config: WALSConfig, seed: int, samples: int, burn_in: int) -> Outcome:
    """Return what a posterior of all but the test ratings shows on them."""
    began = time.perf_counter()
    model = WALS(config, RunOptions(seed=seed)).fit_posterior(
        split.rest, valid=split.test.tocsr(), samples=samples, burn_in=burn_in
    )
    facts = model.posterior.facts
    return Outcome(
        facts["valid_rmse"],
        facts["mean_factors_rmse"],
        facts["coverage"],
        [decile["rmse"] for decile in facts["deciles"]],
        time.perf_counter() - began,
    )


def myfm(split: Split, rank: int, seed: int, samples: int, burn_in: int) -> tuple[float, float]:
    """Return the test RMSE of myFM, clipped as ours is, and processor seconds."""
    import myfm

    n_users, n_items = split.rest.shape

    def features(matrix: sp.coo_matrix) -> sp.csr_matrix:
        rows = np.arange(matrix.nnz)
        places = np.concatenate([matrix.row, n_users + matrix.col])
        return sp.csr_matrix(
            (np.ones(2 * matrix.nnz), (np.tile(rows, 2), places)), shape=(matrix.nnz, n_users + n_items)
        )

    train, began = split.rest.tocoo(), time.process_time()
    model = myfm.MyFMRegressor(rank=rank, random_seed=seed)
    model.fit(
        features(train),
        train.data.astype(float),
        n_iter=samples + burn_in,
        n_kept_samples=samples,
        group_shapes=[n_users, n_items],
    )
    predicted = np.clip(model.predict(features(split.test)), train.data.min(), train.data.max())
    error = float(np.sqrt(np.mean((predicted - split.test.data) ** 2)))
    return error, time.process_time() - began


def smurff(split: Split, rank: int, seed: int, samples: int, burn_in: int) -> tuple[float, float]:
    """Return the test RMSE of SMURFF's BPMF, clipped as ours is, and processor seconds."""
    from smurff import SampledNoise, TrainSession

    train, test, began = split.rest.tocsr(), split.test.tocsr(), time.process_time()
    mean, ends = float(train.data.mean()), (train.data.min(), train.data.max())
    centred = [
        sp.csr_matrix((each.data - mean, each.indices, each.indptr), each.shape) for each in (train, test)
    ]
    session = TrainSession(
        priors=["normal", "normal"],
        num_latent=rank,
        burnin=burn_in,
        nsamples=samples,
        seed=seed,
        verbose=0,
    )
    session.addTrainAndTest(*centred, noise=SampledNoise(), is_scarce=True)
    errors = [np.clip(each.pred_avg + mean, *ends) - each.val - mean for each in session.run()]
    return float(np.sqrt(np.mean(np.square(errors)))), time.process_time() - began


def print_costs(split: Split, pairs: int = 9) -> None:
    """Print the median processor time of a sample over that of an iteration, by rank and solver."""
    data = TrainingData(split.rest, backend=Backend.prefer("numba"))
    for rank in COST_RANKS:
        config = PRESETS["posterior"].replace(factors=rank)
        trainers = {name: Trainer(data, config, solver=name) for name in ("exact", "auto")}
        steps = {name: each.step for name, each in trainers.items()}
        steps["sample"] = Sampler(data, config).sweep
        seconds: dict[str, list[float]] = {name: [] for name in steps}
        for _ in range(2 + pairs):
            for name, step in steps.items():
                began = time.process_time()
                step()
                seconds[name].append(time.process_time() - began)
        medians = {name: statistics.median(each[2:]) for name, each in seconds.items()}
        ratios = ", ".join(f"{medians['sample'] / medians[name]:.2f} ({name})" for name in trainers)
        print(f"rank {rank}: a sample ÷ an iteration of training: {ratios}", flush=True)


def table(found: list[Outcome]) -> str:
    """Return means over the splits as Markdown."""

    def shown(values: list[float], digits: int) -> str:
        spread = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
        return f"{statistics.mean(values):.{digits}f}{spread}"

    coverage = [f"{statistics.mean(f.coverage[level] for f in found):.1%}" for level in LEVELS]
    deciles = [statistics.mean(values) for values in zip(*(f.deciles for f in found), strict=True)]
    return (
        f"| mean of the samples | mean factors | {' | '.join(f'{float(level):.0%}' for level in LEVELS)} "
        f"| surest tenth | least sure | s |\n|---|---|{'---|' * len(LEVELS)}---|---|---|\n"
        f"| {shown([f.mean for f in found], 4)} | {shown([f.factors for f in found], 4)} "
        f"| {' | '.join(coverage)} | {deciles[0]:.2f} | {deciles[-1]:.2f} "
        f"| {statistics.median(f.seconds for f in found):.0f} |\n"
    )


if __name__ == "__main__":
    main()
