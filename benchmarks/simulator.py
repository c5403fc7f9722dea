"""What the simulator costs, and what of that Optuna costs by itself.

    python benchmarks/simulator.py [--trials 10000] [--concurrency 1000] [--samplers none,random,tpe]

For each sampler, a study of so many trials is simulated, that many at once, with successive halving. Its
processor time is printed beside that of Optuna's sampler alone, which is asked and told as often by nobody
else. With the sampler ``none``, random numbers take its place, so that what is ours is left.
"""

from __future__ import annotations

import argparse
import math
import time
from collections import deque
from collections.abc import Mapping
from typing import Any

import numpy as np
import optuna

from toolkit.config import WALSConfig
from tune.executors import Recording, simulate
from tune.spec import SearchSpec

KEYS = {
    "space": {
        "factors": {"low": 2, "high": 16, "scale": "log"},
        "regularization": {"low": 0.01, "high": 10.0, "scale": "log"},
        "bias": {"choices": ["mean", "full"]},
        "iterations": 9,
    },
    "early_stopping": {"grace_iterations": 2, "reduction_factor": 3},
}


def main() -> None:
    """Print a row for each sampler."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=10_000)
    parser.add_argument("--concurrency", type=int, default=1000)
    parser.add_argument("--samplers", default="none,random")
    options = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    simulate(spec_of("random", 10), bowl)  # the imports
    print(f"{options.trials} trials, {options.concurrency} at once; processor seconds")
    print("sampler    simulator   Optuna alone   the rest")
    for name in options.samplers.split(","):
        began = time.process_time()
        sampler = Table() if name == "none" else None
        spec = spec_of("random" if sampler else name, options.trials)
        run = simulate(spec, bowl, concurrency=options.concurrency, sampler=sampler)
        whole = time.process_time() - began
        if len(run.results) != options.trials:
            raise SystemExit(f"{name}: only {len(run.results)} trials ended")
        alone = 0.0 if sampler else optuna_alone(name, spec, options.concurrency)
        print(f"{name:<8} {whole:11.2f} {alone:14.2f} {whole - alone:10.2f}", flush=True)


def spec_of(sampler: str, trials: int) -> SearchSpec:
    """Return what is searched."""
    return SearchSpec.from_dict({**KEYS, "sampler": sampler, "trials": trials})


def bowl(config: WALSConfig) -> Recording:
    """Return errors that fall to a minimum at a regularization of 0.5; larger trials take longer."""
    end = 0.9 + 0.05 * math.log(config.regularization / 0.5) ** 2
    errors = [end + 0.5 * math.exp(-n) for n in range(1, 10)]
    return Recording({"valid_rmse": errors, "train_rmse": errors, "seconds": [float(config.factors)] * 9})


class Table:
    """A sampler that costs next to nothing."""

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def ask(self, number: int, fixed: Mapping[str, Any] | None = None) -> tuple[dict[str, Any], str]:
        """Return random values."""
        size, penalty = self._random.random(2).tolist()
        sampled = {"factors": 2 + int(15 * size), "regularization": 10 ** (3 * penalty - 2), "bias": "full"}
        return sampled, "random"

    def tell(self, number: int, loss: float | None) -> None:
        """Learn nothing."""

    def restore(
        self, number: int, sampled: Mapping[str, Any], loss: float | None, *, running: bool = False
    ) -> None:
        """Learn nothing."""


def optuna_alone(name: str, spec: SearchSpec, at_once: int) -> float:
    """Return the processor seconds of one Optuna study, in which so many trials run at once."""
    began = time.process_time()
    sampler: optuna.samplers.BaseSampler = (
        optuna.samplers.RandomSampler(seed=0)
        if name == "random"
        else optuna.samplers.TPESampler(seed=0, constant_liar=at_once > 1, n_startup_trials=10)
    )
    study, running, distributions = optuna.create_study(sampler=sampler), deque[Any](), spec.distributions
    for _ in range(spec.trials):
        if len(running) == at_once:
            ended = running.popleft()
            study.tell(ended, math.log(ended.params["regularization"] / 0.5) ** 2)
        running.append(study.ask(distributions))
    return time.process_time() - began


if __name__ == "__main__":
    main()
