"""What a study and the processes that train tell each other: settings of all trials, segments of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

from toolkit.backends import BackendName
from toolkit.solver import Factors
from tune.search.checkpoint import Checkpoint, History
from tune.spec import SearchMetric
from tune.study import System


@dataclass(frozen=True)
class TrialSettings:
    """What all trials of a study have in common.

    Attributes
    ----------
    metric : SearchMetric
        The figure that they are judged by.
    backend : {"auto", "numpy", "numba", "cupy", "cuda"}
    threads : int
        CPU threads of a trial; 0 is all.
    gpu : float
        The share of a GPU that a trial has.
    seed : int
        Seed of every trial's random start.
    rungs : sequence of int
        Iterations after which a trial waits for the verdict of other trials.
    patience : int
        Iterations without progress after which a trial stops itself; 0 is never.
    keep_factors : {"all", "best", "none"}
        Whose factors are handed over: every trial's, or only those of a trial that beats all that ended
        before it began.
    model : {"wals", "posterior"}
        What a trial is: a training, or a sampling of its posterior.
    checkpoint_seconds : float
        How long a trial trains before it hands a checkpoint over, and between two of them.
    """

    metric: SearchMetric
    backend: BackendName | Literal["auto"]
    threads: int
    gpu: float
    seed: int
    rungs: Sequence[int] = ()
    patience: int = 0
    keep_factors: str = "all"
    model: Literal["wals", "posterior"] = "wals"
    checkpoint_seconds: float = 60.0


@dataclass
class Segment:
    """The iterations that a trial did since its last segment, and what it would end with now.

    Attributes
    ----------
    history : dict of str to list of float
        Figures after each of these iterations.
    figures : dict of str to float
        Figures of the factors that the trial would end with now.
    iterations : int
        Iterations behind those factors.
    done : bool
        Whether the trial ended by itself: it is through, has stalled, or has failed.
    stalled : bool
        Whether the trial stopped itself for lack of progress.
    reason : str or None
        Why the trial failed.
    trace : str or None
        The traceback of the failure.
    fatal : bool
        Whether no other trial would fare better.
    factors : Factors or None
        In host memory; only where the trial may end here and its factors may be kept.
    system : System or None
        Where the trial runs.
    checkpoint : Checkpoint or None
        Where the trial can go on from, about once a minute.
    baselines : dict of str to float or None
        What every trial has to beat, from a process that was asked to measure it: ``mean_rmse`` and
        ``bias_rmse`` on the validation ratings, and ``damping``, the penalty of those biases.
    """

    history: History
    figures: dict[str, float] = field(default_factory=dict)
    iterations: int = 0
    done: bool = False
    stalled: bool = False
    reason: str | None = None
    trace: str | None = None
    fatal: bool = False
    # Not in its repr: Ray Tune formats every result for its log, whether anybody reads it or not.
    factors: Factors | None = field(default=None, repr=False)
    system: System | None = None
    checkpoint: Checkpoint | None = field(default=None, repr=False)
    baselines: dict[str, float] | None = None
