"""Whether a study ends sooner on Ray or in this process, by what its trials and Ray's start cost."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from toolkit.processors import usable_processors
from tune.spec import SearchSpec

# Processor seconds: of a trial beside its training, and of a rating, an iteration and a unit of rank².
_TRIAL, _RATING = 0.2, 8e-11
# Part of a trial that threads do not share: proposal, record, and the errors of each iteration.
_ALONE = 0.1
# Seconds until the first trial trains on a Ray that is started for it, and the share of its processors that
# trials then use.
_RAY_START, _RAY_SHARE = 12.0, 0.9


class ExecutorChoice(NamedTuple):
    """Where the trials of a study run.

    Attributes
    ----------
    executor : {"ray", "in-process"}
    reason : str or None
        Why, for the person who did not choose; None where Ray runs as it usually does.
    """

    executor: Literal["ray", "in-process"]
    reason: str | None = None


def choose_executor(spec: SearchSpec, counts: Mapping[str, int], trials: int) -> ExecutorChoice:
    """Return where some trials of a study end sooner.

    Ray runs them where somebody asked for what only Ray gives: a cluster (RAY_ADDRESS), trials at once,
    resources, or GPUs.

    Parameters
    ----------
    spec : SearchSpec
        The study's.
    counts : mapping of str to int
        The counts of its dataset; ``train`` is looked at.
    trials : int
        How many are still to run.
    """
    ray: Any = sys.modules.get("ray")
    running = bool(os.environ.get("RAY_ADDRESS")) or (ray is not None and ray.is_initialized())
    asked = (spec.concurrency or 1) > 1 or spec.gpu or spec.cpu != 1
    if running or asked:
        return ExecutorChoice("ray")
    work, processors = trials * _trial_seconds(spec, counts["train"]), usable_processors()
    here = work * (_ALONE + (1 - _ALONE) / processors)
    if here > _RAY_START + work / (_RAY_SHARE * min(processors, trials)):
        return ExecutorChoice("ray")
    return ExecutorChoice(
        "in-process",
        f"trials run one after the other in this process: they take about {max(1, round(here))} s, and Ray "
        f"{_RAY_START:.0f} s to start (--executor ray insists on it)",
    )


def _trial_seconds(spec: SearchSpec, ratings: int) -> float:
    """Return the processor seconds of a trial, roughly, at the middle of the ranks and iterations."""
    factors, iterations = (sum(spec.domain(name).bounds) / 2 for name in ("factors", "iterations"))
    return float(_TRIAL + _RATING * ratings * iterations * (factors + 1) ** 2)
