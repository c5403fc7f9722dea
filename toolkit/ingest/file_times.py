"""Whether all times of an input are in one unit."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from toolkit.arrays import IntArray
from toolkit.ingest.reading.times import as_written
from toolkit.tables import unit_of_times


def span(times: IntArray) -> list[int]:
    """Return the first and the last of some times."""
    return [int(times.min()), int(times.max())]


def note_times(
    files: Sequence[dict[str, Any]], parts: Iterable[tuple[int, Sequence[int]]], time_kind: str
) -> None:
    """Write first and last time, as the file writes them, into the facts of each file that has times.

    Parameters
    ----------
    files : sequence of dict
        The facts, to which ``times`` are added.
    parts : iterable of (int, sequence of int)
        The number of a file, and the `span` of a part of it, or nothing.
    time_kind : str
        One of `toolkit.ingest.reading.times.KINDS`.
    """
    spans: dict[int, list[int]] = {}
    for at, part in parts:
        spans.setdefault(at, []).extend(part)
    for at, each in spans.items():
        if each:
            files[at]["times"] = [as_written(value, time_kind) for value in (min(each), max(each))]


def different_units(files: Iterable[Mapping[str, Any]]) -> Sequence[tuple[str, int | float, str]]:
    """Return two times since 1970 in different units, each as name of its file, time and unit, or none."""
    times = [(facts["name"], time) for facts in files for time in facts.get("times", ())]
    known = [(name, time, unit) for name, time in times if (unit := unit_of_times([str(time)]))]
    return next((pair for pair in itertools.pairwise(known) if pair[0][2] != pair[1][2]), ())
