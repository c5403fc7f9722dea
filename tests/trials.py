"""Trials as a study keeps them, made up for tests."""

from __future__ import annotations

import math

import numpy as np

from tune.spec import Choices, Fixed, SearchSpec


def result(trial="trial-001", valid_rmse=0.9, status="FINISHED", **changes):
    """Return a trial that ended, as `tune.study.trial.TrialResult` describes it."""
    number = int(trial.rpartition("-")[2]) if trial.rpartition("-")[2].isdigit() else 1
    return {
        "trial": trial,
        "number": number,
        "run_id": None,
        "status": status,
        "stopped": None,
        "valid_rmse": valid_rmse,
        "train_rmse": valid_rmse,
        "ranking": {},
        "iterations": 3,
        "seconds": 0.5,
        "history": {}
        if valid_rmse is None
        else {"valid_rmse": [valid_rmse] * 3, "train_rmse": [valid_rmse] * 3, "seconds": [0.1] * 3},
        "sampled": {"factors": 2},
        "config": {"factors": 2},
        "source": "random",
        "reason": None,
        "started": 1000.0 + number,
        "ended": 1001.0 + number,
        "attempts": 1,
        "system": {"backend": "numpy", "device": "a CPU", "host": "here", "peak_bytes": 1 << 28},
        "trace": None,
        **changes,
    }


def end(study, trial):
    """Let a study keep a trial."""
    study.journal.append("ended", **{key: value for key, value in trial.items() if key != "run_id"})


SPACE = {
    "factors": {"low": 8, "high": 64, "scale": "log"},
    "iterations": 20,
    "regularization": {"low": 0.1, "high": 2.0, "scale": "log"},
    "regularization_exponent": {"low": 0.3, "high": 0.8},
    "momentum": {"low": 0.01, "high": 0.9, "scale": "reverse_log"},
    "bias": {"choices": ["mean", "full"]},
}


def spec_of(space=None, **keys):
    return SearchSpec.from_dict({"space": SPACE if space is None else space, **keys})


def made_up_trials(n, spec, *, seed=0, failing=0.05, diverging=0.0):
    """Return trials as a search would end them: RMSE falls by iteration, regularization matters most.

    A part fails, a part diverges; those that are worse than most so far are stopped early.
    """
    rng = np.random.default_rng(seed)
    trials, clock = [], 1_700_000_000.0
    for number in range(1, n + 1):
        sampled = {name: drawn(domain, rng) for name, domain in spec.space.items()}
        sampled = {name: value for name, value in sampled.items() if value is not None}
        config = spec.config(sampled).to_dict()
        end = 0.9 + 0.03 * math.log(config["regularization"] / 0.6) ** 2 + 0.004 * rng.standard_normal()
        end += 0.006 * math.log(config["factors"] / 40) ** 2 + 0.02 * (config["bias"] == "mean")
        length = config["iterations"]
        valid = [end + 0.5 * math.exp(-0.5 * step) for step in range(1, length + 1)]
        failed, stopped = rng.random() < failing, None
        if rng.random() < diverging:
            valid = [end * 2**step for step in range(length)]
        elif number > 5 and end > 0.93:
            stopped, valid = "halving", valid[: 5 + int(rng.integers(4))]
        elif rng.random() < 0.2:
            stopped, valid = "plateau", valid[:-3] or valid
        ranking = dict.fromkeys(spec.metric.keys, 0.4 - 0.2 * (valid[-1] - 0.9))
        history = {"valid_rmse": valid, "train_rmse": [v - 0.1 for v in valid], "seconds": [0.1] * len(valid)}
        history |= {key: [0.4 - 0.2 * (v - 0.9) for v in valid] for key in spec.metric.keys}
        clock += float(rng.uniform(1, 3))
        trials.append(
            {
                "trial": f"trial-{number:03d}",
                "number": number,
                "run_id": f"{number:032x}",
                "status": "FAILED" if failed else "FINISHED",
                "stopped": None if failed else stopped,
                "valid_rmse": None if failed else valid[-1],
                "train_rmse": None if failed else valid[-1] - 0.1,
                "ranking": {} if failed else ranking,
                "iterations": 2 if failed else len(valid),
                "seconds": 0.1 * len(valid),
                "history": {key: each[:2] for key, each in history.items()} if failed else history,
                "sampled": sampled,
                "config": config,
                "source": "random" if number <= 8 else "tpe",
                "reason": f"SolverError: row {number} of the users is singular" if failed else None,
                "started": clock - 2.0,
                "ended": clock,
                "attempts": 1,
                "trace": "Traceback: it was singular" if failed else None,
                "system": {"backend": "numba", "device": "cpu", "host": "laptop", "peak_bytes": 210_000_000},
            }
        )
    return sorted(trials, key=lambda trial: trial["valid_rmse"] or math.inf)


def drawn(domain, rng):
    if isinstance(domain, Fixed):
        return None
    if isinstance(domain, Choices):
        return domain.values[rng.integers(len(domain.values))]
    low, high = domain.bounds
    if domain.scale == "linear":
        raw = rng.uniform(low, high)
    else:
        raw = math.exp(rng.uniform(math.log(low), math.log(high)))
    return round(raw) if domain.integer else float(raw)


FACTS = {
    "status": "finished",
    "dataset": "data/my ratings/dataset",
    "digest": "4f6cbb81",
    "counts": {"ratings": 100_000, "users": 943},
    "tracking_uri": "postgresql://me:hush@db/mlflow",
    "seconds": 63.0,
    "versions": {"python": "3.11.4", "ray": "2.56.0"},
}
NOTHING = {"failing": 1.0}
ONE = {"factors": {"low": 2, "high": 8}}
