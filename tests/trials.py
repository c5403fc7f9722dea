"""Trials as a study keeps them, made up for tests."""

from __future__ import annotations


def result(trial="trial-001", valid_rmse=0.9, status="FINISHED", **changes):
    """Return a trial that ended, as `tune.results.TrialResult` describes it."""
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
        "history": {"valid_rmse": [valid_rmse] * 3, "train_rmse": [valid_rmse] * 3, "seconds": [0.1] * 3},
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
