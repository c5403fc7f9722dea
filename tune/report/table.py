"""Trials as plain tables: CSV with one flat row for each trial, and JSON."""

from __future__ import annotations

import csv
import io
import json
import math
from collections.abc import Iterable, Mapping, Sequence

from tune.spec import SearchMetric
from tune.study import TrialResult, flat_rows


def to_csv(trials: Sequence[TrialResult], metric: SearchMetric) -> str:
    """Return one row a trial, in the order given; a missing or non-finite figure is an empty cell.

    The columns are those of `tune.study.flat_rows`. Histories are in the JSON only.
    """
    columns, rows = flat_rows(trials, metric)
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow("" if cell is None else cell for cell in map(finite, row))
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
