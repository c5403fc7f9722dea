"""What a study and the processes that train tell each other: settings of all trials, segments of each."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from toolkit.solver import Factors
from tune.spec.metric import SearchMetric
from tune.study import System


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a study have in common.

    Attributes
    ----------
    metric : SearchMetric
        What they are judged by.
    backend : {"auto", "numpy", "numba", "cupy", "cuda"}
    threads : int
        CPU threads of a trial; 0 is all.
    gpu : float
        The share of a GPU that a trial has.
    seed : int
        Of every trial's random start.
    rungs : tuple of int
        Iterations after which a trial waits for the verdict of successive halving.
    patience : int
        Iterations without progress after which a trial stops itself; 0 is never.
    keep_factors : bool
        Whether factors are handed over.
    """

    metric: SearchMetric
    backend: Any
    threads: int
    gpu: float
    seed: int
    rungs: tuple[int, ...] = ()
    patience: int = 0
    keep_factors: bool = True


@dataclass
class Segment:
    """The iterations of a trial since it was last heard of, and what it is worth now.

    Attributes
    ----------
    history : dict of str to list of float
        Figures after each of these iterations.
    figures : dict of str to float
        Those of the factors that it would end with now.
    iterations : int
        Iterations behind those factors.
    done : bool
        Whether the trial ended by itself: it is through, has stalled, or has failed.
    stalled : bool
        Whether it made no more progress.
    reason : str or None
        Why it failed; `trace` is the traceback.
    fatal : bool
        Whether no other trial would fare better.
    factors : Factors or None
        In host memory; only where the trial may end here.
    """

    history: dict[str, list[float]]
    figures: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    done: bool = False
    stalled: bool = False
    reason: str | None = None
    trace: str | None = None
    fatal: bool = False
    factors: Factors | None = None
    system: System | None = None
