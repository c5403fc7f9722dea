"""Trials as plain tables: CSV with one flat row for each trial, and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence

from tune.spec import SearchMetric
from tune.study import TrialResult

_FIRST = ("trial", "number", "run_id", "status", "stopped", "source")
_LAST = ("iterations", "seconds", "started", "ended", "attempts", "reason")
_SYSTEM = ("backend", "device", "host", "peak_bytes")


def to_csv(trials: Sequence[TrialResult], metric: SearchMetric) -> str:
    """Return one row a trial, in the order given.

    Columns of hyperparameters are ``config.NAME``, those of where it ran ``system.NAME``; a missing or
    non-finite figure is an empty cell. Histories are in the JSON only.
    """
    names = dict.fromkeys(name for trial in trials for name in trial["config"])
    figures = ("valid_rmse", "train_rmse")
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(
        [
            *_FIRST,
            *figures,
            *metric.keys,
            *_LAST,
            *(f"config.{name}" for name in names),
            *(f"system.{name}" for name in _SYSTEM),
        ]
    )
    for trial in trials:
        plain: Mapping[str, object] = trial
        system: Mapping[str, object] = trial["system"] or {}
        cells = [
            *(plain[key] for key in _FIRST),
            *(plain[key] for key in figures),
            *(trial["ranking"].get(key) for key in metric.keys),
            *(plain[key] for key in _LAST),
            *(trial["config"].get(name) for name in names),
            *(system.get(name) for name in _SYSTEM),
        ]
        writer.writerow("" if cell is None else cell for cell in map(finite, cells))
    return file.getvalue()


def to_json(trials: Iterable[TrialResult]) -> str:
    """Return all that is known of the trials, as a list; NaN and infinity are null."""
    return json.dumps(finite(list(trials)), indent=1, allow_nan=False, default=str) + "\n"


def finite(value: object) -> object:
    """Return a plain value with None in place of every NaN and infinity."""
    if isinstance(value, Mapping):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
