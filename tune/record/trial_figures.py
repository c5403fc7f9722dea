"""A trial's figures and words as MLflow takes them: metrics by iteration, metrics of the whole, tags."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from tune.study import TrialResult

if TYPE_CHECKING:
    from mlflow.entities import Metric, RunTag

    from toolkit.solver import BaselineErrors

_LONGEST = 5000  # characters of a tag that MLflow takes


def iteration_metrics(history: Mapping[str, Sequence[float]], started: float, after: int) -> list[Metric]:
    """Return the figures of the iterations after `after`, each dated to when its iteration ended.

    Parameters
    ----------
    history : mapping of str to sequence of float
        A figure for each iteration, by name; ``seconds`` has the duration of each.
    started : float
        When the trial began, in seconds since the epoch.
    after : int
        The last iteration that MLflow has already.
    """
    from mlflow.entities import Metric

    at, metrics = started, []
    for step, seconds in enumerate(history.get("seconds", ()), 1):
        at += seconds
        if step > after:
            metrics += [
                Metric(key, figures[step - 1], int(at * 1000), step)
                for key, figures in history.items()
                if step <= len(figures)
            ]
    return metrics


def final_metrics(result: TrialResult, baselines: BaselineErrors | None = None) -> list[Metric]:
    """Return the figures of a trial as a whole, dated to its end: iterations, seconds, peak memory, baseline.

    Where the trial's best iteration is not its last, the figures of the best follow those of the last: the UI
    shows and sorts by the value logged last, and the factors that the run keeps are of the best.
    """
    from mlflow.entities import Metric

    done = iterations_of(result)
    figures: dict[str, float | None] = {
        "iterations": result["iterations"],
        "train_seconds": result["seconds"],
    }
    if system := result["system"]:
        peaks = {"peak_memory": system["peak_bytes"], "device_peak_memory": system.get("device_peak_bytes")}
        figures |= {f"{name}_mib": size / 2**20 for name, size in peaks.items() if size}
    if result["iterations"] < done and result["status"] == "FINISHED":
        figures |= {
            "valid_rmse": result["valid_rmse"],
            "train_rmse": result["train_rmse"],
            **result["ranking"],
        }
    if baselines:
        figures["baseline_rmse"] = baselines["bias_rmse"]
    at = int(result["ended"] * 1000)
    return [Metric(key, float(figure), at, done) for key, figure in figures.items() if figure is not None]


def iterations_of(result: TrialResult) -> int:
    """Return the number of iterations that a trial did."""
    return len(result["history"].get("valid_rmse", ()))


def trial_tags(result: TrialResult) -> list[RunTag]:
    """Return the tags of a trial's run: who proposed it, where it ran, what stopped it, why it failed."""
    from mlflow.entities import RunTag

    tags = {"walslab.source": result["source"], "walslab.attempts": str(result["attempts"])}
    if system := result["system"]:
        tags |= {
            "walslab.backend": system["backend"],
            "walslab.device": system["device"],
            "walslab.solver": system.get("solver", "exact"),
            "walslab.host": system["host"],
        }
    if result["stopped"]:
        tags["walslab.stopped"] = result["stopped"]
    if result["reason"]:
        tags["walslab.reason"] = result["reason"][:_LONGEST]
    return [RunTag(key, text) for key, text in tags.items()]
