"""Describe a trial that ended, and compare trials by the metric of their search."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NotRequired, TypedDict

from tune.spec import SearchMetric


class System(TypedDict):
    """Where a trial ran.

    Attributes
    ----------
    backend, device, host : str
        Their names.
    solver : str
        How rows were solved, exact or cg.
    peak_bytes : int
        The most memory that the process held, in bytes.
    device_peak_bytes : int or None
        The most GPU memory that the process held, in bytes; None on a CPU.
    """

    backend: str
    device: str
    host: str
    peak_bytes: int
    device_peak_bytes: NotRequired[int | None]
    solver: NotRequired[str]


class TrialResult(TypedDict):
    """One trial that ended.

    Attributes
    ----------
    trial : str
        Its name in the study and in MLflow, ``trial-007``.
    number : int
        Its place in the order of proposals, from 1.
    run_id : str or None
        Its MLflow run; None while the store has not taken it.
    status : {"FINISHED", "FAILED"}
        The status in MLflow's words.
    stopped : {None, "halving", "scheduler", "plateau"}
        What stopped it early.
    valid_rmse, train_rmse : float or None
        RMSE in rating units, of the factors that the trial ended with.
    ranking : dict of str to float
        The figures of a search for a ranking, by ``SearchMetric.keys``; empty for a search by RMSE.
    iterations : int
        Iterations behind those factors.
    seconds : float
        Training time of all iterations.
    history : dict of str to list of float
        ``valid_rmse``, ``train_rmse``, ``seconds`` and the ranking's figures after each iteration.
    sampled : dict
        Values of the searched hyperparameters, as the sampler knows them.
    config : dict
        All hyperparameters.
    source : str
        Who proposed it: ``tpe``, ``random``, ``gp``, another sampler's class, or a start point's name.
    reason : str or None
        Why it failed.
    started, ended : float
        Seconds since the epoch.
    attempts : int
        How often the trial was begun: more than once where its process died.
    system : System or None
        None where the trial failed before its process said so.
    trace : str or None
        The traceback of a failure.
    """

    trial: str
    number: int
    run_id: str | None
    status: str
    stopped: str | None
    valid_rmse: float | None
    train_rmse: float | None
    ranking: dict[str, float]
    iterations: int
    seconds: float
    history: dict[str, list[float]]
    sampled: dict[str, Any]
    config: dict[str, Any]
    source: str
    reason: str | None
    started: float
    ended: float
    attempts: int
    system: System | None
    trace: NotRequired[str | None]


def value(result: TrialResult, metric: SearchMetric) -> float | None:
    """Return the figure that the metric compares a trial by, or None where it has none."""
    if result["status"] != "FINISHED":
        return None
    return metric.value({"valid_rmse": result["valid_rmse"], **result["ranking"]})


def loss(result: TrialResult, metric: SearchMetric) -> float:
    """Return a number that is smaller for a better trial, and infinite for a failed one."""
    return metric.loss(value(result, metric))


def best_first(results: Iterable[TrialResult], metric: SearchMetric) -> list[TrialResult]:
    """Return the trials best first, failed ones last, equal ones in the order they were proposed."""
    return sorted(results, key=lambda result: (loss(result, metric), result["number"]))


def best_so_far(results: Iterable[TrialResult], metric: SearchMetric) -> list[float | None]:
    """Return the best figure after each trial, for the trials in the order in which they ended."""
    figures: list[float | None] = []
    least = math.inf
    for result in sorted(results, key=lambda result: result["ended"]):
        least = min(least, loss(result, metric))
        figures.append(None if least == math.inf else (-least if metric.mode == "max" else least))
    return figures
