"""Summary of a study's trials in a few figures: spread, ends, failures, best so far."""

from __future__ import annotations

import math
import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tune.spec import SearchMetric
from tune.study import TrialResult, loss, value

TOP = 10
_BLOCKS = "▁▂▃▄▅▆▇█"
_ASCII = "_.:-=+*#"
_NUMBER = re.compile(r"\d+(?:\.\d+)?(?:[eE][+-]?\d+)?")
_LONGEST = 200  # characters of a reason


@dataclass(frozen=True)
class Spread:
    """How far apart the finished trials are, by the metric of the search.

    Attributes
    ----------
    best, median, worst : float
        Of all finished trials.
    deviation : float or None
        Standard deviation of the best `n`; None with fewer than two.
    n : int
        How many those are: 10, or all where there are fewer.
    """

    best: float
    median: float
    worst: float
    deviation: float | None
    n: int

    @classmethod
    def of(cls, trials: Iterable[TrialResult], metric: SearchMetric) -> Spread | None:
        """Return the spread of trials, or None where none finished with a figure."""
        losses = sorted(found for trial in trials if math.isfinite(found := loss(trial, metric)))
        if not losses:
            return None
        sign = -1 if metric.mode == "max" else 1
        top = losses[:TOP]
        return cls(
            sign * losses[0],
            sign * statistics.median(losses),
            sign * losses[-1],
            statistics.stdev(top) if len(top) > 1 else None,
            len(top),
        )


def is_number(trial: TrialResult, metric: SearchMetric) -> bool:
    """Return whether a trial has a figure that it can be compared by."""
    found = value(trial, metric)
    return found is not None and math.isfinite(found)


def stops(trials: Iterable[TrialResult]) -> dict[str, int]:
    """Return how many finished trials were stopped early by what, the most frequent first."""
    counted = Counter(str(trial["stopped"]) for trial in trials if trial["stopped"] and not failed(trial))
    return dict(counted.most_common())


def failed(trial: TrialResult) -> bool:
    """Return whether a trial did not finish."""
    return trial["status"] != "FINISHED"


def failures(trials: Iterable[TrialResult]) -> list[tuple[str, list[str]]]:
    """Group the failed trials by reason.

    Parameters
    ----------
    trials : iterable of TrialResult
        In any order.

    Returns
    -------
    list of (str, list of str)
        Reason and names of the trials, the most frequent reason first. Reasons that differ in numbers alone
        are one reason, in the words of its first trial: the first line, at most 200 characters.
    """
    groups: dict[str, tuple[str, list[str]]] = {}
    for trial in sorted(trials, key=lambda trial: trial["number"]):
        if failed(trial):
            line = next(iter(str(trial["reason"] or "").strip().splitlines()), "no reason is known")[
                :_LONGEST
            ]
            groups.setdefault(_NUMBER.sub("#", line), (line, []))[1].append(trial["trial"])
    return sorted(groups.values(), key=lambda group: -len(group[1]))


def sparkline(values: Sequence[float | None], width: int = 40, *, ascii_only: bool = False) -> str:
    """Return figures as a line of characters: the higher the character, the larger the figure.

    Parameters
    ----------
    values : sequence of float or None
        None and NaN are blanks.
    width : int, default 40
        Most characters. More values are cut into this many equal parts; each part shows its last value.
    ascii_only : bool, default False
        Whether to use ASCII characters alone, for streams that cannot show blocks.

    Returns
    -------
    str
    """
    n = len(values)
    parts = min(width, n)
    shown = [values[(part + 1) * n // parts - 1] for part in range(parts)]
    known = [found for found in shown if found is not None and math.isfinite(found)]
    if not known:
        return " " * parts
    low, extent = min(known), max(known) - min(known)
    signs = _ASCII if ascii_only else _BLOCKS
    top = len(signs) - 1
    return "".join(
        signs[round(top * (found - low) / extent) if extent else 0]
        if found is not None and math.isfinite(found)
        else " "
        for found in shown
    )
